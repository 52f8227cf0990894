"""Speech recognition by an encoder and a decoder with attention."""

from functools import partial

import jax.numpy as jnp

from bigmodels import losses
from bigmodels.metrics import Mean
from bigmodels.tasks import decoding, transcripts
from bigmodels.tasks.ctc import filled
from bigmodels.tasks.special_tokens import special_tokens
from bigmodels.tasks.task import Columns, Task, apply, init, labels_of, score_tokens

_MORE = 8  # tokens of a transcript, beyond the outputs of the encoder


def transcription(model, *, tokenizer, smoothing: float = 0.1, ctc: float = 0.3,
                  beams: int = 1, penalty: float = 0.0) -> Task:
  """Transcribes recordings token by token; the CTC of the encoder is a second loss.

  Watanabe et al., *Hybrid CTC/attention architecture for end-to-end speech
  recognition*, 2017. The search uses the decoder alone.

  Args:
    model: `models.SpeechTransformer`, or a module with its methods.
    tokenizer: tokenizer of the transcripts, with 'pad' as token 0, 'begin' and 'end';
      supplied by the run.
    smoothing: label smoothing in training, see `losses.cross_entropy`.
    ctc: weight of the second loss in training, below 1.
    beams: hypotheses in an evaluation; 1 is greedy decoding.
    penalty: length penalty, see `decoding.beam_search`.

  Raises:
    ValueError: for a tokenizer without these tokens, or settings out of range.
  """
  _, begin, end = special_tokens(tokenizer, 'pad', 'begin', 'end', task='transcription')
  for name, value in (('smoothing', smoothing), ('ctc', ctc)):
    if not 0 <= value < 1:
      raise ValueError(f'{name}: must be >= 0 and < 1, got {value}')
  decoding.Settings(beams=beams, penalty=penalty)  # refuses invalid values
  columns = Columns(('inputs', 'decoder_inputs'), ('lengths',))

  def with_targets(batch):
    """The batch with 'begin' and the transcript, and the transcript and 'end'."""
    labels = labels_of(batch).astype(jnp.int32)
    size = jnp.sum(labels > 0, 1, keepdims=True)
    targets = jnp.where(jnp.arange(labels.shape[1] + 1) == size, end,
                        jnp.pad(labels, ((0, 0), (0, 1))))
    inputs = jnp.pad(labels, ((0, 0), (1, 0))).at[:, 0].set(begin)
    real = jnp.arange(targets.shape[1]) <= size
    weights = real * batch['mask'][:, None]
    return labels, targets, weights, {**batch, 'decoder_inputs': inputs}

  def objective(params, model_state, batch, key, train):
    labels, targets, weights, batch = with_targets(batch)
    (logits, outputs, lengths), model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    value, means, _ = score_tokens(logits.astype(jnp.float32), targets, weights,
                                   smoothing=smoothing * train)
    if train and ctc:
      aligned = losses.alignable(lengths, labels) & (batch['mask'] > 0)
      nats = jnp.where(aligned, losses.ctc(
        outputs.astype(jnp.float32), lengths, labels), 0.0)
      second = Mean(jnp.sum(nats), means['loss'].count)
      both = (1 - ctc) * means['loss'].total + ctc * second.total
      means |= {'loss': Mean(both, second.count), 'ctc': second}
      value = both / jnp.maximum(second.count, 1.0)
    if train:
      return value, (model_state, means, {})
    return value, (model_state, means, {
      'predictions': search(params, batch), 'labels': labels, 'filled': filled(batch)})

  def search(params, batch):
    """The best transcript of each recording, int32 `[batch, count]`."""
    memory, lengths = model.apply(
      {'params': params}, batch['inputs'], lengths=batch.get('lengths'), train=False,
      method='encode')
    count = memory.shape[1] + _MORE

    def advance(cache, tokens):  # the beams of a recording attend to the same memory
      return model.apply(
        {'params': params, **(cache or {})}, tokens, memory, lengths=lengths,
        decode=count, train=False, method='decode', mutable=['cache'])

    texts, _ = decoding.beam_search(
      advance, None, jnp.full(len(memory), begin), beams=beams, count=count, end=end,
      penalty=penalty)
    return texts[:, 0]

  def initialize(key, batch):
    return init(model, columns, key, with_targets(batch)[-1])

  return Task(
    initialize, objective, ('inputs', 'lengths'), ('predictions',), transcripts.check,
    partial(transcripts.summarize, tokenizer), partial(transcripts.draw, tokenizer),
    answers=partial(transcripts.answers, tokenizer))
