"""The machine of a measurement, and results as files."""

import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import time


def save(path: pathlib.Path, command: str, results: dict, *,
         torch: str = sys.executable) -> None:
  """Writes results as JSON, with the command that made them and the machine.

  Args:
    path: of the file.
    command: without `python benchmarks/`.
    results: what was measured.
    torch: the Python in which PyTorch ran.
  """
  found = machine()
  if torch != sys.executable:
    code = 'import importlib.metadata as m; print(m.version("torch"))'
    found['torch'] = subprocess.check_output([torch, '-c', code], text=True).strip()
  path.write_text(json.dumps(
    {'command': f'python benchmarks/{command}', 'machine': found,
     'results': results}, indent=2) + '\n')


def machine() -> dict[str, str | int]:
  """The CPU, its vector instructions, cores, system, versions, and the date."""
  lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines() if (
    sys.platform == 'linux') else []
  names = [line.partition(': ')[2] for line in lines if line.startswith('model name')]
  known = {word for line in lines if line.startswith(('flags', 'Features'))
           for word in line.split()}
  vectors = next((name for name in ('avx512f', 'avx2', 'asimd') if name in known), '')
  found = {'cpu': names[0] if names else platform.processor(), 'vectors': vectors,
           'cores': os.cpu_count(), 'system': platform.system(),
           'python': platform.python_version()}
  for package in ('jax', 'jaxlib', 'torch'):
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return {**found, 'date': time.strftime('%Y-%m-%d')}
