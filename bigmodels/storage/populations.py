"""Sets of runs that differ in their seeds alone, read as data."""

import json
import math
import os
import pathlib
from typing import Any, NamedTuple

from bigmodels.core import config_text, digests, files
from bigmodels.core.errors import UserError, listed
from bigmodels.storage import listing

_SEED = ('seed', 'knob.seed')


class Population(NamedTuple):
  """The results of several seeds, or of one.

  Attributes:
    name: path, as given.
    seeds: of the runs, in order.
    metrics: name -> a finite number for each seed; None for one that has none.
    monitor: the monitored metric, or None.
    goal: 'min' or 'max' of the monitored metric, or None.
    rows: split -> which rows it has, in words.
    notes: lines about runs that are left out or not finished.
  """

  name: str
  seeds: tuple[int, ...]
  metrics: dict[str, list[float | None]]
  monitor: str | None
  goal: str | None
  rows: dict[str, str]
  notes: tuple[str, ...]


def read(path: pathlib.Path, name: str) -> Population:
  """Reads a population, a single run, or a folder of runs of several seeds.

  Args:
    path: a workdir, or the folder of several.
    name: path as given, for messages.

  Raises:
    UserError: if there is no result, one is damaged, or the runs of a folder differ in
      more than their seeds.
  """
  if not path.is_dir():
    raise UserError(f'{name}: there is no such folder')
  if (path / 'config.txt').exists():
    return _of_workdir(path, name)
  notes: list[str] = []
  folders = [run.path for run in listing.find(path, notes.append)]
  if not folders:
    raise UserError(f'{name}: holds no run')
  runs = [_of_workdir(folder, f'{name}{os.sep}{folder.relative_to(path)}')
          for folder in folders]
  configs = [_config(folder) for folder in folders]
  for folder, config in zip(folders[1:], configs[1:], strict=True):
    other = [key for key in config_text.differing(configs[0], config)
             if key not in _SEED]
    if other:
      raise UserError(
        f'{name}: the runs must differ in their seeds alone, but {folders[0].name} and '
        f'{folder.name} differ in {listed(other, 3)}')
  each = sorted(((seed, run.metrics, index) for run in runs
                 for index, seed in enumerate(run.seeds)), key=lambda one: one[0])
  seeds = [seed for seed, _, _ in each]
  twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
  if twice:
    raise UserError(f'{name}: more than one run has the seed {listed(twice)}')
  names = dict.fromkeys(key for run in runs for key in run.metrics)
  return runs[0]._replace(
    name=name, seeds=tuple(seeds),
    metrics={key: [metrics.get(key, [None] * (index + 1))[index]
                   for _, metrics, index in each] for key in names},
    notes=(*notes, *(note for run in runs for note in run.notes)))


def _of_workdir(path: pathlib.Path, name: str) -> Population:
  result, config = _json(path / 'result.json', name), _config(path)
  if not digests.is_intact(result) or not isinstance(result.get('metrics'), dict):
    raise UserError(f'{name}: result.json is not as a run wrote it')
  if 'folds' in result:
    raise UserError(f'{name}: holds the folds of a cross-validation, which share '
                    'examples and are no independent runs; must be a run, or runs of '
                    'several seeds (--seeds=8)')
  several = 'seeds' in result
  seeds = result['seeds'] if several else [config_text.plain(config.get('seed', '0'))]
  metrics = {}
  for key, value in result['metrics'].items():
    values = value if several else [value]
    if isinstance(values, list) and len(values) == len(seeds) and all(
      each is None or type(each) in (int, float) for each in values):
      metrics[key] = [None if each is None or not math.isfinite(each) else each
                      for each in values]
  notes = [f'{name}: the run of seed {seed} ended with a value that is not finite, and '
           'is left out' for seed in result.get('not_finite', ())]
  if result.get('status') != 'finished':
    notes.append(f'{name}: is not finished: the values are those of step '
                 f'{result.get("step")} of {result.get("steps")}')
  kept = _json(path / 'data.json', name).get('kept')
  if not isinstance(kept, dict):
    raise UserError(f'{name}: data.json is not as a run wrote it')
  rows = {key.partition(' ')[2]: str(value) for key, value in kept.items()
          if key.startswith('identity ')}
  monitor, goal = (str(config_text.plain(config[key])) if key in config else None
                   for key in ('monitor.metric', 'monitor.goal'))
  return Population(name, tuple(seeds), metrics, monitor, goal, rows, tuple(notes))


def _config(path: pathlib.Path) -> dict[str, str]:
  try:
    return config_text.read(files.read_text(path / 'config.txt'))
  except UserError as error:
    raise UserError(f'{path / "config.txt"}: {error}') from None


def _json(path: pathlib.Path, name: str) -> dict[str, Any]:
  if not path.exists():
    raise UserError(f'{name}: has no {path.name}; a run writes it when it ends')
  try:
    found = json.loads(files.read_text(path))
  except (ValueError, RecursionError) as error:
    raise UserError(f'{name}: {path.name} is not as a run wrote it: {error}') from None
  if not isinstance(found, dict):
    raise UserError(f'{name}: {path.name} is not as a run wrote it')
  return found
