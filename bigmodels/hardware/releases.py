"""Supported releases of Python, JAX and Flax, and known bugs of jaxlib.

`run.py` imports this file before any package, in any Python: it imports only the
standard library, and its syntax is that of Python 3.7.
"""

from __future__ import annotations

import pathlib
import re
import sys
from typing import NamedTuple

# As in requirements.txt and pyproject.toml; a test compares them.
OLDEST_PYTHON = (3, 11)
OLDEST_JAX = (0, 8, 2)
# Flax before 0.12.9 can be imported only with JAX before 0.11.1, later ones only with
# JAX from 0.11.1 on.
FLAX_SINCE, JAX_SINCE = (0, 12, 9), (0, 11, 1)

_INSTALL = 'pip install -r requirements.txt'


class KnownBug(NamedTuple):
  """Wrong results of some releases of jaxlib.

  Attributes:
    releases: of jaxlib.
    backend: 'cpu', 'gpu' or 'tpu'.
    symptom: what is computed wrongly.
    source: an issue, or 'measured'.
    in_reductions: whether the bug is in YNNPACK's reductions, without which the
      programs of a run are compiled; see `devices.compiler_options`.
  """

  releases: tuple[str, ...]
  backend: str
  symptom: str
  source: str
  in_reductions: bool = True


REMEDY = f'{_INSTALL} installs a correct one'

# "measured": on two cores of an x86-64 CPU, all but the crash by `--mode=doctor`.
KNOWN_BUGS = (
  KnownBug(
    ('0.8.0', '0.8.1'), 'cpu',
    'constants indexed inside jit(vmap) are read in the wrong order',
    'jax-ml/jax#33479, measured', in_reductions=False),
  KnownBug(
    ('0.9.1', '0.9.2', '0.10.0', '0.10.1'), 'cpu',
    'sums and maxima of small products of tens of thousands of rows have wrong rows',
    'measured'),
  KnownBug(
    ('0.10.2',), 'cpu',
    'sums and maxima of small products of tens of thousands of rows have wrong rows, '
    'sums of broadcasts differ from run to run, sums over arrays of rank 7 crash',
    'jax-ml/jax#39103, tensorflow/tensorflow#126812, jax-ml/jax#40412, measured'),
  KnownBug(
    ('0.11.0', '0.11.1', '0.11.2'), 'cpu',
    'sums of broadcasts are wrong and differ from run to run',
    'tensorflow/tensorflow#126812, google/XNNPACK#11243, measured'),
)


def known_bugs(jaxlib: str, backend: str) -> list[KnownBug]:
  """The known bugs of a release of jaxlib on a backend."""
  return [bug for bug in KNOWN_BUGS
          if jaxlib in bug.releases and backend == bug.backend]


def warnings(jaxlib: str, backend: str) -> list[str]:
  """A line for each known bug of a release of jaxlib on a backend."""
  return [
    f'jaxlib {jaxlib} on {backend}: {bug.symptom} ({bug.source})'
    + ', but not in the compiled steps of a run' * bug.in_reductions
    + f'; {REMEDY}' for bug in known_bugs(jaxlib, backend)]


def unsupported() -> str | None:
  """Why bigmodels cannot run in this Python, in a line; None if it can."""
  return old_python(sys.version_info[:2]) or missing() or incompatible(
    *map(installed, ('jax', 'jaxlib', 'flax')))


def old_python(version: tuple[int, int]) -> str | None:
  """Why a release of Python cannot run bigmodels, or None."""
  if version >= OLDEST_PYTHON:
    return None
  return (f'Python {_text(version)}: bigmodels requires Python {_text(OLDEST_PYTHON)} '
          'or newer; create the virtual environment with it')


def missing() -> str | None:
  """Which packages of requirements.txt are not installed, or None."""
  absent = [name for name in required() if installed(name) is None]
  if not absent:
    return None
  return f'{", ".join(absent)}: not installed; {_INSTALL}'


def required() -> list[str]:
  """The packages in requirements.txt; empty if that file does not exist."""
  path = pathlib.Path(__file__).resolve().parents[2] / 'requirements.txt'
  if not path.is_file():
    return []
  names = re.findall(r'^[\w-]+', path.read_text(encoding='utf-8'), re.MULTILINE)
  return list(dict.fromkeys(names))


def incompatible(jax: str, jaxlib: str, flax: str) -> str | None:
  """Why these releases do not work, or not with each other; None if they do.

  Args:
    jax: release of jax, such as '0.12.0.1'.
    jaxlib: release of jaxlib.
    flax: release of flax.
  """
  for name, release in (('jax', jax), ('jaxlib', jaxlib)):
    if _numbers(release) < OLDEST_JAX:
      reason = next((f' ({bug.symptom}: {bug.source})' for bug in KNOWN_BUGS
                     if release in bug.releases), '')
      return (f'{name} {release}: bigmodels requires {_text(OLDEST_JAX)} or newer'
              f'{reason}; {_INSTALL}')
  if _numbers(jaxlib)[:3] > _numbers(jax)[:3]:  # as JAX compares them
    return f'jaxlib {jaxlib} is newer than jax {jax}; {_INSTALL}'
  if (_numbers(flax) >= FLAX_SINCE) != (_numbers(jax) >= JAX_SINCE):
    bound = '>=' if _numbers(flax) >= FLAX_SINCE else '<'
    return (f'flax {flax} requires jax {bound} {_text(JAX_SINCE)}, got {jax}; '
            f'{_INSTALL}')
  return None


def logs_false_errors() -> bool:
  """Whether jaxlib logs errors about the CPU features of cached programs.

  On some CPUs XLA before 0.12 mistakes two options of its compiler for features, and
  reports for every program that it reads back that they are not supported. Real errors
  are raised as well.
  """
  return _numbers(installed('jaxlib') or '') < (0, 12)


def refuses_bfloat16_products() -> bool:
  """Whether jaxlib fails on some products of bfloat16 with results of float32.

  On a CPU, XLA before 0.12 compiles some of those with a transposed operand, and raises
  "Unsupported element type for DotThunk::Execute" when they run.
  """
  return _numbers(installed('jaxlib') or '') < (0, 12)


def installed(name: str) -> str | None:
  """The release of a package, or None; the package is not imported."""
  # Python 3.7 lacks this module, and only calls `old_python`.
  from importlib import metadata

  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:
    return None


def _numbers(release: str) -> tuple[int, ...]:
  """'0.12.0.1' -> (0, 12, 0, 1); a suffix is ignored."""
  match = re.match(r'\d+(\.\d+)*', release)
  return tuple(map(int, match[0].split('.'))) if match else ()


def _text(version: tuple[int, ...]) -> str:
  return '.'.join(map(str, version))
