"""Generation by a finished run: of texts after prompts, sounds, images of classes."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.plots import Sound
from bigmodels.tasks.decoding import Settings, TooLong
from bigmodels.training import inference
from bigmodels.training.build import Built

_IMAGES = 500  # generated at a time
_LONGEST = 3600  # seconds of a generated sound


def texts(writer: Callable[..., list[tuple[str, int]]], prompts: Sequence[str],
          seed: int, settings: Mapping[str, Any]) -> list[str]:
  """The texts that follow prompts, those of a prompt one after the other.

  Args:
    writer: see `Run.writer`.
    prompts: texts.
    seed: of the draws.
    settings: of `decoding.Settings`.

  Raises:
    UserError: for prompts, a seed or settings that are not legal.
  """
  try:
    found = _each_sample(writer, prompts, seed, settings)
  except TooLong as error:
    raise UserError(f'tokens={settings.get("tokens", Settings.tokens)}: {error}'
                    ) from None
  return [text for text, _ in found]


def sounds(maker: Callable[..., list[Sound]], prompts: Sequence[str],
           seconds: float | None, seed: int, settings: Mapping[str, Any]
           ) -> list[Sound]:
  """The sounds of prompts, those of a prompt one after the other.

  Args:
    maker: (prompts, key, `decoding.Settings`, seconds) -> sounds.
    prompts: texts.
    seconds: maximum length; None for the task's own.
    seed: of the draws.
    settings: of `decoding.Settings`.

  Raises:
    UserError: for prompts, a seed, seconds or settings that are not legal.
  """
  check_seconds(seconds, 'seconds')
  return _each_sample(lambda *given: maker(*given, seconds), prompts, seed, settings)


def check_seconds(seconds: float | None, name: str) -> None:
  """Refuses a length that is not positive.

  Raises:
    UserError: naming the setting.
  """
  if seconds is not None and not 0 < seconds <= _LONGEST:
    raise UserError(f'{name}: must be > 0 and <= {_LONGEST:,}, got {seconds:g}')


def check_image(image: np.ndarray, channels: int | None = None) -> None:
  """Refuses what is no image uint8 `[height, width, channels]`.

  Args:
    image: of any shape.
    channels: how many it must have; None for 1 or 3.

  Raises:
    UserError: with its dtype and shape.
  """
  if image.dtype != np.uint8 or image.ndim != 3 or not image.size or (
    image.shape[2] not in ((channels,) if channels else (1, 3))):
    raise UserError(f'image: must be uint8 [height, width, {channels or "1 or 3"}], '
                    f'got {image.dtype} {[*image.shape]}')


def _each_sample(make: Callable[..., list], prompts: Sequence[str], seed: int,
                 settings: Mapping[str, Any]) -> list:
  """What is made of prompts, the samples of a prompt one after the other.

  Args:
    make: (prompts, key, `decoding.Settings`) -> what it makes of each prompt.
    prompts, seed, settings: see `texts`.

  Raises:
    UserError: see `texts`.
  """
  given = [] if isinstance(prompts, str | None) else [*prompts]
  if not given or not all(isinstance(text, str) for text in given):
    raise UserError(f'prompts: must be a list of texts, got {prompts!r}')
  if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
    raise UserError(f'seed: must be in [0, {2**32 - 1}], got {seed!r}')
  legal = [field.name for field in dataclasses.fields(Settings)]
  for name in settings:
    if name not in legal:
      raise UserError(f'generate: no setting {name!r}{nearest(name, legal)}')
  try:
    chosen = Settings(**settings)
  except (TypeError, ValueError) as error:
    raise UserError(f'generate: {error}') from None
  key = jax.random.PRNGKey(seed)
  found = [make(given, jax.random.fold_in(key, sample), chosen)
           for sample in range(chosen.samples)]
  return [each for of_prompt in zip(*found, strict=True) for each in of_prompt]


def image_program(built: Built) -> Callable:
  """(state, labels, number of the first) -> images `[n, height, width, channels]`.

  Args:
    built: of a task that generates images.
  """
  like = inference.example(built)['inputs']

  def generate(state, labels, first):
    images = jnp.zeros((len(labels), *like.shape[1:]), like.dtype)
    batch = inference.batch(built, {'inputs': images, 'labels': labels}, first)
    return built.learner.evaluate(state, batch)[1]['generated']

  return jax.jit(generate)


def images(program: Callable[..., Any], labels: np.ndarray, first: int, classes: int
           ) -> np.ndarray:
  """Images of classes, `[n, height, width, channels]`.

  Args:
    program: (labels, number of the first) -> images.
    labels: int `[n]`.
    first: number of the first.
    classes: how many classes there are.

  Raises:
    UserError: for labels that are no classes, or none.
  """
  labels = np.asarray(labels)
  if labels.ndim != 1 or (labels.size and labels.dtype.kind not in 'iu'):
    raise UserError(f'labels: must be [n] integers, got {[*labels.shape]} '
                    f'{labels.dtype}')
  if not len(labels):
    raise UserError('labels: must have >= 1 row, got 0')
  wrong = (labels < 0) | (labels >= classes)
  if wrong.any():
    raise UserError(f'labels: must be 0 to {classes - 1} for {classes} classes, got '
                    f'{labels[wrong.argmax()]}')
  columns = {'labels': labels.astype(np.int32)}
  found = [program(batch['labels'], first + start)
           for batch, start in inference.batches(columns, min(_IMAGES, len(labels)))]
  return np.concatenate(jax.device_get(found))[: len(labels)]
