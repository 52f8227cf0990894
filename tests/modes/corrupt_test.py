"""A run on images of which some are damaged."""

import json

import numpy as np
import pytest

from bigmodels.config import resolving
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.tfds import builders, tfds_examples
from bigmodels.modes import train
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build, evaluation
from bigmodels.training.compile import compile_traced, trace
from tests.data.tfds.prepared import flat, record, write

EXPERIMENT = '''
from functools import partial
import optax
from bigmodels import data, models, tasks
from bigmodels.data import transforms
from bigmodels.config import Duration, Experiment

def config(*, resident: bool = True, corrupt: int = 2):
  pets = data.Tfds('pets')
  def batches(split, *augmentation):
    return data.Batches(source=pets.split(split), batch_size=6, resident=resident,
                        corrupt=corrupt, transforms=(*augmentation, partial(
                          transforms.standardize, mean=100.0, std=60.0)))
  return Experiment(
    model=models.Mlp(num_outputs=3, widths=(8,)), task=tasks.classification,
    optimizer=partial(optax.sgd, 0.1),
    train=batches('train', transforms.alternating_flip),
    evals={'test': batches('test')},
    log_every=Duration(steps=1), duration=Duration(epochs=2))
'''


@pytest.fixture
def experiment(tmp_path):
  """The experiment, with its data beside it: rows 3 and 8 of each split are damaged."""
  builders.from_files.cache_clear()
  tfds_examples.data_source.cache_clear()
  records = [record(flat(row)[: 50 if row in (3, 8) else None], row % 3, f'p{row}.jpg')
             for row in range(20)]
  write(tmp_path / 'tfds', {'train': records, 'test': records[:14]})
  path = tmp_path / 'damaged_pets.py'
  path.write_text(EXPERIMENT)
  return path


def test_both_roads_learn_from_the_rest_and_say_so(
  experiment, request_for, tmp_path, capsys):
  curves = []
  for resident in (True, False):
    workdir = tmp_path / str(resident)
    train.run(request_for(
      experiment, workdir, data_dir=tmp_path / 'tfds', resident=resident))
    said = capsys.readouterr().out
    for split in ('train', 'evals.test'):
      for row in (3, 8):
        line = f'{split}: skipped as corrupt: row {row} (example {row} of pets'
        assert said.count(line) == 1 and f"'p{row}.jpg': OSError" in said
    curves.append([json.loads(line) for line in
                   (workdir / 'metrics.jsonl').read_text().splitlines()])
  assert len(curves[0]) == len(curves[1]) > 6
  for one, two in zip(*curves, strict=True):
    assert one.keys() == two.keys()
    np.testing.assert_allclose(list(one.values()), list(two.values()), rtol=1e-4)


@pytest.mark.parametrize('resident', [True, False])
def test_too_many_stop_the_run(experiment, request_for, tmp_path, resident):
  with pytest.raises(UserError, match=r'\.corrupt allows, 1: rows (3, 8|8, 3); '
                     r'the last is row . \(example . of pets .*: OSError'):
    train.run(request_for(experiment, tmp_path / 'run', data_dir=tmp_path / 'tfds',
                          resident=resident, corrupt=1))


@pytest.mark.parametrize('resident', [True, False])
def test_an_evaluation_knows_which_rows_it_is_of(experiment, tmp_path, resident):
  resolved = resolving.resolve(str(experiment), {'resident': str(resident)})
  one = layout.make_layout(MeshShape(), 'jit', ())
  built = build.build(resolved.experiment, one, DataContext(
    str(tmp_path / 'tfds'), tmp_path / 'cache', {}, say=lambda _: None))
  programs = compile_traced(trace(built.learner, built.train, built.evals, one))
  carry = programs.init(one.replicate(np.array([0, 0], np.uint32)))
  _, outputs = evaluation.evaluate(built, programs, 'test', carry.state)
  built.close()
  rows = np.delete(np.arange(14), [3, 8])
  np.testing.assert_array_equal(outputs['row'], rows)
  np.testing.assert_array_equal(outputs['labels'], rows % 3)
