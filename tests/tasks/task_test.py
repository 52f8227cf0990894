"""Tests of bigmodels.tasks.task: what a model is called with."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import models, tasks
from bigmodels.parallel.precision import in_precision
from bigmodels.tasks import task
from bigmodels.tasks.task import Columns

KEY = jax.random.PRNGKey(0)
TOKENS = {'inputs': np.zeros((2, 3), np.uint16), 'segments': np.ones((2, 3), np.int32),
          'mask': np.ones(2, np.float32)}
PAIRS = {**TOKENS, 'decoder_inputs': np.zeros((2, 4), np.uint16)}
GPT = models.Gpt(5, length=4, depth=1, width=4, heads=1)


@pytest.mark.parametrize('model, batch, message', [
  (models.Mlp(2), TOKENS, "Mlp is called with inputs, segments: .* 'segments'"),
  (models.Transformer(5, depth=1, width=4, heads=1), TOKENS,
   "Transformer is called with inputs, segments: missing .* 'target'"),
  (GPT, PAIRS, 'Gpt is called with inputs, decoder_inputs, segments: too many'),
  (GPT, {**TOKENS, 'masked_positions': np.zeros((2, 1), int)},
   "segments, masked_positions: .* 'masked_positions'"),
])
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_a_model_that_does_not_take_what_a_batch_has(model, batch, message, precision):
  model = in_precision(model, precision)
  arguments = [name for name in ('inputs', 'decoder_inputs') if name in batch]
  columns = Columns(tuple(arguments), ('segments', 'masked_positions'))
  with pytest.raises(ValueError, match=message):
    task.init(model, columns, KEY, batch)
  with pytest.raises(ValueError, match=message):
    task.apply(model, columns, {}, {}, batch, key=KEY, train=True)


class TwoInputs(nn.Module):
  """A head over two columns."""

  @nn.compact
  def __call__(self, image, age, *, train, segments=None):
    return nn.Dense(3)(jnp.concatenate([image, age[:, None]], 1))


def test_a_task_names_the_columns_of_its_model():
  batch = {'image': np.ones((4, 5), np.float32), 'age': np.arange(4, dtype=np.float32),
           'labels': np.array([0, 1, 2, 0]), 'mask': np.ones(4, np.float32)}
  made = tasks.classification(TwoInputs(), inputs=('image', 'age'))
  params, model_state = made.init(KEY, batch)
  assert made.inputs == ('image', 'age', 'segments')
  assert params['Dense_0']['kernel'].shape == (6, 3)
  _, (_, metrics, _) = made.loss(params, model_state, batch, KEY, False)
  assert metrics['loss'].count == 4


@pytest.mark.parametrize(('lacking', 'message'), [
  ('age', "the task needs the column 'age', the data has image, labels, mask"),
  ('labels', "the task needs the column 'labels', the data has image, age, mask")])
def test_a_column_that_the_data_lacks_is_named(lacking, message):
  batch = {'image': np.ones((4, 5), np.float32), 'age': np.arange(4, dtype=np.float32),
           'labels': np.array([0, 1, 2, 0]), 'mask': np.ones(4, np.float32)}
  made = tasks.classification(TwoInputs(), inputs=('image', 'age'))
  params, model_state = made.init(KEY, batch)
  del batch[lacking]
  with pytest.raises(ValueError, match=message):
    made.loss(params, model_state, batch, KEY, False)
