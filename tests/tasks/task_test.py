"""Tests of bigmodels.tasks.task: what a model is called with."""

import jax
import numpy as np
import pytest

from bigmodels import models
from bigmodels.parallel.precision import in_precision
from bigmodels.tasks import task

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
  (GPT, {**TOKENS, 'places': np.zeros((2, 1), int)}, "segments, places: .* 'places'"),
])
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_a_model_that_does_not_take_what_a_batch_has(model, batch, message, precision):
  model = in_precision(model, precision)
  with pytest.raises(ValueError, match=message):
    task.init(model, KEY, batch)
  with pytest.raises(ValueError, match=message):
    task.apply(model, {}, {}, batch, key=KEY, train=True)
