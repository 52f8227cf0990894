"""For programs that run once: XLA takes little time to compile them.

A test of a model compiles for seconds and runs for a millisecond. Without most of its
optimizations XLA compiles such a program about seven times as fast.
"""

from functools import partial

import jax

OPTIONS = {'xla_backend_optimization_level': 0,
           'xla_llvm_disable_expensive_passes': True}
if jax.__version_info__ < (0, 11):  # an option of the compiler, which may go
  OPTIONS['xla_cpu_use_fusion_emitters'] = False

# For a whole process, in XLA_FLAGS.
FLAGS = ' '.join(f'--{name}={value}'.lower() for name, value in OPTIONS.items())
# Not for functions that another `jit` calls.
quick_jit = partial(jax.jit, compiler_options=OPTIONS)
