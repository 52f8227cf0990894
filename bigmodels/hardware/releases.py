"""Which releases of Python, JAX and Flax work, and which jaxlib computes wrongly.

`run.py` imports this file before any package, on whatever Python there is: it imports
the standard library only, and its syntax is that of Python 3.7.
"""

from __future__ import annotations

import pathlib
import re
import sys
from typing import NamedTuple

# As in requirements.txt and pyproject.toml; a test compares them.
OLDEST_PYTHON = (3, 11)
OLDEST_JAX = (0, 8, 2)
# Flax before this release imports only with JAX before that one, and from it on only
# with JAX from that one on.
FLAX_SINCE, JAX_SINCE = (0, 12, 9), (0, 11, 1)

_INSTALL = 'pip install -r requirements.txt'


class Wrong(NamedTuple):
  """Results of some jaxlib releases that are known to be wrong.

  Attributes:
    releases: of jaxlib.
    backend: 'cpu', 'gpu' or 'tpu'.
    what: comes out wrong.
    source: where it is reported, or who measured it.
    of_reductions: whether it is YNNPACK's reductions that are wrong, which the programs
      of a run are compiled without; see `devices.compiler_options`.
  """

  releases: tuple[str, ...]
  backend: str
  what: str
  source: str
  of_reductions: bool = True


REMEDY = f'{_INSTALL} installs a right one'

# "measured": on two cores of an x86-64 processor, by `--mode=doctor` but for the crash.
KNOWN_WRONG = (
  Wrong(
    ('0.8.0', '0.8.1'), 'cpu',
    'constants indexed inside jit(vmap) are read in the wrong order',
    'jax-ml/jax#33479, measured', of_reductions=False),
  Wrong(
    ('0.9.1', '0.9.2', '0.10.0', '0.10.1'), 'cpu',
    'sums and maxima of small products of tens of thousands of rows have wrong rows',
    'measured'),
  Wrong(
    ('0.10.2',), 'cpu',
    'sums and maxima of small products of tens of thousands of rows have wrong rows, '
    'sums of broadcasts differ from run to run, sums over arrays of rank 7 crash',
    'jax-ml/jax#39103, tensorflow/tensorflow#126812, jax-ml/jax#40412, measured'),
  Wrong(
    ('0.11.0', '0.11.1', '0.11.2'), 'cpu',
    'sums of broadcasts are wrong and differ from run to run',
    'tensorflow/tensorflow#126812, google/XNNPACK#11243, measured'),
)


def known_wrong(jaxlib: str, backend: str) -> list[Wrong]:
  """What is known to be wrong in a release on a backend."""
  return [wrong for wrong in KNOWN_WRONG
          if jaxlib in wrong.releases and backend == wrong.backend]


def warnings(jaxlib: str, backend: str) -> list[str]:
  """The same for people: a line each.

  Args:
    jaxlib: the release installed.
    backend: that JAX uses.
  """
  return [
    f'jaxlib {jaxlib} on {backend}: {wrong.what} ({wrong.source})'
    + ', but not in the compiled steps of a run' * wrong.of_reductions
    + f'; {REMEDY}' for wrong in known_wrong(jaxlib, backend)]


def unsupported() -> str | None:
  """Why nothing can run in this Python, in a line, or None."""
  return old_python(sys.version_info[:2]) or missing() or unfit(
    *map(installed, ('jax', 'jaxlib', 'flax')))


def old_python(version: tuple[int, int]) -> str | None:
  """Why this Python cannot run bigmodels, or None."""
  if version >= OLDEST_PYTHON:
    return None
  return (f'Python {_text(version)}: bigmodels requires Python {_text(OLDEST_PYTHON)} '
          'or newer; make the virtual environment with such a one')


def missing() -> str | None:
  """Which packages of requirements.txt are not installed, or None."""
  absent = [name for name in required() if installed(name) is None]
  if not absent:
    return None
  return f'{", ".join(absent)}: not installed; {_INSTALL}'


def required() -> list[str]:
  """The packages in requirements.txt; none where that file is not at hand."""
  path = pathlib.Path(__file__).resolve().parents[2] / 'requirements.txt'
  if not path.is_file():
    return []
  names = re.findall(r'^[\w-]+', path.read_text(encoding='utf-8'), re.MULTILINE)
  return list(dict.fromkeys(names))


def unfit(jax: str, jaxlib: str, flax: str) -> str | None:
  """Why these releases do not work, or not with each other, or None."""
  for name, release in (('jax', jax), ('jaxlib', jaxlib)):
    if _numbers(release) < OLDEST_JAX:
      reason = next((f' ({wrong.what}: {wrong.source})' for wrong in KNOWN_WRONG
                     if release in wrong.releases), '')
      return (f'{name} {release}: bigmodels requires {_text(OLDEST_JAX)} or newer'
              f'{reason}; {_INSTALL}')
  if _numbers(jaxlib)[:3] > _numbers(jax)[:3]:  # as JAX compares them
    return f'jaxlib {jaxlib} is newer than jax {jax}; {_INSTALL}'
  if (_numbers(flax) >= FLAX_SINCE) != (_numbers(jax) >= JAX_SINCE):
    bound = '>=' if _numbers(flax) >= FLAX_SINCE else '<'
    return (f'flax {flax} requires jax {bound} {_text(JAX_SINCE)}, got {jax}; '
            f'{_INSTALL}')
  return None


def logs_what_is_no_error() -> bool:
  """Whether jaxlib logs errors on processor features that a cached program lacks.

  On some processors XLA before 0.12 takes two choices of its compiler for features, and
  reports for every program it reads back that they are not supported. What XLA cannot
  do it raises as well.
  """
  return _numbers(installed('jaxlib') or '') < (0, 12)


def installed(name: str) -> str | None:
  """The release of a package, or None; the package is not imported."""
  # Python 3.7 has no such module, and gets no further than `old_python`.
  from importlib import metadata

  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:
    return None


def _numbers(release: str) -> tuple[int, ...]:
  """'0.12.0.1' -> (0, 12, 0, 1); what follows the numbers does not count."""
  match = re.match(r'\d+(\.\d+)*', release)
  return tuple(map(int, match[0].split('.'))) if match else ()


def _text(version: tuple[int, ...]) -> str:
  return '.'.join(map(str, version))
