"""The machine of a measurement, and results as files."""

import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

CUDA = ('jax-cuda12-plugin', 'jax-cuda13-plugin', 'nvidia-cudnn-cu12',
        'nvidia-cudnn-cu13')


def save(path: pathlib.Path, command: str, results: dict, *,
         found: dict[str, str | int] | None = None) -> None:
  """Writes results as JSON, with the command that made them and the machine.

  Args:
    path: of the file.
    command: without `python benchmarks/`.
    results: what was measured.
    found: the machine; None for `machine()`.
  """
  written = path.with_name(f'{path.name}.part')
  written.write_text(json.dumps(
    {'command': f'python benchmarks/{command}', 'machine': found or machine(),
     'results': results}, indent=2) + '\n')
  written.replace(path)  # a process that is killed leaves the last whole file


def earlier(path: pathlib.Path | None, found: dict[str, str | int]
            ) -> tuple[dict, dict[str, str | int]]:
  """The results in a file, to which others are added; none if it does not exist.

  Args:
    path: of the file, or None.
    found: the machine.

  Returns:
    The results, and the machine with all versions that were used.

  Raises:
    SystemExit: if they are of another machine, or of other releases.
  """
  if path is None or not path.exists():
    return {}, found
  kept = json.loads(path.read_text())
  differ = [f'{name} {kept["machine"].get(name)}, here {value}'
            for name, value in found.items()
            if name != 'date' and kept['machine'].get(name, value) != value]
  if differ:
    sys.exit(f'--out={path}: has results of {"; ".join(differ)}: name another file')
  return kept['results'], {**kept['machine'], **found}


def machine(**pythons: str) -> dict[str, str | int]:
  """The CPU, its vector instructions, cores, system, GPUs, versions, and the date.

  Args:
    **pythons: package -> the Python in which it runs, where that is not this one.
  """
  lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines() if (
    sys.platform == 'linux') else []
  names = [line.partition(': ')[2] for line in lines if line.startswith('model name')]
  known = {word for line in lines if line.startswith(('flags', 'Features'))
           for word in line.split()}
  vectors = next((name for name in ('amx_bf16', 'avx512f', 'avx2', 'asimd')
                  if name in known), '')
  found = {'cpu': names[0] if names else platform.processor(), 'vectors': vectors,
           'cores': os.cpu_count(), 'system': platform.system(),
           'python': platform.python_version()} | gpus()
  for package in ('jax', 'jaxlib', *CUDA, 'torch'):
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  for package, python in pythons.items():
    code = f'import importlib.metadata as m; print(m.version("{package}"))'
    found[package] = subprocess.check_output([python, '-c', code], text=True).strip()
  return {**found, 'date': time.strftime('%Y-%m-%d')}


@functools.cache
def gpus() -> dict[str, str]:
  """The names of NVIDIA's GPUs, their power limits, and the driver; or nothing."""
  try:
    lines = subprocess.check_output(
      ['nvidia-smi', '--query-gpu=name,power.limit,driver_version',
       '--format=csv,noheader'], text=True, timeout=60).strip().splitlines()
    found = [line.rsplit(', ', 2) for line in lines]
    return {'gpus': ', '.join(f'{name} at {limit}' for name, limit, _ in found),
            'driver': found[0][2]}
  except (OSError, subprocess.SubprocessError, IndexError, ValueError):
    return {}
