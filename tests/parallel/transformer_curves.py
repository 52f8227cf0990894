"""As `curves.py`, for transformers: their losses in several layouts, as JSON."""

import dataclasses
import json
import pathlib

import curves  # first: it makes eight devices of the CPU

from bigmodels import models
from bigmodels.config import resolving

FORK = pathlib.Path(__file__).resolve().parents[1] / 'forks' / 'transformer.py'
LAYOUTS = {
  'plain': ('', 'jit', 1),
  'data:2,fsdp:2,tensor:2': ('data:2,fsdp:2,tensor:2', 'jit', 1),
  'pmap': ('data:8', 'pmap', 1),
}
WIDTH, VOCABULARY, LENGTH = 32, 64, 16


def experiment(model):
  """The fork, which has the rules, with another model."""
  found = resolving.resolve(str(FORK), {
    'width': str(WIDTH), 'vocabulary': str(VOCABULARY), 'length': str(LENGTH),
    'examples': '40', 'batch_size': '16', 'learning_rate': '3e-3'}).experiment
  return dataclasses.replace(found, model=model)


EXPERIMENTS = {
  'gpt': models.Gpt(VOCABULARY, LENGTH, 2, WIDTH, 4, dropout=0.1,
                    attention_dropout=0.1, remat='full'),
  # Devices that share a head.
  'modern': models.ModernGpt(VOCABULARY, LENGTH, 2, WIDTH, 4, kv_heads=1),
}


if __name__ == '__main__':
  curves.STEPS = 3
  found = {
    name: {key: curves.train(experiment(model), *each) for key, each in LAYOUTS.items()}
    for name, model in EXPERIMENTS.items()}
  found['initial'] = {mesh: curves.initial(experiment(EXPERIMENTS['gpt']), mesh)
                      for mesh in ('', 'fsdp:8', 'data:2,fsdp:2,tensor:2')}
  print(json.dumps(found))
