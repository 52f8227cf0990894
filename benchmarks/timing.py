"""Times of repeated work, as rates, and errors in the place of results."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

Report = Callable[[str, object], None]
ROUNDS = 5


def timed(work: Callable[[int], None], seconds: float) -> list[float]:
  """Seconds of one, in each round; the first call is not timed.

  Args:
    work: (times) -> None; returns when it is done.
    seconds: of a round, about.
  """
  warm = 1 if seconds < 0.1 else 4
  work(warm)
  start = time.perf_counter()
  work(warm)
  times = max(1, round(seconds * warm / (time.perf_counter() - start)))
  found = []
  for _ in range(ROUNDS):
    start = time.perf_counter()
    work(times)
    found.append((time.perf_counter() - start) / times)
  return found


def rates(seconds: Sequence[float], unit: str, amount: float, operations: float = 0
          ) -> dict[str, float]:
  """Milliseconds of one, what it makes per second, and the MFU if the peak is known.

  Args:
    seconds: of one, in each round.
    unit: of what it makes, such as 'tokens'.
    amount: of what it makes.
    operations: floating-point operations of one; 0 for no MFU.
  """
  middle = statistics.median(seconds)
  found = {'ms': 1e3 * middle, 'shortest_ms': 1e3 * min(seconds),
           'longest_ms': 1e3 * max(seconds), f'{unit}_per_second': amount / middle}
  if operations:
    found |= utilization(operations / middle)
  return {name: float(f'{value:.4g}') for name, value in found.items()}


def utilization(per_second: float, device_kind: str | None = None) -> dict[str, float]:
  """TFLOP/s, and their fraction of the device's peak in bfloat16 if that is known.

  Args:
    per_second: floating-point operations per second.
    device_kind: of the device; None for JAX's.
  """
  import jax

  from bigmodels.hardware import device_specs

  spec = device_specs.find(device_kind or jax.devices()[0].device_kind)
  return {'tflops': per_second / 1e12} | (
    {'mfu': per_second / spec.bfloat16} if spec else {})


@contextlib.contextmanager
def reporting(report: Report, name: str) -> Iterator[dict]:
  """Reports what is put into the dict; and an error, after which others follow."""
  found: dict = {}
  try:
    yield found
  except Exception as error:  # a batch that does not fit, for example
    found['error'] = brief(error)
  report(name, found)


def brief(error: BaseException) -> str:
  """The type of an error and the beginning of its message."""
  return f'{type(error).__name__}: {error}'.partition('\n')[0][:300]
