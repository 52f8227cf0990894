"""Prints tables of docs/speed.md, docs/data.md and docs/growing.md, from `results/`.

  python benchmarks/table.py
"""

import functools
import json
import pathlib
import statistics

RESULTS = pathlib.Path(__file__).resolve().parent / 'results'


def beside_pytorch(file: str = 'beside_pytorch_cpu') -> list[str]:
  """The other side's time over ours: median, least and most of the rounds."""
  rows = [*_measured(file),
          '| the other\'s time over ours | precision | train step | inference of 1 | '
          'of many |', '| --- | --- | --- | --- | --- |']
  for network, precisions in _read(file)['results'].items():
    for precision, sides in precisions.items():
      for side, found in sides.items():
        cells = [''] * 3
        for name, each in found.items():
          cells[0 if name == 'train' else 1 if name.endswith('_1') else 2] = (
            f'{each["ratio"]:.2f} ({each["least"]:.2f} to {each["most"]:.2f})')
        rows.append(f'| `{network}`, {_SIDES[side]} | {precision} | '
                    f'{" | ".join(cells)} |')
  return rows


_SIDES = {'eager': 'PyTorch eager', 'compiled': 'PyTorch compiled', 'keras': 'Keras',
          'float32': 'PyTorch eager in float32'}


def beside_release() -> list[str]:
  """Another release's time for a train step over that of the newest."""
  results = _read('beside_release_cpu')['results']
  caption = _measured('beside_release_cpu')
  others = [name for name in next(iter(results.values())) if not name.endswith('_ms')]
  rows = [*caption,
          f'| another release\'s time over ours, train step | {" | ".join(others)} |',
          '| --- |' + ' --- |' * len(others)]
  for network, found in results.items():
    cells = [f'{found[name]["ratio"]:.2f} ({found[name]["least"]:.2f} to '
             f'{found[name]["most"]:.2f})' for name in others]
    rows.append(f'| `{network}` | {" | ".join(cells)} |')
  return rows


def where_time_goes() -> list[str]:
  """Milliseconds of a train step by kinds of operations, and the rate of products."""
  kinds = {'product': 'products', 'convolution': 'convolutions',
           'elementwise': 'elementwise', 'layout': 'layout', 'reduction': 'reductions'}
  rows = [*_measured('where_time_goes_cpu'),
          f'| ms of a train step | step | {" | ".join(kinds.values())} | other | '
          'between | GFLOP/s of products | without a trace |',
          '| --- |' + ' --- |' * (len(kinds) + 5)]
  for network, found in _read('where_time_goes_cpu')['results'].items():
    other = sum(ms for kind, ms in found['kinds'].items() if kind not in kinds)
    cells = [found['ms'], *(found['kinds'][kind] for kind in kinds), other,
             sum(found['left'].values())]
    rows.append(f'| `{network}` | {" | ".join(f"{ms:.1f}" for ms in cells)} | '
                f'{found["gflops"]["product"]:.0f} | {found["untraced_ms"]:.1f} |')
  return rows


def start_up() -> list[str]:
  """Seconds to the end of the first step."""
  rows = [*_measured('start_up_cpu'),
          '| seconds to the end of the first step | first start | second start |',
          '| --- | --- | --- |']
  for experiment, found in _read('start_up_cpu')['results'].items():
    cells = [f'{each["seconds"]:.1f} (compiling {each["compiling"]:.1f})'
             for each in found.values()]
    rows.append(f'| `{experiment}` | {" | ".join(cells)} |')
  return rows


def input_pipeline() -> list[str]:
  """Images a second of each input pipeline."""
  found = _read('input_pipeline_cpu')['results']
  rows = ['| input of `cifar_resnet` | images/s | times the step |',
          '| --- | --- | --- |']
  return rows + [f'| {pipeline} | {images:,.0f} | {images / found["step"]:.1f} |'
                 for pipeline, images in found.items()]


def folder_input() -> list[str]:
  """Images a second of a folder of files over those of TFDS: median, least and most."""
  rows = [*_measured('folder_input_cpu'),
          '| | images/s of the folder | of TFDS | ratio |', '| --- | --- | --- | --- |']
  return rows + [
    f'| {what} | {found["folder"]:,} | {found["tfds"]:,} | {found["ratio"]:.2f} '
    f'({found["least"]:.2f} to {found["most"]:.2f}) |'
    for what, found in _read('folder_input_cpu')['results'].items()]


def predict_table() -> list[str]:
  """Seconds of the predictions of a million rows, and memory."""
  rows = [*_measured('predict_table_cpu'),
          '| columns, with text | features | reading | model | `--mode=predict` | '
          'ratio | whole command | memory |', '| --- |' + ' --- |' * 7]
  tables = [found for found in _read('predict_table_cpu')['results'].values()
            if isinstance(found, dict)]
  return rows + [
    f'| {found["columns"]}, {found["of_text"]} | {found["features"]} | '
    f'{found["read"]:.1f} s | {found["model"]:.1f} s | {found["predict"]:.1f} s | '
    f'{found["ratio"]:.2f} | {found["command"]:.1f} s | {found["memory_mb"]:.0f} MB |'
    for found in tables]


def checkpoint_stall() -> list[str]:
  """What a checkpoint costs concurrent training: medians of the rounds."""
  rows = ['| saving | size | training stops | written after |',
          '| --- | --- | --- | --- |']
  for experiment, found in _read('checkpoint_stall_cpu')['results'].items():
    stall, written = (statistics.median(found[name]) for name in (
      'stall_ms', 'written_ms'))
    rows.append(f'| `{experiment}` | {found["megabytes"]:.1f} MB | {stall:.0f} ms | '
                f'{written:.0f} ms |')
  return rows


def growth() -> list[str]:
  """Costs by rows, batch and depth: of those parts that were measured.

  It is not in `TABLES` until `growth_cpu.json` is there.
  """
  results, rows = _read('growth_cpu')['results'], _measured('growth_cpu')
  for part, head, cell in (
    ('rows', 'time of an example, by rows', _ratios),
    ('batch', 'time of an example, by batch', _ratios),
    ('depth', 'memory of a step of `gpt`, by blocks and `remat`',
     lambda found: f'{found["temporary"] / 2**20:.0f} MiB')):
    found = results.get(part, {})
    if not found:
      continue
    sizes = [f'{int(size):,}' for size in next(iter(found.values()))]
    rows += [f'| {head} | {" | ".join(sizes)} |', '| --- |' + ' --- |' * len(sizes)]
    rows += [f'| {name} | {" | ".join(map(cell, each.values()))} |'
             for name, each in found.items()] + ['']
  return rows[:-1]


def _ratios(found):
  return f'{found["ratio_cores"]:.2f} ({found["ratio_clock"]:.2f})'


def adult() -> list[str]:
  """Adult's official test file, three seeds."""
  return _measures('adult', {'roc_auc': 'ROC AUC', 'accuracy': 'accuracy',
                               'f1/1': 'F1', 'f1_at_threshold': 'F1 at the threshold'})


def mammography() -> list[str]:
  """Mammography, five folds."""
  return _measures('mammography', {
    'average_precision': 'PR-AUC', 'roc_auc': 'ROC AUC', 'f1/1': 'F1',
    'f1_at_threshold': 'F1 at the threshold'})


def anomalies() -> list[str]:
  """Mean and range of ROC AUC, and mean of average precision, of each table."""
  results = _read('anomalies_cpu')['results']
  rows = [f'| ROC AUC; PR-AUC | {" | ".join(results)} |',
          '| --- |' + ' --- |' * len(results)]
  for model in next(iter(results.values())):
    cells = []
    for found in results.values():
      area = found[model]['roc_auc']
      cells.append(f'{statistics.mean(area):.3f} ({min(area):.3f} to {max(area):.3f}); '
                   f'{statistics.mean(found[model]["average_precision"]):.3f}')
    rows.append(f'| {model} | {" | ".join(cells)} |')
  return rows


def heart() -> list[str]:
  """Heart disease, ten folds that are pooled, five ways to cut them."""
  return _measures('heart', {
    'accuracy': 'accuracy', 'roc_auc': 'ROC AUC', 'log_loss': 'log loss',
    'brier': 'Brier score', 'calibration_error': 'calibration error'})


def _measures(name: str, metrics: dict[str, str]) -> list[str]:
  """The mean of each metric, least and most."""
  rows = [f'| {name} | {" | ".join(metrics.values())} |',
          '| --- |' + ' --- |' * len(metrics)]
  for model, found in _read(f'{name}_cpu')['results'].items():
    cells = [f'{statistics.mean(found[m]):.3f} ({min(found[m]):.3f} to '
             f'{max(found[m]):.3f})' if m in found else '' for m in metrics]
    rows.append(f'| {model} | {" | ".join(cells)} |')
  return rows


def plan_tpu() -> list[str]:
  """Least times of steps on TPUs, before and after the forms for TPUs."""
  before, after = (_read(name)['results'] for name in ('plan_tpu_before', 'plan_tpu'))
  rows = ['| plan | ms a step | bound by | MFU | memory | moved | waited for |',
          '| --- |' + ' --- |' * 6]
  for name, new in after.items():
    old = before.get(name)
    experiment, _, topology = name.partition(' on ')
    if not (old and old['fits'] and new['fits']):
      continue
    # By the same model FLOPs, of the blocks that a causal mask leaves.
    old['mfu'] = new['mfu'] * new['step_ms'] / old['step_ms']
    for each in (old, new):
      each['exposed_gb'] = each['overheads']['exposed_bytes'] / 1e9
    cells = [f'{old[key]:{form}} -> {new[key]:{form}}{unit}' for key, form, unit in (
      ('step_ms', ',.1f', ''), ('bound', '', ''), ('mfu', '.0%', ''),
      ('memory_gb', '.1f', ' GB'), ('moved_gb', ',.0f', ' GB'),
      ('exposed_gb', ',.2f', ' GB'))]
    rows.append(f'| `{experiment}`, `{topology}` | {" | ".join(cells)} |')
  return rows


def _measured(name: str) -> list[str]:
  """The machine, the versions and the date."""
  machine = _read(name)['machine']
  versions = ', '.join(f'{package} {machine[package]}' for package in (
    'jax', 'torch', 'keras') if package in machine)
  return [f'{machine["cpu"]} ({machine["vectors"]}), {machine["cores"]} cores, '
          f'{versions}, {machine["date"]}:', '']


def _read(name: str) -> dict:
  return json.loads((RESULTS / f'{name}.json').read_text())


TABLES = {'speed': (where_time_goes, beside_pytorch,
                     functools.partial(beside_pytorch, 'beside_pytorch_amx'),
                     beside_release, start_up,
                     input_pipeline, folder_input, predict_table, checkpoint_stall),
          'data': (mammography, adult),
          'anomalies': (anomalies,), 'medicine': (heart,), 'growing': (plan_tpu,)}

if __name__ == '__main__':
  print('\n\n'.join('\n'.join(table()) for page in TABLES.values()
                    for table in page))
