"""Speech recognition by connectionist temporal classification."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import jax.numpy as jnp

from bigmodels import losses
from bigmodels.core.errors import UserError
from bigmodels.core.from_run import FROM_RUN
from bigmodels.metrics import Mean
from bigmodels.tasks import ctc_decoding, transcripts
from bigmodels.tasks.task import Columns, Task, apply, init, labels_of


def ctc(model, *, tokenizer, beams: int = 1, order: int = 0, weight: float = 0.5,
        bonus: float = 0.0,
        ngram_counts: Callable[[int], Mapping[str, int]] = FROM_RUN) -> Task:
  """Transcribes recordings; the model gives tokens or blanks, output by output.

  The loss is in nats per token of the transcripts. An example whose transcript is
  longer than its outputs is not learned from; `unaligned` is the fraction of these.

  Args:
    model: Linen module, `[batch, length, ...]`, with `lengths` `[batch]` -> logits
      `[batch, outputs, tokens]` and numbers of outputs `[batch]`.
    tokenizer: tokenizer of the transcripts, whose token 0 is the blank; supplied by the
      run.
    beams: prefixes of a beam search in an evaluation; 1 is greedy decoding.
    order: length of the n-grams of the training transcripts that guide the search; 0
      for none.
    weight: weight of the n-grams; see `ctc_decoding.prefix_beams`.
    bonus: added to the score of a text for each token.
    ngram_counts: n -> n-grams -> how often they occur; only for `order`, and supplied
      by the run.

  Raises:
    ValueError: for settings out of range, or n-grams without a search.
    UserError: for n-grams without `ngram_counts`.
  """
  for name, value, least in (('beams', beams, 1), ('order', order, 0)):
    if value < least:
      raise ValueError(f'{name}: must be >= {least}, got {value}')
  if not (0 <= weight < math.inf and math.isfinite(bonus)):
    raise ValueError(f'weight, bonus: must be finite, and weight >= 0, got {weight} '
                     f'and {bonus}')
  if order and beams == 1:
    raise ValueError(f'beams: must be > 1 with n-grams of order {order}, got 1')
  if order and ngram_counts is FROM_RUN:
    raise UserError('order: n-grams need ngram_counts where no run supplies it')
  guide = ctc_decoding.ngrams(
    ngram_counts(order), order, tokenizer.size) if order else None
  columns = Columns(keywords=('lengths',))

  def decode(logits, lengths):
    if beams == 1:
      return ctc_decoding.greedy(logits, lengths)
    return ctc_decoding.prefix_beams(
      logits, lengths, beams=beams, model=guide, weight=weight, bonus=bonus)[0][:, 0]

  def objective(params, model_state, batch, key, train):
    (logits, lengths), model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    logits = logits.astype(jnp.float32)
    if logits.shape[-1] != tokenizer.size:
      raise ValueError(f'the model gives {logits.shape[-1]} tokens, the tokenizer has '
                       f'{tokenizer.size}')
    labels, mask = labels_of(batch).astype(jnp.int32), batch['mask']
    aligned = losses.alignable(lengths, labels) & (mask > 0)
    nats = jnp.where(aligned, losses.ctc(logits, lengths, labels), 0.0)
    tokens = jnp.where(aligned, jnp.maximum(jnp.sum(labels > 0, 1), 1), 0)
    mean = Mean(jnp.sum(nats), jnp.sum(tokens).astype(jnp.float32))
    found = {'loss': mean, 'unaligned': Mean(
      jnp.sum(mask * ~aligned), jnp.sum(mask))}
    outputs = {} if train else {
      'predictions': decode(logits, lengths), 'labels': labels, 'nats': nats,
      'filled': filled(batch)}
    value = mean.total / jnp.maximum(mean.count, 1.0)
    return value, (model_state, found, outputs)

  return Task(
    partial(init, model, columns), objective, columns.names, ('predictions',),
    transcripts.check, partial(transcripts.summarize, tokenizer),
    partial(transcripts.draw, tokenizer), answers=partial(
      transcripts.answers, tokenizer))


def filled(batch) -> jnp.ndarray:
  """The fraction of each input that is not padding, float32 `[batch]`."""
  inputs = batch['inputs']
  if 'lengths' not in batch:
    return jnp.ones(len(inputs))
  return batch['lengths'] / inputs.shape[1]
