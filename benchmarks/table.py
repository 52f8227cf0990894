"""The README's tables of what was measured on a CPU, made from `results/`.

  python benchmarks/table.py
"""

import json
import pathlib
import statistics
from functools import partial

RESULTS = pathlib.Path(__file__).resolve().parent / 'results'


def beside_pytorch(machine: str) -> list[str]:
  """PyTorch's time over ours: median, least and most of the rounds.

  Args:
    machine: the end of the file's name.
  """
  rows = ['| PyTorch\'s time over ours | train step | inference of 1 | of 256 |',
          '| --- | --- | --- | --- |']
  for network, found in _read(f'beside_pytorch_{machine}')['results'].items():
    for side in ('eager', 'compiled'):
      cells = [f'{each[side]["ratio"]:.2f} ({each[side]["least"]:.2f} to '
               f'{each[side]["most"]:.2f})' for each in found.values() if side in each]
      if cells:
        rows.append(f'| `{network}`, {side} | {" | ".join(cells)} |')
  return rows


def start_up() -> list[str]:
  """Seconds to the first step."""
  rows = ['| seconds to the first step | first start | second start |',
          '| --- | --- | --- |']
  for experiment, found in _read('start_up_cpu')['results'].items():
    cells = [f'{each["seconds"]:.1f} (compiling {each["compiling"]:.1f})'
             for each in found.values()]
    rows.append(f'| `{experiment}` | {" | ".join(cells)} |')
  return rows


def input_pipeline() -> list[str]:
  """Images a second of each road."""
  found = _read('input_pipeline_cpu')['results']
  rows = ['| road of `cifar_resnet` | images/s | times the step |',
          '| --- | --- | --- |']
  return rows + [f'| {road} | {images:,.0f} | {images / found["step"]:.1f} |'
                 for road, images in found.items()]


def checkpoint_stall() -> list[str]:
  """What a checkpoint costs the training beside it: medians of the rounds."""
  rows = ['| saving | size | training stands | written after |',
          '| --- | --- | --- | --- |']
  for experiment, found in _read('checkpoint_stall_cpu')['results'].items():
    stall, written = (statistics.median(found[name]) for name in (
      'stall_ms', 'written_ms'))
    rows.append(f'| `{experiment}` | {found["megabytes"]:.1f} MB | {stall:.0f} ms | '
                f'{written:.0f} ms |')
  return rows


def _read(name: str) -> dict:
  return json.loads((RESULTS / f'{name}.json').read_text())


TABLES = (partial(beside_pytorch, 'amd'), partial(beside_pytorch, 'intel'), start_up,
          input_pipeline, checkpoint_stall)

if __name__ == '__main__':
  print('\n\n'.join('\n'.join(table()) for table in TABLES))
