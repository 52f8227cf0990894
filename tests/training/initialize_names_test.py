"""Parameters of another run: inputs and classes are matched by name, or refused."""

import json
from functools import partial

import jax
import numpy as np
import optax
import pytest

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.core.errors import UserError
from bigmodels.data import cleaning
from bigmodels.data.sources import DataContext, in_memory
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.storage.checkpoint import Checkpoints
from bigmodels.storage.workdir import Workdir
from bigmodels.training import build, initialize
from bigmodels.training.compile import Carry


class Named:
  """A source whose inputs, classes and target have these names."""

  def __init__(self, features=None, classes=None, target=None):
    self.features, self.classes, self.target = features, classes, target

  def open(self, context):
    del context
    count, inputs = 12, len(self.features or 'ab')
    labels = np.arange(count, dtype=np.int32) % len(self.classes) if self.classes else (
      np.arange(count, dtype=np.float32))
    columns = {'inputs': np.ones((count, inputs), np.float32), 'labels': labels}
    return in_memory(columns, self.classes and tuple(self.classes))._replace(
      features=self.features and tuple(self.features), target=self.target)


def built_of(source, **others):
  regression = getattr(source, 'task', '') == 'regression' or (
    isinstance(source, Named) and source.classes is None)
  record = Experiment(
    model=partial(models.Mlp, widths=(3,)),
    task=tasks.regression if regression else tasks.classification,
    optimizer=partial(optax.adam, 1e-3), duration=Duration(steps=1),
    train=data.Batches(source=source, batch_size=None), evals={}, **others)
  one = layout.make_layout(MeshShape(), 'jit', (), jax.devices()[:1])
  lines = []
  found = build.build(record, one, DataContext(None, None, {}, lines.append))
  found.close()
  return found, lines


def carry_of(built):
  inputs = built.train.dataset.read(np.zeros(1, int))['inputs']
  state = jax.eval_shape(built.learner.init, jax.random.PRNGKey(0), {'inputs': inputs})
  state = jax.tree.map(lambda x: jax.numpy.ones(x.shape, x.dtype), state)
  return Carry(state, {}, jax.numpy.zeros(2, jax.numpy.int32))


@pytest.fixture
def run(tmp_path):
  """(source) -> the workdir of a run on it, and the run."""

  def make(source, drop=()):
    built, _ = built_of(source)
    kept = json.loads(json.dumps(built.data['kept']))
    for name in drop:
      del kept['train'][name]
    workdir = Workdir(tmp_path / 'run')
    workdir.path.mkdir()
    workdir.store_data({'data_dir': None, 'kept': kept})
    checkpoints = Checkpoints(workdir.checkpoints, 2, workdir.seal())
    checkpoints.save(1, carry_of(built), {'best': None, 'best_step': None}, best=None)
    checkpoints.wait()
    checkpoints.release()
    return str(workdir.path), built

  return make


def begin(path, source, pattern='.*'):
  """The run that begins with the parameters of another, and what is said."""
  built, lines = built_of(source, init_from=path, init_pattern=pattern)
  initialize.read(built, carry_of(built).state, lines.append)
  return built, [line for line in lines if ' examples: ' not in line]


@pytest.mark.parametrize('theirs, ours, problem', [
  (Named('ab', ('no', 'yes')), Named('ba', ('no', 'yes')),
   "its inputs are in another order than those here: input 0 is 'a' there and 'b' "
   'here'),
  (Named('ab', ('no', 'yes')), Named('ac', ('no', 'yes')),
   "its inputs have other names than those here: only there 'b'; only here 'c'"),
  (Named('ab', ('no', 'yes')), Named('ab', ('yes', 'no')),
   "its classes are in another order than those here: class 0 is 'no' there and 'yes' "
   'here'),
  (Named('ab', ('no', 'yes')), Named('ab', ('no', 'true')),
   "its classes have other names than those here: only there 'yes'; only here 'true'"),
  (Named(None, ('cat', 'dog', 'cow')), Named(None, ('dog', 'cat', 'cow')),
   "class 0 is 'cat' there and 'dog' here"),
  (Named(None, ('cat', 'dog')), Named(None, ('Cat', 'dog')), "only here 'Cat'"),
  (Named('ab', ('no', 'yes')), Named('abc', ('no', 'yes')), "only here 'c'"),
  (Named('ab', ('no', 'yes')), Named('ab', ('no', 'so', 'yes')), "only here 'so'"),
  (Named('ab', None, 'price'), Named('ab', None, 'rent'),
   "the labels are 'price' there and 'rent' here"),
  (Named('ab', None, 'price'), Named('ba', None, 'price'), 'are in another order'),
  (Named(['a', 'color=red'], ('n', 'y')), Named(['color=red', 'a'], ('n', 'y')),
   "input 0 is 'a' there and 'color=red' here")])
def test_other_names_are_refused(run, theirs, ours, problem):
  path, _ = run(theirs)
  with pytest.raises(UserError) as error:
    begin(path, ours)
  text, = str(error.value).splitlines()
  assert text.startswith(f'--config.init_from={path}: ') and problem in text
  if ours.classes is None or len(ours.features or 'ab') != len(theirs.features or 'ab'):
    return
  pattern = 'Dense_0/bias'  # that is said, and taken
  _, lines = begin(path, ours, pattern)
  assert problem.split('here')[0] in lines[0] and 'taken as they are' in lines[0]


@pytest.mark.parametrize('theirs, ours, drop, said', [
  (Named('ab', ('no', 'yes')), Named('ab', ('no', 'yes')), (), None),
  (Named(None, ('no', 'yes')), Named('ab', ('no', 'yes')), (), None),
  (Named('ab', ('0', '1')), Named('ab', ('no', 'yes')), (), 'only there'),
  (Named('ab', ('no', 'yes'), 'sold'), Named('ab', ('no', 'yes'), 'gone'), (),
   "the labels are 'sold' there and 'gone' here"),
  (Named('ab', None, 'price'), Named('ab', None, 'price'), (), None),
  # As versions before this one wrote it.
  (Named('ab', ('no', 'yes')), Named('ba', ('no', 'yes')), ('features', 'target'),
   None),
  (data.Arrays(np.ones((9, 2), np.float32), np.arange(9) % 3),
   data.Arrays(np.zeros((6, 2), np.float32), np.arange(6) % 3), (), None)])
def test_the_same_names_and_none_are_taken(run, theirs, ours, drop, said):
  path, _ = run(theirs, drop)
  _, lines = begin(path, ours)
  *notes, last = lines
  assert last == f'4 parameters from {path}'
  assert bool(notes) == bool(said) and all(said in line for line in notes)


# --- tables ---------------------------------------------------------------------


def table(folder, name, header, change=lambda row: row, **settings):
  """A file of the columns of a header, and the table of it."""
  rng = np.random.default_rng(0)
  lines = [','.join(header)]
  for i in range(60):
    row = {'a': f'{rng.normal(3, 2):.4f}', 'b': f'{rng.normal(-1, 5):.4f}',
           'color': 'rgb'[i % 3], 'y': 'yes' if i % 2 else 'no', 'z': str(i)}
    row = change(row)
    lines.append(','.join(row[n] for n in header))
  (folder / name).write_text('\n'.join(lines) + '\n')
  settings = {'label': 'y', 'task': 'classification'} | settings
  return data.Table(str(folder / name), **settings)


HEADER = ('a', 'b', 'color', 'y')


@pytest.mark.parametrize('header', [
  ('b', 'a', 'color', 'y'), ('y', 'color', 'b', 'a'), ('color', 'a', 'b', 'y'),
  ('a', 'b', 'z', 'color', 'y')])  # one that the run does not know
def test_columns_are_found_by_their_names(run, header, tmp_path):
  path, before = run(table(tmp_path, 'a.csv', HEADER))
  built, lines = begin(path, table(tmp_path, 'b.csv', header))
  for name, column in before.train.dataset.load().items():
    np.testing.assert_array_equal(built.train.dataset.load()[name], column)
  assert built.train.dataset.classes == ('no', 'yes')
  assert lines[0] == (
    f'{path} (--config.init_from): also using what was fitted to its table: columns '
    'and classes are found by their names')


def test_what_was_fitted_comes_along(run, tmp_path):
  path, before = run(table(tmp_path, 'a.csv', HEADER))
  shifted = table(tmp_path, 'b.csv', HEADER, lambda row: row | {
    'a': str(float(row['a']) + 2)})
  built, _ = begin(path, shifted)
  mean, std = next(v for k, v in before.data['kept'].items() if k.startswith('table ')
                   )['steps'][-1][1]['a']
  ours, theirs = (x.train.dataset.load()['inputs'] for x in (built, before))
  np.testing.assert_allclose(ours[:, 0] - theirs[:, 0], 2 / std, rtol=1e-4)
  assert mean == pytest.approx(3, abs=1)


def test_targets_come_along(run, tmp_path):
  settings = {'label': 'b', 'task': 'regression'}
  path, before = run(table(tmp_path, 'a.csv', ('a', 'b', 'color'), **settings))
  doubled = table(tmp_path, 'b.csv', ('a', 'b', 'color'), lambda row: row | {
    'b': str(float(row['b']) * 2)}, **settings)
  built, _ = begin(path, doubled)
  assert built.data['kept']['targets'] == [*before.data['kept']['targets']]
  assert built_of(doubled)[0].data['kept']['targets'] != before.data['kept']['targets']


@pytest.mark.parametrize('header, change, problem', [
  (HEADER, lambda row: row | {'y': {'yes': 'affirm'}.get(row['y'], row['y'])},
   "the label 'affirm' is not one of the classes that the run was fitted to: no, yes"),
  (('aa', 'b', 'color', 'y'), lambda row: row | {'aa': row['a']},
   "no column 'a', which the run was fitted to; did you mean 'aa'?"),
  (('a', 'color', 'y'), lambda row: row, "no column 'b', which the run was fitted to"),
  (HEADER, lambda row: row | {'a': 'x'}, "column 'a' was numbers when the run")])
def test_tables_that_do_not_fit(run, header, change, problem, tmp_path):
  path, _ = run(table(tmp_path, 'a.csv', HEADER))
  with pytest.raises(UserError) as error:
    begin(path, table(tmp_path, 'b.csv', header, change))
  assert problem in str(error.value) and '\n' not in str(error.value)


def test_other_settings_are_fitted_anew_and_the_names_compared(run, tmp_path):
  path, _ = run(table(tmp_path, 'a.csv', HEADER))
  clean = (cleaning.fill_missing, cleaning.one_hot)
  _, lines = begin(path, table(tmp_path, 'b.csv', HEADER, clean=clean))
  assert lines[0] == (f'{path} (--config.init_from): its table had other settings '
                      'than this one, which is fitted again')
  with pytest.raises(UserError, match="input 0 is 'a' there and 'b' here"):
    begin(path, table(tmp_path, 'b.csv', ('b', 'a', 'color', 'y'), clean=clean))


def test_a_part_is_taken_for_other_classes(run, tmp_path):
  path, _ = run(table(tmp_path, 'a.csv', HEADER))
  other = table(tmp_path, 'b.csv', HEADER, lambda row: row | {'y': row['color']})
  built, lines = begin(path, other, 'Dense_0/.*')
  assert built.train.dataset.classes == ('b', 'g', 'r')
  assert any("other names than those here: only there 'no', 'yes'; only here 'b', 'g', "
             "'r'" in line for line in lines)
