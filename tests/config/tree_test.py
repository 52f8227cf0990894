"""Tests of config trees: completing, describing and overriding partials."""

import collections
import dataclasses
import enum
import functools
import pathlib
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigmodels import data, losses, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor, resolving, tree
from bigmodels.core.errors import UserError
from bigmodels.core.from_run import FROM_RUN
from bigmodels.optim import schedules
from bigmodels.training import run_context


def described(value):
  return dict(tree.describe(value, 'x'))


class Color(enum.Enum):
  RED = 1


@dataclasses.dataclass(frozen=True)
class Record:
  size: int = 1
  low: float = 0.0
  high: float = 1.0
  note: str | None = None
  mode: Literal['a', 'b', 2] = 'a'
  shape: int | tuple[int, ...] = 1
  pair: tuple[str, int] = ('p', 1)
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: {'t': 1.0})
  function: Callable = jax.nn.relu
  maybe: Callable | None = None
  anything: Any = None
  inner: Duration | None = None
  path: pathlib.Path = pathlib.Path('a')
  on: bool | None = None
  color: Color = Color.RED

  def __post_init__(self):
    if not self.low < self.high:
      raise ValueError(f'low: must be < high, got {self.low}')


def scaled(*parts, scale=1.0, steps):
  return parts, scale, steps


# --- completing -----------------------------------------------------------------


def _context(**values):
  return {name: lambda value=value: value for name, value in values.items()}


def test_complete_supplies_what_only_the_run_knows():
  optimizer = tree.complete(
    partial(optax.sgd, learning_rate=partial(
      schedules.warmup_cosine, peak=2.0, warmup=0.0)),
    _context(steps=10))
  parameters = {'w': jnp.zeros(1)}
  updates, _ = optimizer.update(
    {'w': jnp.ones(1)}, optimizer.init(parameters), parameters)
  assert updates['w'] == -2.0


def test_complete_computes_only_what_is_needed():
  def refuse():
    raise AssertionError('computed')

  assert tree.complete(partial(dict, a=1), {'steps': refuse}) == {'a': 1}


def test_complete_keeps_functions_that_lack_arguments():
  assert tree.complete(jax.nn.relu, _context(steps=1)) is jax.nn.relu
  task = tree.complete(partial(tasks.classification, loss=max), {})
  assert task.func is tasks.classification and task.keywords == {'loss': max}
  left = tree.complete(partial(lambda steps, x: steps + x), _context(steps=3))
  assert left(x=4) == 7


def test_complete_past_variadic_arguments():
  made = tree.complete(partial(scaled, 1, 2, 3), _context(steps=9))
  assert made == ((1, 2, 3), 1.0, 9)


def test_complete_goes_into_tuples_and_leaves_records():
  assert tree.complete((partial(int, '3'), 4), {}) == (3, 4)
  duration = Duration(steps=1)
  assert tree.complete(duration, {}) is duration


def test_complete_gives_a_model_its_outputs():
  assert tree.complete(partial(models.Mlp, widths=(3,)), _context(num_outputs=7)) == (
    models.Mlp(num_outputs=7, widths=(3,)))


class Layered(nn.Module):
  width: int
  norm: Callable[..., nn.Module] = nn.LayerNorm
  activation: Callable = nn.relu
  inner: nn.Module | None = None


def test_complete_leaves_a_module_what_it_makes_its_parts_with():
  norm, gelu = partial(nn.LayerNorm, epsilon=1e-5), partial(nn.gelu, approximate=False)
  for config in (partial(Layered, 3, norm=norm, activation=gelu),
                 partial(Layered, 3, norm, gelu),
                 partial(Layered, norm=norm, activation=gelu)):
    made = tree.complete(config, _context(width=3))
    assert isinstance(made, Layered) and made.width == 3
    assert isinstance(made.norm, functools.partial)
    assert (made.norm.func, made.norm.keywords) == (nn.LayerNorm, norm.keywords)
    assert made.activation(1.0) == pytest.approx(0.8413447)


def test_complete_supplies_what_a_modules_parts_lack():
  made = tree.complete(
    partial(Layered, 3, norm=partial(Layered, norm=partial(nn.LayerNorm, epsilon=1.0))),
    _context(width=7))
  assert isinstance(made.norm, functools.partial)
  part = made.norm()
  assert part.width == 7 and part.norm().epsilon == 1.0


def test_complete_makes_a_modules_modules():
  made = tree.complete(
    partial(Layered, 3, inner=partial(Layered, norm=partial(nn.RMSNorm))),
    _context(width=7))
  assert isinstance(made.inner, Layered) and made.inner.width == 7
  assert made.inner.norm().epsilon == nn.RMSNorm().epsilon
  bert = tree.complete(
    partial(models.MaskedBert, encoder=partial(models.Bert, width=8, heads=2)),
    _context(vocabulary=11))
  assert bert.encoder == models.Bert(11, width=8, heads=2)


def test_complete_calls_what_a_function_is_given_to_call():
  # Only fields of modules: an optimizer's schedule is annotated with a Callable too.
  def function(schedule: Callable):
    return schedule

  made = tree.complete(partial(function, schedule=partial(dict, a=1)), {})
  assert made == {'a': 1}


def test_complete_leaves_a_loss_what_its_caller_gives():
  def loss(predictions, targets, *, steps):
    return predictions, targets, steps

  def schedule(steps):
    return 2 * steps

  def refuse():
    raise AssertionError('computed')

  made = tree.complete(
    partial(tasks.regression, loss=loss), {'targets': refuse, 'steps': lambda: 3})
  assert made.keywords['loss'](1, 2) == (1, 2, 3)
  made = tree.complete(
    partial(tasks.regression, loss=losses.squared_error), {'targets': refuse})
  assert made.keywords['loss'] is losses.squared_error
  assert tree.complete(partial(dict, rate=schedule), _context(steps=4)) == {'rate': 8}


@pytest.mark.parametrize('name', ['flickr8k_siglip', 'cifar_zeroshot'])
def test_a_run_supplies_nothing_to_the_losses_of_captions(name):
  loss = resolving.resolve(name, {}).experiment.task.keywords['loss']
  asked = partial(dict, loss=loss)

  def refuse():
    raise AssertionError('computed')

  found = tree.complete(asked, dict.fromkeys(run_context.NAMES, refuse))
  assert found == {'loss': loss}


# --- describing -----------------------------------------------------------------


@pytest.mark.parametrize(('value', 'text'), [
  (1, '1'), (True, 'True'), (None, 'None'), (1e-3, '0.001'), ('a b', "'a b'"),
  ((1,), '(1,)'), ((), '()'), ([1, 'a'], "[1, 'a']"), ({}, '{}'),
  ({'a': 1}, "{'a': 1}"),
  (np.float64(0.1), '0.1'), (np.int32(3), '3'), (np.dtype('int8'), "'int8'"),
  (pathlib.PurePosixPath('a/b'), "'a/b'"), (Color.RED, f'{__name__}.Color.RED'),
  (jax.nn.relu, 'jax.nn.relu'), (optax.adam, 'optax.adam'), (abs, 'abs'),
  (jnp.bfloat16, 'jax.numpy.bfloat16'),
  (schedules.warmup_cosine, 'bigmodels.optim.schedules.warmup_cosine'),
  (tasks.classification, 'bigmodels.tasks.classification'), (object(), 'object'),
])
def test_describes_a_value(value, text):
  assert described(value) == {'x': text}


def test_describes_defaults_and_hides_what_the_run_supplies():
  assert described(partial(schedules.warmup_cosine, peak=1.0)) == {
    'x': 'bigmodels.optim.schedules.warmup_cosine', 'x.peak': '1.0',
    'x.warmup': '0.05', 'x.end': '0.0'}


def test_describes_arguments_by_position():
  assert described(partial(optax.chain, optax.identity, partial(optim.l2, 0.1))) == {
    'x': 'optax.chain', 'x.0': 'optax.identity', 'x.1': 'bigmodels.optim.l2',
    'x.1.strength': '0.1'}
  assert described(partial(scaled, 1, 2, scale=3.0)) == {
    'x': f'{__name__}.scaled', 'x.0': '1', 'x.1': '2', 'x.scale': '3.0'}


def test_describes_extra_keywords():
  assert described(partial(lambda **extra: extra, hidden=5))['x.hidden'] == '5'


def test_describes_arrays_by_content():
  one, two, three = np.arange(6.0), np.arange(6.0), np.arange(1.0, 7)
  assert described(one) == described(two)
  assert described(one) != described(three)
  assert described(one) != described(one.reshape(2, 3))
  assert described(one)['x'].startswith('float64 array of shape (6,), crc32 ')
  assert described(one[::2]) == described(np.array([0.0, 2, 4]))


def test_describes_what_a_function_closes_over():
  one = described(optax.cosine_decay_schedule(0.5, 100))
  assert one['x.init_value'] == '0.5' and one['x.decay_steps'] == '100'
  assert one != described(optax.cosine_decay_schedule(0.25, 100))


def test_describes_a_function_that_closes_over_itself():
  def again(n):
    return again(n - 1)

  assert list(described(again)) == ['x', 'x.again']


# --- overriding -----------------------------------------------------------------


@pytest.mark.parametrize(('path', 'text', 'expected'), [
  ('size', '-3', -3), ('size', '1_000', 1000), ('low', '-1', -1.0),
  ('low', '1e-3', 1e-3),
  ('high', 'inf', float('inf')), ('note', 'none', None), ('note', '5', '5'),
  ('note', "'none'", 'none'), ('note', '#a = "b" é\n', '#a = "b" é\n'),
  ('note', '', ''),
  ('mode', 'b', 'b'), ('mode', '2', 2), ('shape', '3', 3), ('shape', '3,4', (3, 4)),
  ('shape', '[3]', (3,)), ('shape', '()', ()), ('pair', "'q', 2", ('q', 2)),
  ('splits', "{'u': 1}", {'u': 1.0}), ('splits.t', '0.5', {'t': 0.5}),
  ('function', 'jax.nn.gelu', jax.nn.gelu), ('maybe', 'abs', abs),
  ('function', 'bigmodels.tasks.regression', tasks.regression),
  ('anything', 'a/b', 'a/b'), ('anything', 'jax.nn.relu', jax.nn.relu),
  ('anything', '1.5', 1.5), ('anything', 'abs', 'abs'),
  ('path', 'b', pathlib.Path('b')),
  ('on', 'TRUE', True), ('on', 'false', False), ('inner.steps', '3', Duration(steps=3)),
  ('color', f'{__name__}.Color.RED', Color.RED),
])
def test_override_parses_to_the_type_of_the_field(path, text, expected):
  record = tree.override(Record(note='n'), path, text)
  value = getattr(record, path.partition('.')[0])
  assert value == expected and type(value) is type(expected)
  # What is written is read as the same, over whatever else is there.
  written = dict(tree.describe_fields(record))
  edits = {k: v for k, v in written.items()
           if dict(tree.describe_fields(Record())).get(k) != v}
  assert tree.override_all(Record(), edits) == record


@pytest.mark.parametrize(('path', 'text', 'message'), [
  ('size', '1.0', 'size: must be int (now 1), got the float 1.0'),
  ('size', 'True', 'must be int'), ('size', 'none', 'must be int'),
  ('size', '', 'must be int'),
  ('size', '9' * 5000, '999...'), ('low', 'yes', 'must be float'),
  ('low', '1' + '0' * 400, 'must be float'), ('mode', 'A', "'a' or 'b' or 2"),
  ('mode', 'True', "'a' or 'b' or 2"), ('shape', '(1.5,)', 'tuple[int, ...]'),
  ('shape', '(True,)', 'tuple[int, ...]'), ('pair', "'q',", 'tuple[str, int]'),
  ('pair', '5, 2', 'tuple[str, int]'), ('splits', "{'t': 'x'}", 'float'),
  ('splits.u', '1', "no field 'u'; choose from t"),
  ('function', 'jax.nn.rleu', "did you mean 'relu'"),
  ('function', 'jax.nn', 'function'),
  ('function', 'math.pi', 'function'), ('function', '../x', 'function'),
  ('function', 'no_such_package.f', "No module named 'no_such_package'"),
  ('maybe', 'abss', "got 'abss'"),
  ('anything', 'jax.nn.rleu', "did you mean 'relu'"),
  ('on', '1', 'must be bool or None'),
  ('inner', '3', 'bigmodels.config.Duration or None'),
  ('inner.stesp', '3', "did you mean 'steps'"),
  ('inner.steps', '0', 'inner.steps: must'),
  ('siz', '3', "the experiment has no field 'siz'; did you mean 'size'?"),
  ('size.x', '3', "size (1) is a plain value: it has no field 'x'"),
  ('low', '2', 'low: must be < high, got 2.0'), ('pair.2', '1', "no field '2'"),
])
def test_override_refuses(path, text, message):
  with pytest.raises(UserError) as caught:
    tree.override(Record(), path, text)
  assert message in str(caught.value)
  assert len(str(caught.value)) < 400 and '\n' not in str(caught.value)


@pytest.mark.parametrize('path, text, hint', [
  ('duration', 'Duration(steps=60)',
   'set --config.duration.steps=60 --config.duration.epochs=None'),
  ('duration', '60', 'its fields are --config.duration.steps=, --config.duration.ep'),
  ('monitor', "Monitor('test/loss', goal='min')",
   'set --config.monitor.metric=test/loss --config.monitor.goal=min'),
  ('model', 'Cnn(widths=(4, 8))', "set --config.model.widths='(4, 8)'"),
  ('optimizer', 'optax.sgd(learning_rate=0.1)',
   'set --config.optimizer=optax.sgd --config.optimizer.learning_rate=0.1'),
])
def test_a_call_of_a_record_is_answered_with_settings(path, text, hint):
  batches = data.Batches(source=data.Digits(), batch_size=2)
  experiment = Experiment(
    model=models.Cnn(num_outputs=2), task=tasks.classification,
    optimizer=partial(optax.adam, 1e-3), train=batches, evals={'test': batches},
    duration=Duration(epochs=15))
  with pytest.raises(UserError) as error:
    tree.override(experiment, path, text)
  assert hint in str(error.value)
  if hint.startswith('set '):  # what is named works
    settings = [word.removeprefix('--config.').partition('=')[::2]
                for word in shlex.split(hint)[1:]]
    tree.override_all(experiment, dict(settings))


def test_a_module_that_raises_on_import_is_reported(tmp_path, monkeypatch):
  (tmp_path / 'raises_on_import.py').write_text('raise RuntimeError("broken")')
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(UserError, match='RuntimeError: broken'):
    tree.override(Record(), 'function', 'raises_on_import.f')


def test_a_record_checks_itself_when_all_is_in_place():
  record = tree.override_all(Record(), {'low': '5', 'high': '6'})
  assert (record.low, record.high) == (5.0, 6.0)
  assert tree.override_all(Duration(steps=1), {'steps': 'none', 'epochs': '2'}) == (
    Duration(epochs=2))


def test_override_leaves_the_original():
  chain = partial(optax.chain, partial(optim.l2, 0.1), optax.identity)
  other = tree.override(chain, '0.strength', '0.5')
  assert described(other)['x.0.strength'] == '0.5'
  assert described(chain)['x.0.strength'] == '0.1'
  assert other.args[1] is optax.identity


def test_override_a_keyword_past_variadic_arguments():
  made = tree.override(partial(scaled, 1, 2, 3, steps=1), 'scale', '5')
  assert made() == ((1, 2, 3), 5.0, 1)
  assert tree.override(made, '1', '7')() == ((1, 7, 3), 5.0, 1)


def test_override_by_position_and_by_name_agree():
  place = tree.override(partial(optax.sgd, 0.1), 'learning_rate', '0.5')
  keywords = tree.override(
    partial(optax.sgd, learning_rate=0.1), 'learning_rate', '2')
  assert place.args == (0.5,) and not place.keywords
  assert keywords.keywords == {'learning_rate': 2.0}


def test_a_schedule_becomes_a_number_and_a_schedule_again():
  optimizer = partial(
    optax.adamw, learning_rate=partial(schedules.warmup_linear, peak=1.0))
  fixed = tree.override(optimizer, 'learning_rate', '0.25')
  assert fixed.keywords == {'learning_rate': 0.25}
  with pytest.raises(UserError, match='plain value'):
    tree.override(fixed, 'learning_rate.peak', '1')
  again = tree.override_all(fixed, {
    'learning_rate': 'bigmodels.optim.schedules.warmup_cosine',
    'learning_rate.peak': '3'})
  assert again.keywords['learning_rate'].func is schedules.warmup_cosine
  assert again.keywords['learning_rate'].keywords == {'peak': 3}


def test_another_function_keeps_the_arguments_it_accepts():
  optimizer = partial(optax.adamw, 0.1, weight_decay=0.2)
  holder = tree.override(Record(function=optimizer), 'function', 'optax.sgd')
  assert holder.function.func is optax.sgd
  assert holder.function.keywords == {'learning_rate': 0.1}


def test_another_record_is_made_at_once():
  Holder = collections.namedtuple('Holder', 'model monitor')
  holder = Holder(models.Cnn(num_outputs=3, dropout=0.5), None)
  other = tree.override(holder, 'model', 'bigmodels.models.Mlp')
  assert type(other.model) is models.Mlp
  assert (other.model.num_outputs, other.model.dropout) == (3, 0.5)


def test_a_record_where_there_was_none():
  @dataclasses.dataclass
  class Holder:
    monitor: Monitor | None = None

  holder = tree.override_all(
    Holder(), {'monitor.metric': 'test/loss', 'monitor.goal': 'min'})
  assert holder.monitor == Monitor(metric='test/loss', goal='min')
  assert tree.override(holder, 'monitor', 'none').monitor is None
  with pytest.raises(UserError, match=r"monitor: .*'goal'"):
    tree.override(Holder(), 'monitor.metric', 'test/loss')


def test_bare_functions_take_arguments():
  made = tree.override(Record(function=tasks.classification), 'function.loss', 'abs')
  assert isinstance(made.function, functools.partial)
  assert made.function.keywords == {'loss': abs}


def test_an_argument_from_the_run_is_supplied_where_there_is_one():
  def task(model, *, scale=2, counts=FROM_RUN):
    return model, scale, counts

  run_context = {'counts': lambda: [3, 1], 'scale': lambda: 9}
  for config, expected in ((task, ('m', 2, [3, 1])), (partial(task, scale=5), (
      'm', 5, [3, 1])), (partial(task, counts=0), ('m', 2, 0))):
    assert tree.complete(config, run_context)('m') == expected
  assert tree.complete(task, {})('m') == task('m') == ('m', 2, FROM_RUN)
  assert 'counts' not in tree.field_names(partial(task))
