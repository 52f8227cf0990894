"""Tests of bigmodels.data.episodes, from which a run takes its environment."""

import dataclasses
from functools import partial

import numpy as np
import optax
import pytest

from bigmodels import data, learners, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build
from tests.environments import libraries
from tests.environments.corridor import ROOMS, Corridor

libraries.require('rlax')


def _experiment(**evals) -> Experiment:
  return Experiment(
    model=models.QNetwork(num_outputs=2, body=models.Mlp(num_outputs=4, widths=())),
    task=tasks.control,
    learner=partial(learners.dqn, epsilon=partial(optax.constant_schedule, 0.5),
                    min_replay_size=4, sample_size=4),
    optimizer=partial(optax.sgd, 0.1),
    train=data.Batches(source=data.Episodes(Corridor(), 4), batch_size=None),
    evals={name: data.Batches(source=source, batch_size=None)
           for name, source in evals.items()},
    duration=Duration(steps=2))


def _built(experiment):
  return build.build(experiment, layout.make_layout(MeshShape(), 'jit', ()),
                     DataContext(None, None, {}, say=lambda _: None))


def test_every_split_has_episodes_of_its_own():
  episodes = data.Episodes(Corridor(), 5)
  columns = [episodes.split(name, 3 * i + 1).open(DataContext(None, None, {})).load()
             for i, name in enumerate(('train', 'validation', 'test'))]
  assert [len(c['episode']) for c in columns] == [1, 4, 7]
  assert len(np.unique(np.concatenate([c['episode'] for c in columns]))) == 12
  assert columns[2]['inputs'].shape == (7, ROOMS)
  opened = episodes.open(DataContext(None, None, {}))
  assert opened.classes == ('stay', 'go') and {*opened.load()} == {'inputs', 'episode'}
  assert opened.provides['environment']() == Corridor()


def test_a_run_acts_in_the_environment_of_its_episodes():
  built = _built(_experiment(test=data.Episodes(Corridor(), 4, 'test')))
  assert built.train.dataset.classes == ('stay', 'go')


@pytest.mark.parametrize('other, message', [
  (data.Episodes(Corridor(max_episode_steps=9), 4), r'test: its episodes are of '
   r'Corridor\(max_episode_steps=9\), those of train of '
   r'Corridor\(max_episode_steps=5\)'),
  (data.Digits(), 'test: has no episodes, must have those of')])
def test_an_evaluation_in_another_environment_is_refused(other, message):
  with pytest.raises(UserError, match=message):
    _built(_experiment(test=other))


def test_an_agent_without_episodes_is_refused():
  experiment = _experiment()
  with pytest.raises(UserError, match='needs `environment`, what agents act in'):
    _built(dataclasses.replace(experiment, train=data.Batches(
      source=data.Digits(), batch_size=4)))


@pytest.mark.parametrize('settings, message', [
  ({'count': 0}, 'count: must be 1 to'), ({'selected': 'tests'}, "got 'tests'")])
def test_what_cannot_be_is_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    data.Episodes(**{'environment': Corridor(), 'count': 4, **settings})


def test_an_environment_that_is_none_is_refused():
  with pytest.raises(UserError, match=r"needs an environment .* got 'CartPole-v1'"):
    data.Episodes('CartPole-v1', 4).open(DataContext(None, None, {}))
