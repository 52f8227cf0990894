"""The type of a task, and functions that tasks share."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses
from bigmodels.core.errors import UserError
from bigmodels.metrics import Mean


class Task(NamedTuple):
  """What is learned: how a model is called on a batch, and how its output is scored.

  `init` and `loss` are pure functions. The others are optional, and run on the host.

  Attributes:
    init: (key, batch) -> params, model_state.
    loss: (params, model_state, batch, key, train) -> loss, (model_state, metrics,
      outputs). The loss is a mean over what `metrics['loss'].count` counts, such as
      unmasked examples. `metrics` maps names to `metrics.Metric`s; 'loss' is a
      `metrics.Mean`. `outputs` maps names to arrays `[batch, ...]`. None if the
      learner has a loss of its own, see `Control`.
    inputs: columns of a batch that the model is called with.
    predictions: outputs that depend on the inputs alone, not on labels.
    check: (a `Split`) -> None; raises `UserError` for data that the task cannot learn
      from, and prints why a metric has no value.
    summarize: (outputs of a split, without masked examples) -> name -> number.
    plots: (outputs of a split, inputs: rows `[k]` -> arrays `[k, ...]`, classes) ->
      title -> figure.
    snapshot: (outputs of a split) -> name -> array, saved at each evaluation for the
      report. `plots` then takes `snapshots`, step -> snapshot.
    threshold: the decision between two classes; see `Threshold`. `plots` then takes
      `threshold`, a number or None.
    calibration: of probabilities, after training; see `Calibration`.
    generate: (params, model_state, prompts: list of texts, key, `decoding.Settings`)
      -> for each prompt its continuation, and the number of tokens in it.
    stream: (params, model_state, prompt, key, `decoding.Settings`) -> yields the text
      that `generate` would give, in pieces; None for a task whose texts do not continue
      their prompts.
    answers: (name -> outputs `[n, ...]` of `predictions`) -> name -> what to write for
      people in place of these: a list of `n` values, such as texts; or an array
      `[n, ...]`.
    test_time: test-time augmentation of an evaluation, whose logits are the mean over
      views: inputs `[batch, ...]` -> pairs of a weight and a view.
    confident: the probability above which the first view is the only one; see
      `classification`.
    samples: (params, model_state, inputs: rows `[k]` -> raw inputs `[k, ...]`, length
      of a split) -> title -> `plots.Table` or figure of what the model makes, for the
      report.
    sounds: (params, model_state, prompts: list of texts, key, `decoding.Settings`,
      seconds or None) -> for each prompt a `plots.Sound`, of at most so many seconds.
    image_to_image: (params, model_state, image uint8 `[height, width, 1 or 3]`, of any
      size) -> an image, which `--mode=predict` writes to a file: of as many channels;
      or `[height, width]`, a mask of class indices.
    channels: of the images that `image_to_image` takes; None for 1 and 3.
    findings: how what is found in images is drawn and written; see `Findings`.
  """

  init: Callable
  loss: Callable | None
  inputs: tuple[str, ...] = ('inputs',)
  predictions: tuple[str, ...] = ()
  check: Callable[['Split'], None] | None = None
  summarize: Callable[..., dict[str, float]] | None = None
  plots: Callable[..., dict[str, Any]] | None = None
  snapshot: Callable[..., dict[str, np.ndarray]] | None = None
  threshold: 'Threshold | None' = None
  generate: Callable[..., list[tuple[str, int]]] | None = None
  stream: Callable[..., Iterator[str]] | None = None
  answers: Callable[..., dict[str, list]] | None = None
  test_time: Callable[..., Any] | None = None
  confident: float = 1.0
  samples: Callable[..., dict[str, Any]] | None = None
  sounds: Callable[..., list['plots.Sound']] | None = None
  image_to_image: Callable[..., np.ndarray] | None = None
  channels: int | None = None
  calibration: 'Calibration | None' = None
  findings: 'Findings | None' = None


class Findings(NamedTuple):
  """How `--mode=predict` shows what is found in images, to a folder.

  Attributes:
    threshold: minimum score of what is drawn.
    draw: (threshold, image uint8 `[height, width, 1 or 3]`, name -> output of
      `predictions` for it, `[...]`) -> the image with what was found, uint8 `[height,
      width, 3]`.
    document: (names of images, their (height, width), name -> outputs `[n, ...]`) ->
      JSON of all images.
    file: name of the file of that JSON.
    line: (threshold, name -> outputs `[n, ...]`) -> a line on how much was found, and
      drawn.
  """

  threshold: float
  draw: Callable[[float, np.ndarray, Any], np.ndarray]
  document: Callable[..., Any]
  file: str
  line: Callable[..., str]


class Threshold(NamedTuple):
  """The decision between two classes, by a score such as a probability of the second.

  Attributes:
    by: the metric that the threshold is chosen by on a validation split, after
      training; or the threshold itself.
    choose: (outputs of that split) -> the threshold, and the value of the metric there;
      None if it is undefined.
    decide: (outputs, threshold) -> predictions `[n]`.
    summarize: (outputs of a split, threshold) -> name -> number.
    labelled: whether `choose` reads labels. If not, a threshold may be chosen on rows
      of training, in a run without a validation split.
    otherwise: what is predicted without a threshold, to print.
  """

  by: str | float
  choose: Callable[..., tuple[float, float] | None]
  decide: Callable[..., np.ndarray]
  summarize: Callable[..., dict[str, float]]
  labelled: bool = True
  otherwise: str = 'the more likely class is predicted'


class Calibration(NamedTuple):
  """The calibration of probabilities by one number, the temperature.

  Attributes:
    fit: (outputs of a validation split) -> the temperature; None if it is undefined.
    apply: (outputs, temperature) -> outputs, with these probabilities.
  """

  fit: Callable[..., float | None]
  apply: Callable[..., dict[str, np.ndarray]]


class Split(NamedTuple):
  """A split, as a task may check it before training.

  Attributes:
    name: name of the split, such as 'train'.
    length: number of examples.
    classes: the classes of the labels, or None.
    named: whether `classes` are names; otherwise they are numbers.
    labels: `[length, ...]`; None if there are none, or they are not in memory.
    outputs: shapes of the outputs of an evaluation; empty for 'train'.
    monitor: the metric that selects the best checkpoint, such as 'test/loss', or None.
    say: prints a line.
    weights: the column `weights` `[length, ...]`; None as for labels.
  """

  name: str
  length: int
  classes: tuple[str, ...] | None
  named: bool
  labels: np.ndarray | None
  outputs: dict[str, jax.ShapeDtypeStruct]
  monitor: str | None
  say: Callable[[str], None]
  weights: np.ndarray | None = None


class Columns(NamedTuple):
  """The columns of a batch that a model is called with.

  Attributes:
    arguments: passed in this order.
    keywords: passed by name, if the batch has them.
  """

  arguments: tuple[str, ...] = ('inputs',)
  keywords: tuple[str, ...] = ()

  @property
  def names(self) -> tuple[str, ...]:
    return (*self.arguments, *self.keywords)

  def of(self, batch) -> tuple[list[jax.Array], dict[str, jax.Array]]:
    """The arguments and the keywords, from a batch: column -> `[batch, ...]`.

    Raises:
      ValueError: for a batch without one of the arguments.
    """
    missing = [name for name in self.arguments if name not in batch]
    if missing:
      raise ValueError(f'the task needs the column {missing[0]!r}, the data has '
                       f'{", ".join(batch)}')
    return [batch[name] for name in self.arguments], {
      name: batch[name] for name in self.keywords if name in batch}


def init(model, columns: Columns, key: jax.Array, batch) -> tuple[Any, Any]:
  """Initializes the params and the other variable collections of a Linen module.

  Args:
    model: the module.
    columns: the columns that it is called with.
    key: PRNG key.
    batch: column -> `[batch, ...]`.

  Raises:
    ValueError: if the module cannot be called with these columns.
  """
  arguments, keywords = _checked(model, columns, batch)
  variables = dict(model.init(key, *arguments, **keywords, train=False))
  return variables.pop('params'), variables


def apply(model, columns: Columns, params, model_state, batch, *, key: jax.Array,
          train: bool):
  """The module's output for a batch, and the updated collections.

  Masked examples are replaced by zeros, so that their values, even NaN, affect neither
  the loss nor its gradient.

  Args:
    model: a Linen module.
    columns: the columns that it is called with.
    params, model_state: its variables.
    batch: column -> `[batch, ...]`, with `mask` `[batch]`.
    key: PRNG key for dropout.
    train: whether this is a training step.

  Raises:
    ValueError: if the module cannot be called with these columns.
  """
  arguments, keywords = _checked(model, columns, batch)
  arguments = [zero_masked(x, batch['mask']) for x in arguments]
  variables = {'params': params, **model_state}
  call = partial(model.apply, variables, *arguments, **keywords, train=train)
  if not train or not model_state:
    return call(rngs={'dropout': key} if train else None), model_state
  output, updated = call(rngs={'dropout': key}, mutable=list(model_state))
  return output, {**model_state, **updated}


def _checked(model, columns: Columns, batch) -> tuple[list, dict]:
  """The arguments and keywords of a module's call, which must accept them."""
  arguments, keywords = columns.of(batch)
  module = getattr(model, 'model', model)  # within its precision
  try:
    inspect.signature(type(module).__call__).bind(
      module, *arguments, **keywords, train=False)
  except TypeError as error:
    given = [name for name in columns.names if name in batch]
    raise ValueError(f'{type(module).__name__} is called with {", ".join(given)}: '
                     f'{error}') from None
  return arguments, keywords


def encode(tokenizer, flag: str, text: str) -> np.ndarray:
  """The tokens of a text, int32 `[n]`.

  Args:
    tokenizer: tokenizer of the run.
    flag: the flag that gave the text, for the message.
    text: the text to encode.

  Raises:
    UserError: if the tokenizer refuses the text.
  """
  try:
    return tokenizer.encode(text)
  except UserError as error:
    raise UserError(f'{flag}: {error}') from None


def labels_of(batch) -> jax.Array:
  """The labels `[batch, ...]`, zero where masked.

  Raises:
    ValueError: for a batch without labels.
  """
  if 'labels' not in batch:
    raise ValueError("the task needs the column 'labels', the data has "
                     f'{", ".join(batch)}')
  return zero_masked(batch['labels'], batch['mask'])


def zero_masked(values: jax.Array, mask: jax.Array) -> jax.Array:
  """`[batch, ...]` with zeros where the mask `[batch]` is 0."""
  kept = (mask > 0).reshape(-1, *[1] * (values.ndim - 1))
  return jnp.where(kept, values, jnp.zeros_like(values))


def example_weights(batch, columns: Columns) -> jax.Array:
  """The weight of each example, float32 `[batch]`: 0 where it is masked.

  Args:
    batch: column -> `[batch, ...]`, with `mask` `[batch]`; the weights are its column
      `weights` `[batch]`, or 1.
    columns: the columns of the model; `weights` among them are not weights of examples.

  Raises:
    ValueError: for weights of another shape.
  """
  mask = batch['mask']
  if 'weights' not in batch or 'weights' in columns.names:
    return mask
  weights = batch['weights']
  if weights.shape != mask.shape:
    raise ValueError(f"the column 'weights' must be a number for each example, "
                     f'{mask.shape}, got {weights.shape}')
  return zero_masked(weights.astype(jnp.float32), mask)


def check_weights(split: Split) -> None:
  """Refuses weights of examples that cannot be used, and prints their range.

  Raises:
    UserError: for a negative weight, or none above 0.
  """
  weights = split.weights
  if weights is None or weights.ndim != 1 or not len(weights):
    return
  if (weights < 0).any():
    row = int(np.argmax(weights < 0))
    raise UserError(f'{split.name}: weights[{row}] is {weights[row]}: weights of '
                    'examples must be >= 0')
  if not (weights > 0).any():
    raise UserError(f'{split.name}: all {len(weights):,} weights of examples are 0')
  split.say(f'{split.name}: examples are weighted by the column weights, from '
            f'{weights.min():g} to {weights.max():g}')


def masked_mean(values: jax.Array, mask: jax.Array) -> tuple[jax.Array, Mean]:
  """Mean of `[batch]` values weighted by the mask, and the sums behind it.

  Args:
    values: a number for each example.
    mask: `[batch]`, 0 where an example does not count; or weights of the examples.

  Raises:
    ValueError: for values of another shape, which would be broadcast.
  """
  if values.shape != mask.shape:
    raise ValueError(f'a loss must be one number for each example, {mask.shape}, got '
                     f'{values.shape}')
  total = jnp.sum(jnp.where(mask > 0, values * mask, 0.0))
  count = jnp.sum(mask)
  return total / jnp.where(count > 0, count, 1.0), Mean(total, count)


def token_weights(batch) -> jax.Array:
  """The weight of each label, float32 `[batch, length]`: 0 where it is ignored."""
  labels = batch['labels']
  weights = batch['weights'] if 'weights' in batch else jnp.ones(labels.shape)
  return weights.astype(jnp.float32) * batch['mask'][:, None]


def score_tokens(logits: jax.Array, labels: jax.Array, weights: jax.Array, *,
                 smoothing: float = 0.0
                 ) -> tuple[jax.Array, dict[str, Mean], dict[str, jax.Array]]:
  """The cross-entropy of tokens, a weighted mean.

  Args:
    logits: `[batch, length, vocabulary]`.
    labels: int `[batch, length]`.
    weights: float32 `[batch, length]`: 0 where a label is ignored.
    smoothing: label smoothing, see `losses.cross_entropy`.

  Returns:
    The loss; the metrics `loss` and `accuracy`; and the outputs `nats` and `tokens`,
    sums over each example, `[batch]`.
  """
  values = losses.cross_entropy(logits, labels, smoothing=smoothing)
  right = (jnp.argmax(logits, -1) == labels).astype(jnp.float32)
  count = jnp.sum(weights)

  def total(values, axis=None):
    return jnp.sum(jnp.where(weights > 0, values * weights, 0.0), axis)

  means = {'loss': Mean(total(values), count), 'accuracy': Mean(total(right), count)}
  return means['loss'].total / jnp.maximum(count, 1.0), means, {
    'nats': total(values, 1), 'tokens': jnp.sum(weights, 1)}
