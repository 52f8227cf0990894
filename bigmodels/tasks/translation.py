"""Translation from one language into another."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.tasks import decoding
from bigmodels.tasks.special_tokens import special_tokens
from bigmodels.tasks.task import (
  Columns,
  Task,
  apply,
  encode,
  init,
  score_tokens,
  token_weights,
)

_SHOWN = 12  # translations in the report


def translation(model, *, tokenizer, smoothing: float = 0.1, beams: int = 1,
                penalty: float = 0.6) -> Task:
  """Translates texts, token by token.

  An evaluation translates every source, by beam search if `beams` > 1. It scores the
  decoded translations against the decoded references by sacrebleu's BLEU.

  Args:
    model: `models.Transformer`, or a module with its methods.
    tokenizer: tokenizer of both languages; supplied by the run.
    smoothing: label smoothing in training, see `losses.cross_entropy`.
    beams: hypotheses in an evaluation; 1 is greedy decoding.
    penalty: length penalty, see `decoding.beam_search`.

  Raises:
    ValueError: for a tokenizer without 'begin' or 'end', or settings out of range.
  """
  begin, end = special_tokens(tokenizer, 'begin', 'end', task='translation')
  if not 0 <= smoothing < 1:
    raise ValueError(f'smoothing: must be >= 0 and < 1, got {smoothing}')
  decoding.Settings(beams=beams, penalty=penalty)  # refuses invalid values
  columns = Columns(('inputs', 'decoder_inputs'), ('segments', 'decoder_segments'))

  def objective(params, model_state, batch, key, train):
    if not train and 'decoder_segments' in batch:
      raise UserError('evals: translations are scored row by row, but here several '
                      'pairs share a row; set packed=None for the split')
    logits, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    labels, weights = batch['labels'].astype(jnp.int32), token_weights(batch)
    value, means, outputs = score_tokens(
      logits.astype(jnp.float32), labels, weights, smoothing=smoothing * train)
    if train:
      return value, (model_state, means, {})
    found = search(params, batch['inputs'], batch['segments'], beams=beams,
                   penalty=penalty, count=_longest(batch['inputs'].shape[1]))
    # A tokenizer skips -1, which is not a token.
    return value, (model_state, means, {
      'translations': found, 'references': jnp.where(weights > 0, labels, -1),
      **outputs})

  def search(params, sources, segments, *, beams, penalty, count):
    """The best translation of each source, int32 `[batch, count]`."""
    memory = model.apply({'params': params}, sources, segments=segments, train=False,
                         method='encode')

    def advance(cache, tokens):  # the beams of a source attend to the same memory
      return model.apply(
        {'params': params, **(cache or {})}, tokens, memory, segments=segments,
        decode=count, train=False, method='decode', mutable=['cache'])

    first = jnp.full(len(sources), begin)
    texts, _ = decoding.beam_search(advance, None, first, beams=beams, count=count,
                                    end=end, penalty=penalty)
    return texts[:, 0]

  compiled = jax.jit(search, static_argnames=('beams', 'penalty', 'count'))

  def generate(params, model_state, prompts, key, settings):
    del model_state, key
    for name, harmless in (('temperature', (0, 1)), ('top_k', (None,)),
                           ('top_p', (None,))):
      if (value := getattr(settings, name)) not in harmless:
        raise UserError(f'--{name}={value}: translations are found by beam search, not '
                        'sampled; leave it out, and set --beams instead')
    if settings.samples > 1:
      raise UserError(f'--samples={settings.samples}: all translations of a text would '
                      'be the same')
    texts = [np.append(encode(tokenizer, '--prompt', prompt), end)
             for prompt in prompts]
    inputs = np.full((len(texts), max(map(len, texts))), end, np.int32)
    segments = np.zeros_like(inputs)
    for row, text in enumerate(texts):
      inputs[row, : len(text)], segments[row, : len(text)] = text, 1
    found = np.asarray(compiled(params, inputs, segments, beams=settings.beams or beams,
                                penalty=settings.penalty, count=settings.tokens))
    lengths = np.where((found == end).any(1), (found == end).argmax(1), found.shape[1])
    return [(decoding.before(tokenizer.decode(ids[:n]), settings.stop), int(n))
            for ids, n in zip(found, lengths, strict=True)]

  def summarize(outputs):
    return metrics.language(outputs) | metrics.bleu(
      [tokenizer.decode(ids) for ids in outputs['translations']],
      [tokenizer.decode(ids) for ids in outputs['references']])

  def draw(outputs, inputs, classes):
    rows = plots.spread(len(outputs['translations']), _SHOWN)
    texts = [map(tokenizer.decode, ids) for ids in (
      inputs(rows), outputs['translations'][rows], outputs['references'][rows])]
    return {**plots.language(outputs, inputs, classes), 'Translations': plots.Table(
      ('source', 'translation', 'reference'), [*zip(*texts, strict=True)])}

  return Task(partial(init, model, columns), objective, ('inputs', 'segments'),
              ('translations',), summarize=summarize, plots=draw,
              generate=generate, answers=lambda outputs: {'prediction': [
                tokenizer.decode(ids) for ids in outputs['translations']]})


def _longest(length: int) -> int:
  """The maximum number of tokens of the translation of a text of this length."""
  return length + length // 4 + 8
