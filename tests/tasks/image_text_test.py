"""Tests of bigmodels.tasks.image_text."""

from functools import partial

import jax
import numpy as np
import pytest

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.models import BagOfWords, Clip, Linear
from bigmodels.tasks import Split, image_text

KEY = jax.random.key(0)
MODEL = Clip(Linear(num_outputs=6), BagOfWords(20, width=8, dropout=0.0), width=4,
             scale=5.0, bias=-2.0)
TASK = image_text(MODEL)
EVALUATE = jax.jit(partial(TASK.loss, train=False))


def batch_of(most=1, mask=(1, 1, 0, 1, 1)):
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(5, 3, 3, 1)).astype(np.float32)
  inputs[np.array(mask) == 0] = np.nan  # which must not matter
  groups = np.arange(5 * most).reshape(5, most)
  groups[4, 0] = groups[0, 0]  # says the same
  captions = rng.integers(1, 20, (5, most, 6))
  captions[4, 0] = captions[0, 0]
  return {'inputs': inputs, 'captions': captions, 'mask': np.float32(mask),
          'caption_segments': np.ones((5, most, 6), np.int32),
          'caption_groups': groups}


PARAMS, STATE = TASK.init(KEY, batch_of(mask=(1,) * 5))


def vectors(batch):
  images, texts, *_ = MODEL.apply(
    {'params': PARAMS}, batch['inputs'], captions=batch['captions'], train=False)
  return [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in map(
    np.float64, (images, texts))]


@pytest.mark.parametrize('name', ['sigmoid_contrastive', 'softmax_contrastive'])
def test_the_loss_is_the_mean_over_unmasked_images(name):
  task, batch = image_text(MODEL, getattr(losses, name)), batch_of()
  value, (_, found, outputs) = jax.jit(partial(task.loss, train=True))(
    PARAMS, STATE, batch, KEY)
  images, texts = vectors(batch)
  logits, values = 5 * images @ texts[:, 0].T - 2, []
  for i in (0, 1, 3, 4):
    others = [j for j in (0, 1, 3, 4) if j != i and {i, j} != {0, 4}]
    kept = [i, *others]
    values.append(
      np.log1p(np.exp(-logits[i, i])) + np.log1p(np.exp(logits[i, others])).sum()
      if name == 'sigmoid_contrastive' else np.mean([
        np.log(np.exp(side[i, kept]).sum()) - side[i, i]
        for side in (logits, logits.T)]))
  assert value == pytest.approx(np.mean(values), rel=1e-5)
  assert found['loss'].count == 4 and outputs == {}


def test_training_on_several_captions_is_the_mean_over_all():
  batch = batch_of(most=2)
  batch['caption_groups'][1, 1] = -1  # it has one caption
  value, (_, found, _) = TASK.loss(PARAMS, STATE, batch, KEY, train=True)
  total = 0
  for place, counts in ((0, (1, 1, 0, 1, 1)), (1, (1, 0, 0, 1, 1))):
    one = {name: column[:, place : place + 1] if name.startswith('caption') else column
           for name, column in batch.items()}
    mean, _ = TASK.loss(PARAMS, STATE, {**one, 'mask': np.float32(counts)}, KEY,
                        train=True)
    total += mean * sum(counts)
  assert found['loss'].count == 7
  assert value == pytest.approx(float(total) / 7, rel=1e-5)


def test_an_evaluation_has_the_vectors_of_all_captions():
  batch = batch_of(3, (1,) * 5)
  _, (_, _, outputs) = EVALUATE(PARAMS, STATE, batch, KEY)
  for name, expected in zip(('images', 'captions'), vectors(batch), strict=True):
    np.testing.assert_allclose(outputs[name], expected, atol=1e-5)
  outputs = jax.device_get(outputs)
  assert TASK.summarize(outputs) == metrics.retrieval(outputs)
  assert TASK.answers(outputs)['embedding'].shape == (5, 4)
  owner, place = np.nonzero(batch['caption_groups'] >= 0)
  words = [{'image': f'{i}', **{f'caption {c + 1}': f'{i}.{c}' for c in range(3)}}
           for i in range(5)]
  drawn = TASK.plots(outputs, plots.Inputs(None, lambda rows: [
    words[i] for i in rows]), None)
  assert [*drawn] == ['Recall among the k nearest', 'Nearest captions']
  products = outputs['images'] @ outputs['captions'][owner, place].T
  assert [row[:2] for row in drawn['Nearest captions'].rows] == [
    (f'{i}', f'{owner[best]}.{place[best]}') for i, best in enumerate(
      products.argmax(1))]
  line, *_ = drawn['Recall among the k nearest'].axes[0].get_lines()
  assert line.get_xydata()[0].tolist() == [1, metrics.retrieval(outputs)[
    'image_to_text_r@1']]


def test_images_alone_have_vectors():
  batch = {name: batch_of()[name] for name in ('inputs', 'mask')}
  _, (_, found, outputs) = EVALUATE(PARAMS, STATE, batch, KEY)
  assert [*outputs] == ['images'] and found['loss'].compute() is None


def test_data_that_does_not_fit():
  with pytest.raises(UserError, match='test: has no captions'):
    TASK.check(Split('test', 5, None, False, None, {'images': 1}, None, print))


@pytest.mark.parametrize('length, monitor, refused', [
  (10, 'test/image_to_text_r@10', True), (11, 'test/image_to_text_r@10', False),
  (4, 'test/text_to_image_r@5', True), (4, 'other/text_to_image_r@5', False),
  (4, 'test/loss', False), (4, None, False)])
def test_a_recall_that_a_split_is_too_small_for_is_refused(length, monitor, refused):
  split = Split('test', length, None, False, None, {'captions': 1}, monitor, print)
  if not refused:
    return TASK.check(split)
  with pytest.raises(UserError, match=(
      f"^--config.monitor.metric={monitor}: has no value, for the split 'test' has "
      f'only {length} images; test/(image_to_text|text_to_image)_r@1 has one')):
    TASK.check(split)
