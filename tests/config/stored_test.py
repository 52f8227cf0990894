"""Tests of bigmodels.config.stored: records from config.txt alone."""

import pathlib

import numpy as np
import pytest

from bigmodels.config import config_file, resolving, stored, trust
from bigmodels.core import config_text
from bigmodels.core.errors import UserError

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / 'golden'
FORK = '''
from functools import partial
import pathlib
import numpy as np
import optax
from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment

HERE = pathlib.Path(__file__).parent

def halved(batch, key, *, by: float = 2.0):
  return {**batch, 'inputs': batch['inputs'] / by}

def config(*, steps: int = 3, name: str = 'it'):
  source = data.Arrays(inputs=np.load(HERE / 'x.npy'), labels=np.arange(20) % 2)
  def batches(split):
    return data.Batches(source=source.split(split), batch_size=4,
                        transforms=(partial(halved, by=4.0),))
  return Experiment(
    model=partial(models.Mlp, widths=(8,)), task=tasks.classification,
    optimizer=partial(optax.chain, optax.clip_by_global_norm(1.0),
                      partial(optax.adam, 1e-2)) if name == 'closure' else partial(
                        optax.adam, 1e-2),
    train=batches('train'), evals={'test': batches('test')},
    duration=Duration(steps=steps))
'''


def lines(text):
  values = config_text.read(text)
  return {k: v for k, v in values.items()
          if k != 'experiment' and not k.startswith('knob.')}


@pytest.mark.parametrize('path', sorted(GOLDEN.glob('*.txt')), ids=lambda p: p.stem)
def test_the_text_of_every_experiment_determines_it(path):
  values = lines(path.read_text())
  find = trust.finder('none', values, trust.Trust(everything=True))
  try:
    found = stored.read(values, find)
  except UserError as error:
    assert '<locals>' in str(error)  # a closure
    return
  assert dict(resolving.tree.describe_fields(found)) == values


def fork(folder, **knobs):
  (folder / 'mine.py').write_text(FORK)
  np.save(folder / 'x.npy', np.zeros((20, 3), np.float32))
  resolved = resolving.resolve(str(folder / 'mine.py'), knobs)
  config_file.remember(resolved, all_lines=True)
  (folder / 'x.npy').unlink()
  return config_file.to_text(resolved)


def test_a_fork_whose_arrays_are_gone(tmp_path):
  text = fork(tmp_path, steps='5')
  with pytest.raises(UserError, match='FileNotFoundError'):
    config_file.from_text(text, 'it', {})
  found = config_file.from_text(text, 'it', {}, with_data=False)
  assert found.experiment.duration.steps == 5 and found.knobs['steps'] == 5
  assert 'opened without its data, from config.txt alone' in found.notes
  source = found.experiment.train.source
  assert source.inputs.shape == (20, 3) and source.inputs.dtype == np.float32
  with pytest.raises(UserError, match='has only the shape of its float32 array'):
    np.asarray(source.inputs)
  halve = found.experiment.train.transforms[0]
  assert halve({'inputs': 8.0}, None)['inputs'] == 2.0


def test_a_closure_is_not_determined_by_its_text(tmp_path):
  text = fork(tmp_path, name='closure')
  with pytest.raises(UserError, match=r'FileNotFoundError.*does not determine'):
    config_file.from_text(text, 'it', {}, with_data=False)
