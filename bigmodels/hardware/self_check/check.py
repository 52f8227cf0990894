"""Compiles programs by default and as a run does; finds those that are wrong."""

import concurrent.futures
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from bigmodels.hardware.self_check.program import Program

# Runs of a program on the same inputs: a race shows in a few out of a hundred.
_LEAST_RUNS, _MOST_RUNS, _SECONDS = 10, 100, 0.1


class Finding(NamedTuple):
  """The result of checking a program.

  Attributes:
    name: of the program.
    error: largest difference from the reference in any of the runs, as a fraction of
      the largest value of that result; infinite where a number is missing.
    tolerance: largest error allowed.
    wrong_values: number of values whose error is larger.
    repeats: whether all runs have the same bits.
    run_error: error of the program compiled as a run compiles it.
    plain_error: error of the program compiled without optimizations.
    failure: why there is no result, or None.
  """

  name: str
  error: float
  tolerance: float
  wrong_values: int
  repeats: bool
  run_error: float
  plain_error: float
  failure: str | None = None

  def wrong(self, backend: str) -> bool:
    """Whether the backend computes this program wrongly.

    A GPU adds in the order in which its threads arrive: only there bits may differ from
    run to run.
    """
    return bool(self.failure) or self.error > self.tolerance or (
      not self.repeats and backend != 'gpu')

  def describe(self) -> str:
    """Says in a line what is wrong."""
    if self.failure:
      return f'{self.name}: {self.failure}'
    said = []
    if self.error > self.tolerance:
      said.append(f'off by {self.error:.1e} of the largest value, allowed '
                  f'{self.tolerance:.1e}, in {self.wrong_values:,} values')
    if not self.repeats:
      said.append('differs from run to run')
    if self.error > self.tolerance >= self.run_error:
      said.append('right as a run compiles it')
    if self.error > self.tolerance >= self.plain_error:
      said.append('the optimized program differs from its unoptimized self, which is '
                  'right')
    elif self.plain_error > self.tolerance:
      said.append('without optimizations it is off by '
                  f'{self.plain_error:.1e}')
    return f'{self.name}: {"; ".join(said)}'


def check_all(programs: Iterable[Program], options: Mapping[str, Any],
              threads: int) -> Iterator[Finding]:
  """Checks programs in parallel; yields their findings in order.

  Args:
    programs: to check.
    options: of the compiler, as for a run.
    threads: number of programs that are compiled at once. XLA compiles without Python's
      global lock.
  """
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    yield from pool.map(functools.partial(check, options=options), programs)


def check(program: Program, options: Mapping[str, Any]) -> Finding:
  """Compares a program with its reference, unoptimized, and from run to run."""
  try:
    return _check(program, options)
  except Exception as error:
    text = str(error).strip().partition('\n')[0][:200]
    return Finding(program.name, np.inf, program.tolerance, 0, True, np.inf, np.inf,
                   f'{type(error).__name__}: {text}')


def _check(program: Program, options: Mapping[str, Any]) -> Finding:
  backend = jax.default_backend()
  # By default, a GPU and a TPU multiply float32 at a lower precision.
  precision = None if backend == 'cpu' else 'highest'
  with jax.default_matmul_precision(precision):
    lowered = jax.jit(program.function).lower(*program.inputs)
  inputs = jax.device_put(program.inputs)
  want = program.reference(*map(_exact, program.inputs))

  def errors(options):
    """Largest error and number of wrong values; whether all runs are the same."""
    compiled = lowered.compile(dict(options))
    found = _different_runs(lambda: jax.device_get(compiled(*inputs)))
    return max(_error(run, want, program.tolerance) for run in found), len(found) == 1

  (error, wrong_values), repeats = in_run = errors(options)
  run_error = error
  if options:  # only the steps of a run are compiled with these
    by_default = errors({})
    error, wrong_values = max(in_run[0], by_default[0])
    repeats = repeats and by_default[1]
  (plain_error, _), _ = errors(plain_options(backend))
  return Finding(program.name, error, program.tolerance, wrong_values, repeats,
                 run_error, plain_error)


def _different_runs(run: Callable[[], Any]) -> list[Any]:
  """Results of a program: the first, and all whose bits differ from it."""
  start, found = time.perf_counter(), [run()]
  for count in range(1, _MOST_RUNS):
    if count >= _LEAST_RUNS and time.perf_counter() - start > _SECONDS:
      break
    again = run()
    if not _same_bits(again, found[0]):
      found.append(again)
  return found


@functools.cache
def plain_options(backend: str) -> Mapping[str, Any]:
  """Compiler options for as little optimization as this release allows."""
  options: dict[str, Any] = {
    'xla_backend_optimization_level': 0,
    'xla_llvm_disable_expensive_passes': True}
  if backend == 'cpu':
    options |= {
      'xla_cpu_use_fusion_emitters': False,
      'xla_cpu_use_onednn': False,
      'xla_cpu_use_xnnpack': False,
      'xla_cpu_experimental_xnn_fusion_type': '',
      'xla_cpu_experimental_ynn_fusion_type': ''}
  trivial, known = jax.jit(lambda: 0).lower(), {}
  for name, value in options.items():
    try:
      trivial.compile({name: value})
      known[name] = value
    except jax.errors.JaxRuntimeError:
      pass  # an option of another release
  # Without the pass 'fusion' too, programs take three times as long to compile, and
  # jaxlib 0.10 joins arrays wrongly.
  return known


def _exact(array: np.ndarray) -> np.ndarray:
  return array.astype(np.float64) if jax.dtypes.issubdtype(
    array.dtype, np.floating) else array


def _same_bits(one: Any, other: Any) -> bool:
  return all(a.tobytes() == b.tobytes() for a, b in zip(
    jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def _error(got: Any, want: Any, tolerance: float) -> tuple[float, int]:
  """Largest error as a fraction of the largest value; how many exceed the tolerance."""
  worst, wrong_values = 0.0, 0
  for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    w = np.asarray(w)
    if g.shape != w.shape:
      raise ValueError(f'returned {g.shape}, expected {w.shape}')
    if not g.size:
      continue
    if jax.dtypes.issubdtype(g.dtype, np.floating):
      difference, scale = np.abs(g.astype(np.float64) - w), np.abs(w).max() or 1.0
      errors = np.where(np.isfinite(difference), difference / scale, np.inf)
    else:
      errors = np.where(g == w, 0.0, 1.0)
    worst = max(worst, float(errors.max()))
    wrong_values += int((errors > tolerance).sum())
  return worst, wrong_values
