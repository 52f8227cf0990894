"""--mode=shapes: the name, size and shape of every parameter, and the total size.

Only shapes are computed: nothing is allocated or compiled, whatever the size.
"""

import jax

from bigmodels.cli.request import Request
from bigmodels.core.tree_paths import name_of
from bigmodels.hardware import devices
from bigmodels.training import build
from bigmodels.training.compile import trace

USES_CACHE = False


def run(request: Request) -> None:
  """Prints a line for each parameter, and the total size.

  Raises:
    UserError: if the experiment cannot be built.
  """
  resolved = request.resolve()
  for note in resolved.notes:
    print(note)
  devices.require_backend(request.require_backend)
  layout = request.layout(resolved.experiment, jax.devices())
  built = build.build(resolved.experiment, layout, request.described())
  try:
    params = trace(built.learner, built.train, {}, layout).carry.state.params
  finally:
    built.close()
  leaves = [(name_of(path), leaf) for path, leaf in jax.tree.leaves_with_path(params)]
  width = max(len(name) for name, _ in leaves)
  for name, leaf in leaves:
    shape = ' x '.join(f'{n:,}' for n in leaf.shape) or '1'
    print(f'{name:{width}}  {leaf.size:>19,}  {shape}')
  print(f'{"parameters":{width}}  {sum(leaf.size for _, leaf in leaves):>19,}')
