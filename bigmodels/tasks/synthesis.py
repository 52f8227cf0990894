"""Speech synthesis: mel spectrograms of texts, and sounds by Griffin-Lim."""

import contextlib
import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bigmodels import losses, metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.layers import griffin_lim, spectra
from bigmodels.layers.masks import zero_padding
from bigmodels.layers.spectra import Mel
from bigmodels.metrics import Mean
from bigmodels.metrics.synthesis import attention
from bigmodels.plots import Sound
from bigmodels.tasks.task import Split, Task, encode, labels_of, zero_masked

_MULTIPLE = 16  # of the length of prompts and spectrograms
_CEPSTRA = 13  # of mel-cepstral distortion, if there are as many bins
_STOP = 5.0  # weight of the last step, which is one of many


def synthesis(model, *, tokenizer, mel: Mel, open_run: Callable,
              guided: float = 1.0, seconds: float = 10.0, iterations: int = 60,
              recognizer: str | None = None) -> Task:
  """Speaks texts.

  The loss is the squared error of frames before and after the postnet, the
  cross-entropy of the end, and the guidance of attention, per frame. An evaluation also
  speaks every text without the true frames, and compares with these:
  `mel_cepstral_distortion` in decibels, and that of `copied`, the true spectrogram made
  a sound and analyzed again, the best that Griffin-Lim can do; `ended`, the fraction of
  texts whose end the model predicted; and measures of attention, see
  `metrics.synthesis`.
  With a recognizer it gives the error rates of what this hears, of sounds and of copies
  of the recordings.

  Args:
    model: `models.Tacotron`, or a module with its methods.
    tokenizer: tokenizer of the texts, whose token 0 is 'pad'; supplied by the run.
    mel: settings of the spectrograms, those of the transform `log_mel`.
    open_run: path -> the `Run` at that path, None where nothing is evaluated; supplied
      by the run.
    guided: weight of `losses.guided_attention`; 0 for none.
    seconds: maximum length of what is spoken.
    iterations: iterations of Griffin-Lim.
    recognizer: workdir of a run of speech recognition on the same texts, such as of
      `spoken_digit_conformer`; relative to the working directory.

  Raises:
    ValueError: for settings out of range, or spectrograms that cannot be inverted.
    UserError: for a recognizer that does not exist, or hears another rate.
  """
  for name, value in (('guided', guided), ('iterations', iterations)):
    if not value >= 0:
      raise ValueError(f'{name}: must be >= 0, got {value}')
  if not 0 < seconds <= 3600:
    raise ValueError(f'seconds: must be > 0 and <= 3,600, got {seconds}')
  if mel.preemphasis or not mel.center:
    raise ValueError('mel: must be centered and without preemphasis to be inverted')
  module = getattr(model, 'model', model)  # within its precision
  each = module.frames_per_step
  heard = _recognizer(open_run, recognizer, mel)

  def call(params, model_state, batch, key, train):
    _check(batch, module, mel)
    arguments = labels_of(batch).astype(jnp.int32), zero_masked(
      batch['inputs'], batch['mask'])
    variables = {'params': params, **model_state}
    options = {'lengths': batch['lengths'], 'train': train, 'rngs': {'dropout': key}}
    if not train:
      return model.apply(variables, *arguments, rows=batch['row'], **options), (
        model_state)
    found, updated = model.apply(
      variables, *arguments, mutable=list(model_state), **options)
    return found, {**model_state, **updated}

  def init(key, batch):
    _check(batch, module, mel)
    variables = dict(model.init(
      {'params': key, 'dropout': key}, batch['labels'].astype(jnp.int32),
      batch['inputs'], lengths=batch['lengths'], train=False))
    return variables.pop('params'), variables

  def objective(params, model_state, batch, key, train):
    key = key if train else jax.random.PRNGKey(0)
    found, model_state = call(params, model_state, batch, key, train)
    mask = batch['mask']
    tokens = labels_of(batch).astype(jnp.int32)
    lengths = jnp.where(mask > 0, batch['lengths'], 0)
    target = zero_padding(zero_masked(batch['inputs'], mask), lengths)
    steps = -(-lengths // each)

    def squares(frames):
      return jnp.sum(zero_padding(jnp.mean((frames - target) ** 2, -1), lengths), 1)

    before, after = squares(found.before), squares(found.after)
    last = jnp.arange(found.stop.shape[1]) == steps[:, None] - 1
    stop = optax.sigmoid_binary_cross_entropy(found.stop, last) * jnp.where(
      last, _STOP, 1.0)
    stop = jnp.sum(zero_padding(stop, steps), 1) * each
    diagonal = losses.guided_attention(
      found.alignment, steps, jnp.sum(tokens != 0, 1)) * each
    values = before + after + stop + guided * diagonal
    frames = jnp.sum(lengths).astype(jnp.float32)
    means = {name: Mean(jnp.sum(jnp.where(mask > 0, value, 0)), frames)
             for name, value in (('loss', values), ('frames_loss', after),
                                 ('stop_loss', stop), ('attention_loss', diagonal))}
    value = means['loss'].total / jnp.maximum(frames, 1)
    if train:
      return value, (model_state, means, {})
    said = speak(params, model_state, tokens, batch['row'], key, most(seconds))
    return value, (model_state, means, {
      'made': said.after, 'lengths': said.lengths, 'ended': said.ended,
      'alignment': said.alignment, 'true': target, 'true_lengths': lengths,
      'tokens': tokens})

  def speak(params, model_state, tokens, rows, key, steps):
    return model.apply(
      {'params': params, **model_state}, tokens, steps=steps, rows=rows,
      rngs={'dropout': key}, method='speak')

  def most(limit):
    return max(1, math.ceil(limit * mel.rate / mel.hop / each))

  compiled = jax.jit(speak, static_argnames='steps')
  to_sounds = _Sounds(mel, iterations)

  def sounds(params, model_state, prompts, key, settings, limit):
    for name, harmless in (('temperature', 1.0), ('top_k', None), ('top_p', None),
                           ('beams', None), ('stop', ())):
      if (value := getattr(settings, name)) != harmless:
        raise UserError(f'--{name}={value}: frames of speech are not tokens that are '
                        'sampled; leave it out')
    limit, made = limit or seconds, []
    for index, prompt in enumerate(prompts):
      ids, note = _encoded(tokenizer, prompt)
      tokens = np.zeros((1, -(-len(ids) // _MULTIPLE) * _MULTIPLE), np.int32)
      tokens[0, : len(ids)] = ids
      said = jax.device_get(compiled(params, model_state, tokens, np.array([index]),
                                     key, steps=most(limit)))
      notes = [note] if note else []
      if not said.ended[0]:
        notes.append(f'no end was predicted: cut at {limit:g} s (--seconds)')
      found, = to_sounds(said.after, said.lengths)
      made.append(found._replace(note='; '.join(notes)))
    return made

  def summarize(outputs):
    copies = to_sounds(outputs['true'], outputs['true_lengths'])
    found = _distortions(outputs, copies, mel)
    found['ended'] = float(np.mean(outputs['ended']))
    found |= _attention(outputs, each)
    if heard is not None:
      references = [*map(tokenizer.decode, outputs['tokens'])]
      made = to_sounds(outputs['made'], outputs['lengths'])
      for end, part in (('', made), ('_copied', copies)):
        rates = metrics.error_rates(
          [*map(_plain, heard(part))], [*map(_plain, references)])
        found |= {f'{name}{end}': rates[name] for name in ('cer', 'wer')
                  if name in rates}
    return found

  def draw(outputs, inputs, classes):
    return plots.synthesis(
      outputs, inputs, [*map(tokenizer.decode, outputs['tokens'])], mel, to_sounds,
      each)

  def check(split: Split):
    if tokenizer.special.get('pad') != 0:
      raise UserError("tokenizer: the first special token must be 'pad'; it has "
                      f'{", ".join(tokenizer.special) or "none"}')

  return Task(init, objective, ('inputs', 'labels', 'lengths'), check=check,
              summarize=summarize, plots=draw, sounds=sounds)


class _Sounds:
  """Makes sounds of spectrograms, each with phases of its own."""

  def __init__(self, mel: Mel, iterations: int):
    """Only stores the arguments."""
    self._mel = mel
    self._invert = jax.jit(partial(
      griffin_lim.sound_of, mel=mel, iterations=iterations))

  def __call__(self, frames: np.ndarray, lengths: np.ndarray) -> list[Sound]:
    """Log mel spectrograms `[n, frames, bins]`, and how many frames of each are real.
    """
    found, lengths = [], np.asarray(lengths)
    # A multiple, so that few programs are compiled.
    size = -(-int(lengths.max(initial=1)) // _MULTIPLE) * _MULTIPLE
    for each, length in zip(np.asarray(frames)[:, :size], lengths, strict=True):
      # Silence, not 0, beyond the end.
      each = np.where(np.arange(len(each))[:, None] < length, each,
                      np.log(self._mel.floor))
      made = np.asarray(self._invert(jnp.asarray(each[None], jnp.float32),
                                     key=jax.random.PRNGKey(0)))[0]
      found.append(Sound(made[: max(1, (length - 1) * self._mel.hop)], self._mel.rate))
    return found


def _check(batch, module, mel: Mel) -> None:
  """Refuses a batch that is not of spectrograms and tokens."""
  for name in ('labels', 'inputs', 'lengths'):
    if name not in batch:
      raise ValueError(f'synthesis needs the column {name!r}, the data has '
                       f'{", ".join(batch)}')
  frames, tokens = batch['inputs'], batch['labels']
  if frames.ndim != 3 or frames.shape[2] != mel.bins or module.bins != mel.bins:
    raise ValueError(
      f'synthesis needs log mel spectrograms of {mel.bins} bins, got inputs '
      f'{frames.shape} for a model of {module.bins}: end the transforms with log_mel')
  if tokens.ndim != 2:
    raise ValueError(f'synthesis needs labels [batch, tokens], got {tokens.shape}')


def _encoded(tokenizer, prompt: str) -> tuple[np.ndarray, str]:
  """The tokens of a prompt, and a note if it had to be changed."""
  if not prompt.strip():
    raise UserError("--prompt: must be a text to speak, got ''")
  try:
    return encode(tokenizer, '--prompt', prompt), ''
  except UserError:
    for text in (prompt.lower(), prompt.upper()):
      with contextlib.suppress(UserError):
        return encode(tokenizer, '--prompt', text), f'spoken as {text!r}'
    raise


def _recognizer(open_run: Callable, path: str | None, mel: Mel
                ) -> Callable[[Sequence[Sound]], list[str]] | None:
  """(sounds) -> what a run hears; None without one."""
  run = open_run(path) if path else None
  if run is None:
    return None
  rate = getattr(run.reader, 'rate', None)
  if run.built.task.answers is None or rate is None:
    raise UserError(f'--config.task.recognizer={path}: {run.name} transcribes no '
                    'sounds')
  if rate != mel.rate:
    raise UserError(f'--config.task.recognizer={path}: it hears {rate:,} samples per '
                    f'second, these sounds have {mel.rate:,}')

  def hear(sounds):
    outputs = run.predict([np.clip(each.samples, -1, 1) for each in sounds])
    return [str(text) for text in run.built.task.answers(outputs)['prediction']]

  return hear


def _distortions(outputs, copies: Sequence[Sound], mel: Mel) -> dict[str, float]:
  """The mean distortion of what was made, and of copies of the true spectrograms."""
  made, copied = [], []
  for row, copy in enumerate(copies):
    true = outputs['true'][row][: outputs['true_lengths'][row]]
    if not len(true):
      continue
    distance = partial(metrics.mel_cepstral_distortion, true=true, power=mel.power,
                       count=min(_CEPSTRA, mel.bins - 1))
    made.append(distance(outputs['made'][row][: outputs['lengths'][row]]))
    copied.append(distance(np.asarray(spectra.log_mel(
      jnp.asarray(copy.samples)[None], mel))[0]))
  if not made:
    return {}
  return {'mel_cepstral_distortion': float(np.mean(made)),
          'mel_cepstral_distortion_copied': float(np.mean(copied))}


def _attention(outputs, each: int) -> dict[str, float]:
  """The means of the measures of attention."""
  found = [attention(outputs['alignment'][row][: length // each, : np.count_nonzero(
    outputs['tokens'][row])]) for row, length in enumerate(outputs['lengths'])
    if length >= each and outputs['tokens'][row].any()]
  return {name: float(np.mean([one[name] for one in found])) for name in (
    found[0] if found else ())}


def _plain(text: str) -> str:
  """A text as recognizers write it: lower case, without punctuation."""
  kept = ''.join(c if c.isalnum() or c == "'" else ' ' for c in text.lower())
  return ' '.join(kept.split())
