"""Questions whose answers are spans of a context."""

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.data import text_bytes
from bigmodels.metrics import Mean
from bigmodels.tasks.task import Columns, Task, apply, init, labels_of

_NOWHERE = -1e9  # the logit of a token that is no part of the context


def answer_spans(model, *, longest: int = 30) -> Task:
  """Points at the first and the last token of the answer (Devlin et al., *BERT*, 2019).

  The loss is the mean of the cross-entropies of both, over windows; if a window does
  not have the answer, both are its first token. The predicted answer is the span with
  the largest sum of logits, of all spans of all windows of a question.

  An evaluation gives F1 and exact match as SQuAD's evaluation script does.

  Args:
    model: Linen module, int `[batch, length]` with `segments` and `types` -> logits
      `[batch, length, 2]`.
    longest: maximum number of tokens of a predicted answer.

  Raises:
    ValueError: for a `longest` below 1.
  """
  if longest < 1:
    raise ValueError(f'longest: must be >= 1, got {longest}')
  columns = Columns(keywords=('segments', 'types'))

  def window(batch, index):
    return {**batch, **{name: batch[name][:, index] for name in columns.names
                        if name in batch}}

  def logits_of(params, model_state, batch, key, train):
    """The logits of the windows of a batch, float32 `[batch, W, length, 2]`."""
    def call(index):
      return apply(model, columns, params, model_state, window(batch, index), key=key,
                   train=train)

    if batch['inputs'].ndim != 3:
      raise ValueError('answer_spans needs inputs [batch, windows, length], the data '
                       f'has {batch["inputs"].shape}')
    rows, windows, length = batch['inputs'].shape

    def call_or_skip(index):
      return jax.lax.cond(
        jnp.any(batch['segments'][:, index] > 0),
        lambda: call(index)[0].astype(jnp.float32),
        lambda: jnp.zeros((rows, length, 2), jnp.float32))

    if windows == 1:
      logits, model_state = call(0)
      logits = logits[:, None].astype(jnp.float32)
    else:  # one after the other: most questions have few
      logits = jnp.moveaxis(jax.lax.map(call_or_skip, jnp.arange(windows)), 0, 1)
    there = (batch['offsets'][..., 0] >= 0).at[:, :, 0].set(True)
    return jnp.where(there[..., None], logits, _NOWHERE), model_state

  def objective(params, model_state, batch, key, train):
    logits, model_state = logits_of(params, model_state, batch, key, train)
    labels = labels_of(batch)
    weights = batch['mask'][:, None] * (labels[..., 0] >= 0)
    values = losses.cross_entropy(
      jnp.moveaxis(logits, -1, -2), jnp.maximum(labels, 0)).mean(-1)
    total, count = jnp.sum(jnp.where(weights > 0, values, 0.0)), jnp.sum(weights)
    found = {'loss': Mean(total, count)}
    outputs = {}
    if not train:
      outputs = best_spans(logits[:, :, 1:], batch['offsets'][:, :, 1:], longest)
      outputs |= {name: batch[name] for name in ('context', 'answers') if name in batch}
    return total / jnp.maximum(count, 1.0), (model_state, found, outputs)

  def summarize(outputs):
    return metrics.answers(_predicted(outputs), _references(outputs))

  def draw(outputs, inputs, classes):
    del classes
    predictions, references = _predicted(outputs), _references(outputs)
    scores = {name: 100 * np.array([metrics.best(score, *pair) for pair in zip(
      predictions, references, strict=True)])
      for name, score in (('f1', metrics.f1), ('exact_match', metrics.exact_match))}
    return plots.answers(scores, predictions, references, outputs,
                         getattr(inputs, 'words', None))

  def made(key, batch):
    return init(model, columns, key, window(batch, 0))

  return Task(made, objective, ('inputs', 'segments', 'types', 'offsets', 'context'),
              ('start', 'end', 'probability', 'context'), summarize=summarize,
              plots=draw, answers=lambda outputs: {
                'prediction': _predicted(outputs),
                **{name: outputs[name].tolist() for name in (
                  'start', 'end', 'probability')}})


def best_spans(logits: jax.Array, offsets: jax.Array, longest: int
               ) -> dict[str, jax.Array]:
  """The most likely span of each question, of all spans of at most `longest` tokens.

  Args:
    logits: of the first and of the last token, `[batch, W, length, 2]`.
    offsets: characters of tokens, int `[batch, W, length, 2]`, -1 where no span can be.
    longest: maximum number of tokens of a span.

  Returns:
    `start` and `end`, characters of the context, int32 `[batch]`; `probability`, that
    of the span among all spans of the question, `[batch]`. Of equal ones the shortest
    is returned, and of these the first.
  """
  there = offsets[..., 0] >= 0
  first, last = (jnp.where(there, logits[..., i], -jnp.inf) for i in (0, 1))
  batch, length = len(first), first.shape[-1]

  def add(carry, more):
    best, ends, total = carry
    index = jnp.arange(length) + more
    scores = first + jnp.where(
      index < length, jnp.take(last, index, axis=-1, mode='clip'), -jnp.inf)
    better = scores > best
    return (jnp.where(better, scores, best), jnp.where(better, index, ends),
            jnp.logaddexp(total, jax.nn.logsumexp(scores, (1, 2)))), None

  start = (jnp.full_like(first, -jnp.inf), jnp.zeros(first.shape, jnp.int32),
           jnp.full(batch, -jnp.inf))
  (best, ends, total), _ = jax.lax.scan(add, start, jnp.arange(min(longest, length)))
  flat = best.reshape(batch, -1)
  place = jnp.argmax(flat, 1)

  def at(values):
    return jnp.take_along_axis(values.reshape(batch, -1), place[:, None], 1)[:, 0]

  window = place // length
  begin, end = at(offsets[..., 0]), offsets[
    jnp.arange(batch), window, at(ends), 1]
  return {'start': begin, 'end': end,
          'probability': jnp.exp(jnp.max(flat, 1) - total)}


def _predicted(outputs) -> list[str]:
  return [text[max(start, 0) : max(end, 0)] for text, start, end in zip(
    text_bytes.texts(outputs['context']), outputs['start'].tolist(),
    outputs['end'].tolist(), strict=True)]


def _references(outputs) -> list[list[str]]:
  return [text.split('\n') for text in text_bytes.texts(outputs['answers'])]
