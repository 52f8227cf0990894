"""Captions of images, written token by token."""

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import metrics, plots
from bigmodels.tasks import decoding
from bigmodels.tasks.special_tokens import special_tokens
from bigmodels.tasks.task import Columns, Task, apply, init, score_tokens

_SHOWN = 16  # images in the report
_COLUMNS = Columns(('inputs', 'captions'))


def captioning(model, *, tokenizer, smoothing: float = 0.1, beams: int = 1,
               penalty: float = 0.6) -> Task:
  """Writes captions of images.

  The captions begin with the token 'begin' and end with 'end', see
  `data.CaptionedImages`. Training is on all captions of a batch;
  `transforms.one_caption` draws one for each image.
  An evaluation scores all captions of an image, and writes one, by beam search if
  `beams` > 1. It is compared with all of them by BLEU; see `metrics.caption_bleu`.

  Args:
    model: `models.Captioner`, or a module with its methods.
    tokenizer: tokenizer of the captions; supplied by the run.
    smoothing: label smoothing in training, see `losses.cross_entropy`.
    beams: hypotheses in an evaluation; 1 is greedy decoding.
    penalty: length penalty, see `decoding.beam_search`.

  Raises:
    ValueError: for a tokenizer without 'begin' or 'end', or settings out of range.
  """
  begin, end = special_tokens(tokenizer, 'begin', 'end', task='captioning')
  if not 0 <= smoothing < 1:
    raise ValueError(f'smoothing: must be >= 0 and < 1, got {smoothing}')
  decoding.Settings(beams=beams, penalty=penalty)  # refuses invalid values

  def objective(params, model_state, batch, key, train):
    captions, kept = batch['captions'], batch['caption_segments']
    logits, state = apply(
      model, _COLUMNS, params, model_state, {**batch, 'captions': captions[..., :-1]},
      key=key, train=train)
    labels = captions[..., 1:].astype(jnp.int32)
    weights = kept[..., 1:] * batch['mask'][:, None, None]
    flat = (labels.shape[0], -1)
    value, means, outputs = score_tokens(
      logits.astype(jnp.float32).reshape(*flat, logits.shape[-1]), labels.reshape(flat),
      weights.astype(jnp.float32).reshape(flat), smoothing=smoothing * train)
    if train:
      return value, (state, means, {})
    # A tokenizer skips -1, which is not a token.
    return value, (state, means, {
      'written': search(params, model_state, batch['inputs'], captions.shape[-1] - 1),
      'references': jnp.where(weights > 0, labels, -1), **outputs})

  def search(params, model_state, images, count):
    """The best caption of each image, int32 `[batch, count]`."""
    variables = {'params': params, **model_state}
    memory = model.apply(variables, images, train=False, method='encode')

    def advance(cache, tokens):  # the beams of an image attend to the same places
      return model.apply({**variables, **(cache or {})}, tokens, memory, decode=count,
                         train=False, method='decode', mutable=['cache'])

    texts, _ = decoding.beam_search(
      advance, None, jnp.full(len(images), begin), beams=beams, count=count, end=end,
      penalty=penalty)
    return texts[:, 0]

  def texts_of(outputs):
    """What was written, and the captions of each image."""
    references = outputs['references']
    return [*map(tokenizer.decode, outputs['written'])], [
      [tokenizer.decode(ids) for ids in each if (ids >= 0).any()]
      for each in references]

  def summarize(outputs):
    return metrics.language(outputs) | metrics.caption_bleu(*texts_of(outputs))

  def draw(outputs, inputs, classes):
    rows = plots.spread(len(outputs['written']), _SHOWN)
    written, references = texts_of({name: outputs[name][rows] for name in (
      'written', 'references')})
    named = getattr(inputs, 'words', None)
    names = [each['image'] for each in named(rows)] if named else map(str, rows)
    return {**plots.language(outputs, inputs, classes), 'Captions': plots.Table(
      ('image', 'written', 'its first caption'), [
        (name, text, next(iter(each), '')) for name, text, each in zip(
          names, written, references, strict=True)])}

  def answers(outputs: dict[str, np.ndarray]) -> dict[str, list]:
    return {'caption': [*map(tokenizer.decode, outputs['written'])]}

  def made(key: jax.Array, batch):
    return init(model, _COLUMNS, key, batch)

  return Task(made, objective, ('inputs',), ('written',), summarize=summarize,
              plots=draw, answers=answers)
