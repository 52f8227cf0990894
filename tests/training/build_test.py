"""bigmodels.training.build: what it says of labels and inputs before training."""

import types
from functools import partial

import jax
import numpy as np
import optax
import pytest

from bigmodels import data, learners, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.core.errors import UserError
from bigmodels.data.order import Order
from bigmodels.data.sources import DataContext, in_memory
from bigmodels.hardware import devices, flops
from bigmodels.modes import train
from bigmodels.parallel import layout, products
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build, evaluation, loop
from bigmodels.training.compile import trace
from tests.environments.corridor import Corridor

ONE = layout.make_layout(MeshShape(), 'jit', ())
NAN, INF = float('nan'), float('inf')


class Given:
  """A source of columns."""

  def __init__(self, inputs, labels, classes=None):
    self.columns = {'inputs': np.asarray(inputs, np.float32), 'labels': labels}
    self.classes = classes

  def open(self, context):
    return in_memory(self.columns, self.classes)


def given(labels, classes=None, inputs=None):
  if inputs is None:
    inputs = np.arange(2.0 * len(labels)).reshape(-1, 2)
  kind = np.int32 if classes else np.float32
  return Given(inputs, np.array(labels, kind), classes)


def built(train, test, task=tasks.classification, monitor=None,
          learner=learners.supervised, precision=None, **batches):
  batches = {'batch_size': 2} | batches
  experiment = Experiment(
    model=models.Linear, task=task, optimizer=partial(optax.sgd, 0.1),
    train=data.Batches(source=train, **batches),
    evals={'test': data.Batches(source=test, **batches)}, monitor=monitor,
    learner=learner, precision=precision, duration=Duration(steps=2))
  return build.build(experiment, ONE, DataContext(None, None, {}, lambda line: None))


def said(ready, kind, width):
  lines = []
  shapes = {'test': dict.fromkeys((*ready.task.predictions, kind),
                                  jax.ShapeDtypeStruct((2, width), np.float32))}
  build.check_task(ready, shapes, lines.append)
  return lines


def test_a_prediction_that_is_no_output_is_refused():
  ready = built(given([0.0, 1.0]), given([1.0, 0.0]), tasks.regression)
  shape = jax.ShapeDtypeStruct((2, 1), np.float32)
  with pytest.raises(UserError, match=(
    "test: the prediction 'predictions' of the task is none of its outputs; did you "
    "mean 'predicton'")):
    build.check_task(ready, {'test': {'predicton': shape}})


def test_a_learner_of_another_kind_is_refused():
  with pytest.raises(UserError, match=r'must make a learners\.Learner, made 3'):
    built(given([0.0, 1.0]), given([1.0, 0.0]), learner=lambda *parts: 3)


def test_a_run_has_a_task_whatever_its_learner_takes():
  """Modes read every field of it; what an agent learns from has fewer."""
  ready = built(given([0.0, 1.0]), given([1.0, 0.0]), partial(
    tasks.control, environment=Corridor()), learner=learners.actor_critic)
  assert isinstance(ready.task, tasks.Task) and ready.task.findings is None


@pytest.mark.parametrize('units', [False, True])
@pytest.mark.parametrize('precision', [None, 'float32', 'bfloat16_products'])
def test_products_are_rounded_as_the_cpu_multiplies(monkeypatch, units, precision):
  monkeypatch.setattr(devices, 'has_matrix_units', lambda: units)
  monkeypatch.setattr(products, '_LEAST_USES', 0)  # these are small
  ready = built(given([0, 1, 0], ALL[:2]), given([1, 0], ALL[:2]), precision=precision)
  assert ready.precision == (precision or 'float32')
  traced = trace(ready.learner, ready.train, ready.evals, ONE)
  equations = [*flops.equations(traced.step)]
  found = [eqn for eqn in equations if eqn.primitive.name == 'dot_general'
           and eqn.outvars[0].aval.ndim == 2]  # those of norms are numbers
  native = [eqn for eqn in found if eqn.invars[0].aval.dtype == np.dtype('bfloat16')]
  rounded = [eqn for eqn in equations if eqn.primitive.name == 'reduce_precision']
  # The one product of a linear model forward, the other for the gradient of its kernel.
  both = precision == 'bfloat16_products'
  assert len(found) == 2
  assert len(native) == (2 if both and units else 0)
  assert len(rounded) == (4 if both and not units else 0)


ALL = ('a', 'b', 'c')


@pytest.mark.parametrize('train, test, classes, lines', [
  ([0, 1], [1, 0], ('a', 'b'), []),
  ([0, 1, 2], [2, 1, 0], ALL, []),
  ([0, 1, 2], [0, 2], ALL,
   ['test: no example of 1 of 3 classes: b; ROC AUC and average '
    'precision have no value there']),
  ([0, 1, 2], [1, 1], ALL,
   ['test: no example of 2 of 3 classes: a, c; ROC AUC, average precision, Matthews '
    'and kappa have no value there']),
  ([0, 1, 1], [0, 1, 2], ALL, ['train: no example of 1 of 3 classes: c']),
  ([0, 1], [0, 1], ALL, ['train: no example of 1 of 3 classes: c',
   'test: no example of 1 of 3 classes: c; ROC AUC and average '
    'precision have no value there']),
  ([0, 1], [1], ('a', 'b'),
   ['test: no example of 1 of 2 classes: a; ROC AUC, average precision, Matthews and '
    'kappa have no value there']),
  ([0, 13], [0, 13], tuple('abcdefghijklmn'),
   ['train: no example of 12 of 14 classes: b, c, d, e, f, g, h, i and 4 more',
    'test: no example of 12 of 14 classes: b, c, d, e, f, g, h, i and 4 more'
    '; ROC AUC and average '
    'precision have no value there']),
  ([[0, 1], [2, 0]], [[0, 1]], ALL, []),  # labels of every token
  ([[0.25, 0.75], [1, 0]], [[0, 1]], None, []),  # shares
])
def test_classes_without_an_example_are_said(train, test, classes, lines):
  ready = built(given(train, classes), given(test, classes))
  assert said(ready, 'probabilities', len(classes or 'ab')) == lines


@pytest.mark.parametrize('train, test, classes, message', [
  ([0, 0], [0], ('a',), "train: all 2 labels are of one class, 'a'; .* two or more"),
  ([1, 1], [0, 1], ('a', 'b'), "train: all 2 labels are of one class, 'b' of 2; class"),
  ([2, 2, 2], [0, 1], ALL, "train: all 3 labels are of one class, 'c' of 3"),
  ([[0.5, 0.6], [1, 0]], [[0, 1]], None, r'train: labels\[0\] is \[0\.5, 0\.60'),
  ([[0.5, 0.5], [1, 0]], [[0, 1], [2, -1]], None, r'test: labels\[1\] is \[2\.0, -1'),
])
def test_labels_that_no_classifier_can_learn(train, test, classes, message):
  ready = built(given(train, classes), given(test, classes))
  with pytest.raises(UserError, match=message):
    said(ready, 'probabilities', 2)


def test_a_single_class_is_not_answered_with_a_width():
  """It was: set --config.model.num_outputs=1."""
  ready = built(given([0, 0], ('a',)), given([0], ('a',)))
  with pytest.raises(UserError) as error:
    said(ready, 'probabilities', 2)
  assert 'outputs' not in str(error.value)


@pytest.mark.parametrize('width', [2, 4])
def test_a_model_for_another_number_of_classes(width):
  ready = built(given([0, 1, 2], ALL), given([0, 1, 2], ALL))
  with pytest.raises(UserError, match=rf'has {width} outputs, the data has 3 classes: '
                     r'set --config\.model\.num_outputs=3'):
    said(ready, 'probabilities', width)


@pytest.mark.parametrize('metric, refused', [
  ('test/f1/1', True), ('test/recall/1', True), ('test/precision/1', True),
  ('test/f1/0', False), ('test/f1/2', False), ('test/macro_f1', False),
  ('test/accuracy', False), ('test/loss', False),
])
def test_a_monitor_of_a_class_without_an_example(metric, refused):
  ready = built(given([0, 1, 2], ALL), given([0, 2], ALL),
                monitor=Monitor(metric=metric, goal='max'))
  if not refused:
    assert len(said(ready, 'probabilities', 3)) == 1
    return
  with pytest.raises(UserError, match=rf'--config\.monitor\.metric={metric}: the split '
                     r"'test' has no example of the class 'b'; there is test/"):
    said(ready, 'probabilities', 3)


@pytest.mark.parametrize('train, test, lines', [
  ([1, 2], [3, 4], []), ([1, 2], [3], ['test: every label is 3.0; R2 has no value']),
  ([5, 5], [3, 4], ['train: every label is 5.0; R2 has no value']),
  ([[1, 5], [2, 5]], [[1, 2], [2, 3]],
   ['train: every label is 5.0 (target 1); R2 has no value']),
  ([0, 0], [0, 0], ['train: every label is 0.0; R2 has no value',
                    'test: every label is 0.0; R2 has no value']),
])
def test_targets_that_never_change_are_said(train, test, lines):
  ready = built(given(train), given(test), tasks.regression)
  assert said(ready, 'targets', 1) == lines


@pytest.mark.parametrize('train, test, message', [
  ([1, NAN, 3, 4], [1, 2], r'train: labels\[1\] is nan;'),
  ([1, 2, 3, INF], [1, 2], r'train: labels\[3\] is inf;'),
  ([1, 2], [1, NAN, NAN], r'evals\.test: labels\[1\] is nan; 2 values .*: 1, 2'),
  ([1, 2], [-INF], r'evals\.test: labels\[0\] is -inf;'),
  ([[1, 2], [3, NAN]], [[1, 2]], r'train: labels\[1, 1\] is nan;'),
  ([[1, 2], [3, 4]], [[1, 2], [INF, 3]], r'evals\.test: labels\[1, 0\] is inf;'),
])
def test_targets_that_are_not_finite_are_named_with_their_split(train, test, message):
  with pytest.raises(UserError, match=message):
    built(given(train), given(test), tasks.regression)


def spoilt(row, column, value, rows=6):
  inputs = np.arange(2.0 * rows).reshape(rows, 2)
  inputs[row, column] = value
  return given([0, 1] * (rows // 2), ('a', 'b'), inputs)


@pytest.mark.parametrize('fitted', [True, False])
@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_inputs_that_are_not_finite_are_named_before_training(value, fitted):
  standardize = (data.transforms.standardize,) if fitted else ()
  good = given([0, 1], ('a', 'b'))
  with pytest.raises(UserError, match=rf'^train: inputs\[4, 1\] is {value};'):
    built(spoilt(4, 1, value), good, transforms=standardize)
  with pytest.raises(UserError, match=rf'^evals\.test: inputs\[3, 0\] is {value};'):
    built(good, spoilt(3, 0, value), transforms=standardize)


def test_integers_are_no_targets():
  with pytest.raises(UserError, match=r'has classes: a, b; labels of an array are numbe'
                     r'rs where they are floats, labels\.astype\(float\)'):
    built(given([0, 1], ('a', 'b')), given([0, 1], ('a', 'b')), tasks.regression)


@pytest.mark.parametrize('labels, message', [
  (np.zeros(4, np.float32), r'labels\.astype\(int\) turns whole numbers into'),
  (np.zeros((4, 1), np.int32), r'int32 \(2, 1\); labels\[:, 0\] takes the single'),
  (np.eye(4, 3, dtype=np.int32), r'; labels\.argmax\(1\) turns one-hot rows into'),
  (np.zeros((4, 3, 2), np.int32), r'got int32 \(2, 3, 2\)$'),
])
def test_labels_of_a_shape_that_is_no_class(labels, message):
  ready = built(*(data.Arrays(inputs=np.full((4, 2), value, np.float32), labels=labels)
                  for value in (0, 1)))
  with pytest.raises(UserError, match=message):
    trace(ready.learner, ready.train, ready.evals, ONE)


def root(batch, key):
  """NaN for what is below 0."""
  del key
  return {**batch, 'inputs': jax.numpy.sqrt(batch['inputs'])}


@pytest.mark.parametrize('resident', [True, False])
@pytest.mark.parametrize('index, rows', [(0, ''), (1, '3'), (2, '4, 5')])
def test_inputs_that_a_transform_spoils(index, rows, resident):
  inputs = np.array([1, 2, 3, -4, -5, -6.0])[:, None]
  ready = built(given([0, 1], ('a', 'b')), given([0, 1] * 3, ('a', 'b'), inputs),
                transforms=(root,), resident=resident)
  state = types.SimpleNamespace(key=jax.random.PRNGKey(0), step=0)
  found = evaluation.not_finite_inputs(ready, 'test', state, index)
  ready.close()
  assert found == (rows and "The inputs of 'test' are finite as they are read, but not "
                   f'after its transforms (root): rows {rows}')


SPOILING = """
from functools import partial
import jax.numpy as jnp
import numpy as np
import optax
from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment

def root(batch, key):
  return {**batch, 'inputs': jnp.sqrt(batch['inputs'])}

def config(*, bad: int = 3, resident: bool = True, rate: float = 0.1) -> Experiment:
  inputs = np.ones((20, 2), np.float32)
  if bad >= 0:
    inputs[bad, 1] = -1
  source = data.Arrays(inputs, np.arange(20) % 2)
  return Experiment(
    model=models.Linear, task=tasks.classification, optimizer=partial(optax.sgd, rate),
    train=data.Batches(source=source, batch_size=5, transforms=(root,),
                       resident=resident),
    evals={'test': data.Batches(source=data.Arrays(np.ones((4, 2)), np.arange(4) % 2),
                                batch_size=4)},
    duration=Duration(steps=4), log_every=Duration(steps=1))
"""


@pytest.mark.parametrize('resident', [True, False])
def test_a_run_whose_transform_spoils_a_row_names_it(request_for, tmp_path, resident):
  fork = tmp_path / 'spoiling.py'
  fork.write_text(SPOILING)
  step = 1 + int(np.argmax([3 in Order(20, 5, 0, True).rows(i) for i in range(4)]))
  with pytest.raises(loop.NotFinite, match=rf'loss is not finite at step {step}: .*'
                     r"The inputs of 'train' are finite as they are read, but not after"
                     r' its transforms \(root\): rows 3$'):
    train.run(request_for(fork, tmp_path / 'run', resident=resident))


@pytest.mark.parametrize('resident', [True, False])
def test_a_run_whose_inputs_are_finite_says_what_may_help(
  request_for, tmp_path, resident):
  (tmp_path / 'spoiling.py').write_text(SPOILING)
  with pytest.raises(loop.NotFinite, match='clip_by_global_norm may help'):
    train.run(request_for(tmp_path / 'spoiling.py', tmp_path / 'run', bad=-1, rate=1e38,
                          resident=resident))


def test_streamed_inputs_that_are_not_finite_are_named_when_they_are_read():
  loader = built(spoilt(3, 1, NAN, 4), given([0, 1], ('a', 'b')), resident=False).train
  order = Order(4, 2, 0, True)
  bad = next(step for step in range(2) if 3 in order.rows(step))
  for step in range(2):
    if step != bad:
      loader.host_batch(step, 1)
  with pytest.raises(UserError, match=r'^train: inputs\[3, 1\] is nan; fill'):
    loader.host_batch(bad, 1)
  loader.close()
