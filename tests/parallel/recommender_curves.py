"""As `curves.py`, for models of users and items: their losses in several layouts."""

import json
import pathlib
import sys
import tempfile
from functools import partial

import curves  # first: it makes eight devices of the CPU
import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.models import sharding_rules

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from tests.data.interactions.written import drawn

LAYOUTS = {
  'plain': ('', 'jit', 1),
  'data:2,fsdp:4': ('data:2,fsdp:4', 'jit', 1),
  'data:2,fsdp:2,tensor:2': ('data:2,fsdp:2,tensor:2', 'jit', 1),
  'pmap': ('data:8', 'pmap', 1),
  'accumulate 2, fsdp:8': ('fsdp:8', 'jit', 2),
}


def experiment(path: str, name: str) -> Experiment:
  events = data.Interactions(path, time='time')
  model, task, rules = {
    'neumf': (partial(models.NeuMf, width=32, hidden=(64, 16), dropout=0.2),
              tasks.implicit, sharding_rules.RECOMMENDER),
    'sasrec': (partial(models.SasRec, length=16, depth=2, width=32, heads=2,
                       dropout=0.2),
               partial(tasks.next_item, negatives=3), sharding_rules.SASREC)}[name]
  source = data.Histories(events, 16) if name == 'sasrec' else events
  return Experiment(
    model=model, task=task, optimizer=partial(optax.adam, 3e-3),
    train=data.Batches(source=source.split('train'), batch_size=32),
    evals={'test': data.Batches(source=source.split('test'), batch_size=40)},
    duration=Duration(steps=curves.STEPS), rules=rules)


if __name__ == '__main__':
  curves.STEPS = 8
  with tempfile.TemporaryDirectory() as folder:
    path = drawn(pathlib.Path(folder), users=150, items=200, count=2400)
    print(json.dumps({
      name: {key: curves.train(experiment(path, name), *each)
             for key, each in LAYOUTS.items()} for name in ('neumf', 'sasrec')}))
