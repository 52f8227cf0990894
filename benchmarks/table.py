"""The README's tables of what was measured on a CPU, made from `results/`.

  python benchmarks/table.py
"""

import json
import pathlib

RESULTS = pathlib.Path(__file__).resolve().parent / 'results'


def beside_pytorch() -> list[str]:
  """PyTorch's time over ours: median, least and most of the rounds."""
  rows = ['| PyTorch\'s time over ours | train step | inference of 1 | of 256 |',
          '| --- | --- | --- | --- |']
  for network, found in _read('beside_pytorch_cpu')['results'].items():
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


def _read(name: str) -> dict:
  return json.loads((RESULTS / f'{name}.json').read_text())


if __name__ == '__main__':
  print('\n\n'.join('\n'.join(table()) for table in (
    beside_pytorch, start_up, input_pipeline)))
