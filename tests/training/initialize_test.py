"""bigmodels.training.initialize between runs; published ones: tests/models/."""

import dataclasses
from functools import partial

import jax
import numpy as np
import optax
import pytest

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.core.errors import UserError
from bigmodels.core.tree_paths import name_of
from bigmodels.data.sources import DataContext
from bigmodels.models.sharding_rules import MLP
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.storage.checkpoint import Checkpoints
from bigmodels.storage.workdir import Workdir
from bigmodels.training import build, initialize
from bigmodels.training.compile import Carry
from tests.experiments.small import small

ROWS = {'inputs': np.zeros((10, 4), np.float32)}
STATE = {'kind': 'Words', 'settings': {}, 'words': ['a']}


def experiment(widths=(6,), num_outputs=3, batch_norm=False, **others):
  rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
  source = data.Arrays(inputs=rows, labels=np.arange(30) % num_outputs)
  return Experiment(
    model=partial(models.Mlp, widths=widths, batch_norm=batch_norm),
    task=tasks.classification,
    optimizer=partial(optax.adam, 1e-3),
    train=data.Batches(source=source, batch_size=10), evals={},
    duration=Duration(steps=3), **others)


def built_of(record, kept=None):
  one = layout.make_layout(MeshShape(), 'jit', record.rules, jax.devices()[:1])
  lines = []
  found = build.build(record, one, DataContext(
    None, None, {} if kept is None else {'tokenizer': kept}, lines.append))
  found.close()
  return found, lines


def carry_of(built, scale, batch=ROWS):
  """Parameters that tell where they come from: `scale` and up."""
  state = jax.eval_shape(built.learner.init, jax.random.PRNGKey(0), batch)
  values = iter(range(1000))
  state = jax.tree.map(
    lambda x: jax.numpy.full(x.shape, scale + next(values)).astype(x.dtype), state)
  return Carry(state, {}, jax.numpy.zeros(2, jax.numpy.int32))


def flat(carry):
  return {name_of(path): np.asarray(x)
          for path, x in jax.tree.leaves_with_path(carry.state.params)}


@pytest.fixture
def workdir(tmp_path):
  """(experiment, scale, what it keeps) -> the workdir of a run."""

  def make(record, scale, kept=None):
    path = tmp_path / f'run{scale}'
    carry = carry_of(built_of(record)[0], scale)
    path.mkdir()
    run = Workdir(path)
    run.store_data({'data_dir': None, 'kept': {} if kept is None else {
      'tokenizer': kept}})
    checkpoints = Checkpoints(run.checkpoints, 2, run.seal())
    for step, last in ((1, carry), (2, jax.tree.map(lambda x: x * 2, carry))):
      checkpoints.save(step, last, {'best': 0.5, 'best_step': 1, 'done': None}, best=1)
    checkpoints.wait()
    checkpoints.release()
    return path, flat(carry)

  return make


def test_all_of_the_best_are_taken(workdir):
  path, theirs = workdir(experiment(), 100)
  built, _ = built_of(experiment(init_from=str(path)))
  lines = []
  fresh = carry_of(built, 500)
  started = initialize.start(built, fresh, lines.append)
  ours = flat(started)
  assert ours.keys() == theirs.keys() and len(ours) == 4
  for name in ours:
    np.testing.assert_array_equal(ours[name], theirs[name])
  assert lines == [f'4 parameters from {path}']
  jax.tree.map(np.testing.assert_array_equal, started.state.opt_state,
               fresh.state.opt_state)


@pytest.mark.parametrize('rules', [(), MLP])
def test_a_pattern_takes_its_part_of_another_model(workdir, rules):
  path, theirs = workdir(experiment((6, 5)), 100)
  record = experiment((6,), 2, init_from=str(path), init_pattern='Dense_0/.*',
                      rules=rules)
  built, _ = built_of(record)
  lines, fresh = [], carry_of(built, 500)
  ours = flat(initialize.start(built, fresh, lines.append))
  for name, before in flat(fresh).items():
    expected = theirs[name] if name.startswith('Dense_0/') else before
    np.testing.assert_array_equal(ours[name], expected)
  assert lines == [f'2 parameters from {path} (Dense_0/.*), 2 are fresh; 4 there are '
                   'not taken']


def refusal(record, kept=None):
  built, _ = built_of(record, kept)
  with pytest.raises(UserError) as error:
    initialize.start(built, carry_of(built, 500), print)
  return str(error.value).split('\n')


def test_every_parameter_that_does_not_fit_is_named(workdir):
  path, _ = workdir(experiment((6, 5)), 100)
  lines = refusal(experiment((7,), init_from=str(path)))
  assert lines[0] == f'--config.init_from={path}: its parameters do not fit:'
  assert lines[1:-1] == [
    '  Dense_2/bias: unexpected',
    '  Dense_2/kernel: unexpected',
    '  Dense_0/bias: shape must be (7,), got (6,)',
    '  Dense_0/kernel: shape must be (4, 7), got (4, 6)',
    '  Dense_1/bias: shape must be (3,), got (5,)',
    '  Dense_1/kernel: shape must be (7, 3), got (6, 5)']
  lines = refusal(experiment((6, 5, 4), init_from=str(path)))
  assert '  Dense_3/kernel: missing' in lines
  lines = refusal(experiment((6, 5, 4), init_from=str(path),
                             init_pattern='Dense_[03]/.*'))
  assert lines[1:-1] == ['  Dense_3/bias: missing', '  Dense_3/kernel: missing']


def test_patterns_that_say_nothing_are_refused(workdir):
  path, _ = workdir(experiment(), 100)
  text, = refusal(experiment(init_from=str(path), init_pattern='Dense'))
  assert text == (
    '--config.init_pattern=Dense: matches the whole name of no parameter; there is '
    'Dense_0/bias, Dense_0/kernel, Dense_1/bias, Dense_1/kernel')
  with pytest.raises(ValueError, match=r"^init_pattern: must be a regular expression, "
                     r"got '\(': missing"):
    experiment(init_pattern='(')


def statistics(carry):
  return {name_of(path): np.asarray(x)
          for path, x in jax.tree.leaves_with_path(carry.state.model_state)}


MEAN, VAR = (f'batch_stats/BatchNorm_0/{name}' for name in ('mean', 'var'))


@pytest.mark.parametrize('pattern, said, taken', [
  ('.*', '5 parameters and 2 batch statistics from {}', True),
  ('BatchNorm_0/scale', '1 parameters and 2 batch statistics from {} '
   '(BatchNorm_0/scale), 4 are fresh; 4 there are not taken', True),
  ('Dense_.*', '3 parameters from {} (Dense_.*), 4 are fresh; 4 there are not taken',
   False)])
def test_batch_statistics_come_with_their_parameters(workdir, pattern, said, taken):
  record = experiment(batch_norm=True)
  theirs = statistics(carry_of(built_of(record)[0], 100))
  path, _ = workdir(record, 100)
  built, _ = built_of(experiment(
    batch_norm=True, init_from=str(path), init_pattern=pattern))
  lines, fresh = [], carry_of(built, 500)
  ours = statistics(initialize.start(built, fresh, lines.append))
  assert ours.keys() == theirs.keys() == {MEAN, VAR}
  for name, before in statistics(fresh).items():
    np.testing.assert_array_equal(ours[name], theirs[name] if taken else before)
  assert lines == [said.format(path)]


def test_batch_statistics_that_do_not_fit_are_named(workdir):
  path, _ = workdir(experiment(batch_norm=True), 100)
  lines = refusal(experiment(init_from=str(path)))
  assert '  BatchNorm_0/var: unexpected' in lines
  lines = refusal(experiment((7,), batch_norm=True, init_from=str(path),
                             init_pattern='BatchNorm_0/bias'))
  assert lines[1:-1] == ['  BatchNorm_0/bias: shape must be (7,), got (6,)',
                         '  BatchNorm_0/mean: shape must be (7,), got (6,)',
                         '  BatchNorm_0/var: shape must be (7,), got (6,)']
  path, _ = workdir(experiment(), 200)
  lines = refusal(experiment(batch_norm=True, init_from=str(path)))
  assert '  BatchNorm_0/mean: missing' in lines


@pytest.mark.parametrize('pattern, name, size', [
  ('.*', 'BatchNorm_0/bias', 6), ('Dense_0/kernel', 'Dense_0/kernel', 24),
  ('BatchNorm_0/scale', 'BatchNorm_0/mean', 6)])
def test_a_run_whose_values_are_not_finite_is_refused(workdir, pattern, name, size):
  path, _ = workdir(experiment(batch_norm=True), np.nan)
  text, = refusal(experiment(
    batch_norm=True, init_from=str(path), init_pattern=pattern))
  assert text.endswith(f'{name} is not finite: {size} of {size} values')


def test_absent_and_empty_folders_are_refused(tmp_path):
  assert 'no such file or folder' in refusal(
    experiment(init_from=str(tmp_path / 'gone')))[0]
  Workdir(tmp_path).config.touch()
  assert refusal(experiment(init_from=str(tmp_path))) == [
    f'--config.init_from={tmp_path}: there are no checkpoints']


def test_the_tokenizer_comes_with_the_parameters(workdir):
  path, _ = workdir(experiment(), 100, STATE)
  record = experiment(init_from=str(path))
  built, lines = built_of(record)
  assert built.data['kept']['tokenizer'] == STATE
  assert lines[0] == f'also using the tokenizer of {path} (--config.init_from)'
  assert all(' examples: ' in line for line in lines[1:])
  initialize.start(built, carry_of(built, 500), print)
  built, lines = built_of(record, STATE)
  assert not any('tokenizer' in line for line in lines)  # a run that goes on has it
  assert 'tokenizer' not in built_of(experiment())[0].data['kept']


def test_a_run_with_another_tokenizer_is_refused(workdir):
  path, _ = workdir(experiment(), 100, STATE)
  text, = refusal(experiment(init_from=str(path)), STATE | {'words': ['b']})
  assert 'that run has another tokenizer than this one' in text


def test_a_run_without_what_a_pattern_matches_is_named_with_what_it_has(workdir):
  path, _ = workdir(experiment((6,)), 100)
  text, = refusal(experiment((6, 5), init_from=str(path), init_pattern='Dense_2/.*'))
  assert text.endswith('none of the parameters is there: expected Dense_2/bias, '
                       'Dense_2/kernel; found Dense_0/bias, Dense_0/kernel, '
                       'Dense_1/bias, Dense_1/kernel')


def test_half_of_what_a_pattern_matches_is_refused(workdir):
  path, _ = workdir(experiment((6, 5)), 100)
  lines = refusal(experiment((6,), init_from=str(path), init_pattern='Dense_[02]/.*'))
  assert lines[1:-1] == ['  Dense_2/bias: unexpected',
                         '  Dense_2/kernel: unexpected']


def test_a_generator_that_was_trained_alone_begins_an_adversarial_run(tmp_path):
  """`srgan_x4`: its batch statistics come with it, and the discriminator is fresh."""
  batch = {'inputs': np.zeros((8, 4, 4, 1), np.uint8), 'mask': np.ones(8, np.float32),
           'inside': np.ones((8, 4, 4), bool),
           'labels': np.zeros((8, 16, 16, 1), np.uint8)}
  one = layout.make_layout(MeshShape(), 'jit', (), jax.devices()[:1])

  def started(name, **others):
    record = dataclasses.replace(
      small(name, tmp_path), rules=(), average=None, **others)
    built = build.build(record, one, DataContext(
      str(tmp_path), tmp_path, {}, lambda _: None))
    built.close()
    return built, carry_of(built, 100 if others else 500, batch)

  _, carry = started('srresnet_x4')
  run = Workdir(tmp_path / 'run')
  run.path.mkdir()
  run.store_data({'data_dir': None, 'kept': {}})
  checkpoints = Checkpoints(run.checkpoints, 1, run.seal())
  checkpoints.save(1, carry, {'best': 0.5, 'best_step': 1, 'done': None}, best=1)
  checkpoints.wait()
  checkpoints.release()
  built, fresh = started('srgan_x4', init_from=str(run.path))
  state = initialize.start(built, fresh, lambda _: None).state
  for side, (theirs, *_) in (('generator', carry), ('discriminator', fresh)):
    for ours, others in (
      (state.params, theirs.params),
      (state.model_state['batch_stats'], theirs.model_state['batch_stats'])):
      jax.tree.map(np.testing.assert_array_equal, ours[side], others[side])
