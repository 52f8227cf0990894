"""Models of waveforms: the next sample of a sound, of mu-law levels."""

import functools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bigmodels import metrics, plots
from bigmodels.core.errors import UserError, nearest
from bigmodels.layers.companding import from_mu_law, mu_law
from bigmodels.metrics import Mean
from bigmodels.tasks import decoding
from bigmodels.tasks.task import Columns, Task, apply, init, score_tokens, zero_masked

ORDER = 16  # of the linear prediction that results are compared with
_FITTED = 1000  # training sounds that the baselines are fitted to
_SECONDS = 1.0  # of a generated sound, unless another length is asked for
_SHOWN = 10  # generated sounds in the report


def waveform(model, *, rate: int, training) -> Task:
  """The level of each sample, given those before, on the mu-law scale.

  The loss is in nats per sample. An evaluation predicts every sample of every sound,
  and gives `bits_per_sample` beside those of two baselines, fitted to at most 1,000
  sounds of the training split: `bits_of_levels` knows only how frequent each level is,
  and `bits_of_linear_prediction` predicts from the last 16.

  Args:
    model: `models.WaveNet`, or a module with its `levels`, `classes` and decoding.
    rate: samples per second; supplied by the run.
    training: the opened training split; supplied by the run.

  Raises:
    UserError: for a model of another number of classes than the data.
  """
  module = getattr(model, 'model', model)  # within its precision
  levels, classes = module.levels, training.classes or ()
  _check_classes(module.classes, len(classes))
  columns = Columns(('inputs', 'labels') if module.classes else ('inputs',))

  def prepared(batch):
    """The batch with levels, delayed by a sample; and the levels to predict."""
    found = mu_law(_floats(zero_masked(batch['inputs'], batch['mask'])), levels)
    return {**batch, 'inputs': _delayed(found, levels)}, found

  def start(key, batch):
    return init(model, columns, key, prepared({
      'mask': jnp.ones(len(batch['inputs'])), **batch})[0])

  def objective(params, model_state, batch, key, train):
    batch, found = prepared(batch)
    logits, model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    weights = _weights(batch)
    value, means, outputs = score_tokens(logits.astype(jnp.float32), found, weights)
    bits = Mean(means['loss'].total / math.log(2), means['loss'].count)
    if not train:
      small = jnp.uint8 if levels <= 256 else jnp.int32
      outputs = {**outputs, 'levels': found.astype(small),
                 'lengths': _lengths(batch)}
    return value, (model_state, {**means, 'bits_per_sample': bits}, outputs)

  @functools.cache
  def fitted_to():
    rows = plots.spread(training.length, _FITTED)
    columns = training.read(rows)
    kept = np.ones(len(rows), bool) if 'corrupt' not in columns else (
      ~columns['corrupt'])
    return _sounds(np.asarray(mu_law(_floats(jnp.asarray(
      columns['inputs'][kept])), levels)), columns['lengths'][kept])

  def summarize(outputs):
    train, test = fitted_to(), _sounds(outputs['levels'], outputs['lengths'])
    if not train or not test:
      return {}
    return {
      'bits_of_linear_prediction': metrics.linear_prediction_bits(
        train, test, levels, ORDER),
      'bits_of_levels': metrics.unigram_bits(train, test, levels)}

  @partial(jax.jit, static_argnames=('count', 'temperature', 'top_k', 'top_p'))
  def generate(params, model_state, labels, key, *, count, **choice):
    def advance(cache, last):
      return model.apply(
        {'params': params, **model_state, **cache}, last[:, None],
        *(labels if module.classes else ()), decode=True, train=False,
        mutable=['cache'])

    return generated(advance, len(labels[0]), key, levels, count=count, **choice)

  def sounds(params, model_state, prompts, key, settings, seconds):
    for name in ('beams', 'stop'):
      if getattr(settings, name):
        raise UserError(f'--{name}: sounds are sampled, sample by sample, for a fixed '
                        'time; leave it out')
    labels = np.array([_class(prompt, classes, module.classes) for prompt in prompts])
    count = max(1, round((seconds or _SECONDS) * rate))
    found = np.asarray(generate(
      params, model_state, (labels,), key, count=count, **settings.choice))
    return [plots.Sound(each, rate) for each in np.asarray(
      from_mu_law(jnp.asarray(found), levels))]

  def samples(params, model_state, inputs, count):
    names = classes[:_SHOWN] if module.classes else ('',) * 4
    made = sounds(params, model_state, names, jax.random.PRNGKey(0),
                  decoding.Settings(), None)
    real = [plots.Sound(np.trim_zeros(_floats(jnp.asarray(each)), 'b'), rate)
            for each in np.asarray(inputs(plots.spread(count, 2)))]
    drawn = {f'generated {name}'.strip(): sound for name, sound in zip(
      names[:3] if module.classes else (1, 2, 3), made, strict=False)}
    return {
      'Sounds that the model makes': plots.Table(('class', 'sound'), [
        (name, sound) for name, sound in zip(names, made, strict=True)]),
      'Spectrograms': plots.spectrograms({
        **{f'recorded {index + 1}': sound for index, sound in enumerate(real)},
        **{str(name): sound for name, sound in drawn.items()}})}

  draw = partial(plots.language, example='sound', unit='sample')
  return Task(start, objective, columns.names, summarize=summarize,
              plots=draw, samples=samples, sounds=sounds)


def generated(advance, batch: int, key: jax.Array, levels: int, *, count: int, **choice
              ) -> jax.Array:
  """Samples sounds, one level after another.

  Args:
    advance: (cache: a dict of collections, levels `[batch]`) -> logits `[batch, 1,
      levels]`, the new cache. The cache is empty at first.
    batch: number of sounds.
    key: PRNG key; sample i is drawn with `fold_in(key, i)`.
    levels: number of levels; a sound begins after `levels // 2`, silence.
    count: number of samples.
    **choice: see `decoding.choose`.

  Returns:
    Levels, int32 `[batch, count]`.
  """
  first = jnp.full(batch, levels // 2)
  shapes = jax.eval_shape(lambda: advance({}, first)[1])

  def step(carried, index):
    last, cache = carried
    logits, cache = advance(cache, last)
    last = decoding.choose(jax.random.fold_in(key, index), logits[:, 0], **choice)
    return (last, cache), last

  empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  return lax.scan(step, (first, empty), jnp.arange(count))[1].T


def _delayed(values: jax.Array, levels: int) -> jax.Array:
  """The level before each sample, `[batch, samples]`; silence before the first."""
  return jnp.pad(values, ((0, 0), (1, 0)), constant_values=levels // 2)[:, :-1]


def _floats(samples: jax.Array) -> jax.Array:
  """Samples in [-1, 1]."""
  if not jnp.issubdtype(samples.dtype, jnp.integer):
    return samples.astype(jnp.float32)
  return samples.astype(jnp.float32) / (jnp.iinfo(samples.dtype).max + 1)


def _lengths(batch) -> jax.Array:
  lengths = batch.get('lengths')
  rows, size = batch['inputs'].shape[:2]
  return jnp.full(rows, size) if lengths is None else lengths


def _weights(batch) -> jax.Array:
  """What each sample counts, float32 `[batch, samples]`."""
  if 'weights' in batch:
    weights = batch['weights']
  else:
    weights = jnp.arange(batch['inputs'].shape[1]) < _lengths(batch)[:, None]
  return weights.astype(jnp.float32) * batch['mask'][:, None]


def _sounds(values: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
  """The levels of each sound, without padding and empty sounds."""
  return [each[:length].astype(np.int64) for each, length in zip(
    np.asarray(values), np.asarray(lengths), strict=True) if length]


def _check_classes(of_model: int, of_data: int) -> None:
  """Refuses a model that does not fit the classes of the data."""
  if of_model and not of_data:
    raise UserError("the model has classes, the data has none: set labels='text' or "
                    "labels='speaker' of data.Waveforms, or --config.model.classes=0")
  if of_model and of_model != of_data:
    raise UserError(f'the model has {of_model:,} classes, the data {of_data:,}: set '
                    f'--config.model.classes={of_data}')


def _class(prompt: str, classes, count: int) -> int:
  """The number of the class that a prompt names."""
  if not count:
    if prompt:
      raise UserError(f'--prompt={prompt!r}: the model is not conditioned on classes; '
                      'leave it out')
    return 0
  if prompt not in classes:
    raise UserError(f'--prompt={prompt!r}: must be a class{nearest(prompt, classes)}')
  return classes.index(prompt)
