"""Responses with slots, which an evaluation writes and compares."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from bigmodels import metrics, plots
from bigmodels.data.texts import slot_dialogues
from bigmodels.tasks import decoding
from bigmodels.tasks.language import next_token
from bigmodels.tasks.special_tokens import special_tokens
from bigmodels.tasks.task import Task

_SHOWN = 16  # responses in the report


def slot_responses(model, *, tokenizer, parse: Callable = slot_dialogues.parsed
                   ) -> Task:
  """Writes slots and a response after each context: `next_token`, and what is written.

  An evaluation continues the prompts of `data.Replies` by the most likely tokens, and
  compares: `joint_accuracy`, the fraction of turns where all slots are right;
  `slot_f1`, of single slots; and `bleu`, 0 to 100, of what is said.

  Args:
    model: Linen module, as for `next_token`, that keeps a cache.
    tokenizer: tokenizer of the training data, with 'end'; supplied by the run.
    parse: response -> its set of slots, and what is said.

  Raises:
    ValueError: for a tokenizer without 'end'.
  """
  made = next_token(model, tokenizer=tokenizer)
  end, = special_tokens(tokenizer, 'end', task='slot_responses')

  def loss(params, model_state, batch, key, train):
    value, (model_state, found, outputs) = made.loss(
      params, model_state, batch, key, train)
    if train:
      return value, (model_state, found, outputs)
    if 'prompts' not in batch:
      raise ValueError('slot_responses needs the column prompts: set prompt of '
                       'data.Replies')
    prompts = jnp.asarray(batch['prompts'], jnp.int32)
    count = batch['inputs'].shape[1] - prompts.shape[1]
    size = prompts.shape[1] + count - 1

    def advance(cache, tokens, segments):
      return model.apply(
        {'params': params, **model_state, **(cache or {})}, tokens, segments=segments,
        decode=size, train=False, mutable=['cache'])

    written, lengths = decoding.generate(
      advance, prompts, batch['prompt_segments'], key, count=count, temperature=0,
      stop_tokens=(end,))
    labels = batch['labels'].astype(jnp.int32)
    return value, (model_state, found, {
      **outputs,  # a tokenizer skips -1, which is not a token
      'written': jnp.where(jnp.arange(count) < lengths[:, None], written, -1),
      'references': jnp.where(batch['weights'] > 0, labels, -1)})

  def texts(outputs):
    return [[tokenizer.decode(ids) for ids in outputs[name]]
            for name in ('written', 'references')]

  def summarize(outputs):
    written, true = ([parse(text) for text in each] for each in texts(outputs))
    return metrics.slots(written, true) | metrics.language(outputs)

  def draw(outputs, inputs, classes):
    found = plots.language(outputs, inputs, classes)
    rows = plots.spread(len(outputs['written']), _SHOWN)
    words = getattr(inputs, 'words', None)
    contexts = [each['context'] for each in words(rows)] if words else [''] * len(rows)
    written, references = (np.array(each, object)[rows] for each in texts(outputs))
    return {**found, 'Responses': plots.Table(
      ('context', 'written', 'true'),
      [*zip(contexts, written, references, strict=True)])}

  return made._replace(loss=loss, summarize=summarize, plots=draw, samples=None)
