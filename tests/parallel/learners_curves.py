"""As `curves.py`, for agents and a GAN: their losses in several layouts."""

import dataclasses
import json
from importlib.util import find_spec

import curves  # first: it makes eight devices of the CPU

from bigmodels.config import resolving

LAYOUTS = {
  'plain': ('', 'jit', 1),
  'jit data:8': ('data:8', 'jit', 1),
  'fsdp:8': ('fsdp:8', 'jit', 1),
  'pmap': ('data:8', 'pmap', 1),
}
OVERRIDES = {
  'digits_dcgan': {'model.width': '8', 'batch_size': '32'},
  'cartpole_dqn': {'learner.min_replay_size': '1', 'learner.sample_size': '32',
                   'learner.target_update_period': '5',
                   'learner.replay_capacity': '1000'},
  'cartpole_a2c': {'num_environments': '8'},
}


def experiment(name):
  found = resolving.resolve(name, OVERRIDES[name]).experiment
  if name == 'digits_dcgan':
    return found
  test = found.evals['test']
  source = test.source.split('test', 20)
  return dataclasses.replace(found, monitor=None, evals={
    'test': dataclasses.replace(test, source=source)})


if __name__ == '__main__':
  curves.STEPS = 20
  print(json.dumps({
    name: {key: curves.train(experiment(name), *each) for key, each in LAYOUTS.items()}
    for name in OVERRIDES if name == 'digits_dcgan' or find_spec('gymnax')}))
