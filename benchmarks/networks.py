"""The networks that are compared: batches, random examples, and what is timed."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

CLASSES = 10
VOCABULARY = {'gpt': 65, 'lstm': 14_000, 'bert': 4000, 'translation': 4000}
LENGTH = {'gpt': 64, 'lstm': 48, 'bert': 64, 'translation': 32}
PAD, BEGIN, END, FIRST = 0, 1, 2, 3  # tokens; the others are from FIRST on
LATENT = 100  # length of the latents of `dcgan`
SMOOTHING = 0.1  # of the labels of `translation`

Columns = dict[str, np.ndarray]


class Network(NamedTuple):
  """A network that is compared.

  Attributes:
    batch: examples of a train step.
    make: (generator of random numbers, count) -> columns of examples, as in `Batches`.
    timed: names of what is timed: 'train', 'infer_N' and, of translations, 'decode_N'.
    learning_rate: of Adam.
    examples: number of examples that are trained on.
    other: sides that it is compared with, besides PyTorch.
  """

  batch: int
  make: Callable[[np.random.Generator, int], Columns]
  timed: tuple[str, ...] = ('train', 'infer_1', 'infer_256')
  learning_rate: float = 1e-3
  examples: int = 4096
  other: tuple[str, ...] = ()


class Side(NamedTuple):
  """A network on one side.

  Attributes:
    parameters: number of parameters that are trained.
    work: name -> function (times) -> None, which returns when all is done.
  """

  parameters: int
  work: dict[str, Callable[[int], None]]


def examples(name: str, count: int) -> Columns:
  """Random examples of a network."""
  return NETWORKS[name].make(np.random.default_rng(0), count)


def count_of(timed: str) -> int:
  """The examples of what is timed: 256 for 'infer_256'."""
  return int(timed.rpartition('_')[2])


# --- examples -------------------------------------------------------------------


def _images(rng, count, *, shape):
  return {'inputs': rng.normal(size=(count, *shape)).astype(np.float32),
          'labels': rng.integers(0, CLASSES, count, np.int32)}


def _centred_images(rng, count, *, shape):
  """Images from -1 to 1."""
  return {'inputs': rng.uniform(-1, 1, (count, *shape)).astype(np.float32),
          'labels': rng.integers(0, CLASSES, count, np.int32)}


def _bytes(rng, count, *, shape):
  return {'inputs': rng.integers(0, 256, (count, *shape), np.uint8),
          'labels': rng.integers(0, CLASSES, count, np.int32)}


def _characters(rng, count):
  text = rng.integers(0, VOCABULARY['gpt'], (count, LENGTH['gpt'] + 1), np.int32)
  return {'inputs': text[:, :-1], 'labels': text[:, 1:]}


def _sentences(rng, count, *, name):
  """Two classes of texts, which are as long as those of SST-2."""
  tokens, segments = _texts(rng, count, name, mean=19, deviation=9)
  return {'inputs': tokens, 'segments': segments,
          'labels': rng.integers(0, 2, count, np.int32)}


def _pairs(rng, count):
  """Pairs of texts, which are as long as those of Multi30k."""
  made = partial(_texts, rng, count, 'translation', mean=15, deviation=5)
  (source, segments), (target, weights) = made(), made()
  ends = weights.sum(1) - 1
  target[np.arange(count), ends] = END
  source[np.arange(count), segments.sum(1) - 1] = END
  begun = np.concatenate([np.full((count, 1), BEGIN, np.int32), target[:, :-1]], 1)
  return {'inputs': source, 'segments': segments,
          'decoder_inputs': np.where(weights, begun, PAD), 'labels': target,
          'weights': weights.astype(np.uint8)}


def _texts(rng, count, name, *, mean, deviation):
  """Tokens and segments, int32 `[count, length]`."""
  length = LENGTH[name]
  lengths = np.clip(rng.normal(mean, deviation, count).astype(int), 4, length)
  segments = (np.arange(length) < lengths[:, None]).astype(np.int32)
  tokens = rng.integers(FIRST, VOCABULARY[name], (count, length), np.int32)
  return tokens * segments, segments


def _of(made, *shape, batch, **fields):
  return Network(batch, partial(made, shape=shape), **fields)


NETWORKS = {
  'mlp': _of(_images, 28, 28, 1, batch=128),
  'mnist_cnn': _of(_images, 28, 28, 1, batch=64),
  'cifar_cnn': _of(_images, 32, 32, 3, batch=64, examples=256, other=('keras',)),
  'resnet18': _of(_images, 224, 224, 3, batch=32, examples=128),
  'vit_ti': _of(_images, 224, 224, 3, batch=32, examples=128),
  'gpt': Network(12, _characters, other=('keras',)),
  'lstm': Network(32, partial(_sentences, name='lstm')),
  'bert': Network(32, partial(_sentences, name='bert')),
  'translation': Network(64, _pairs, timed=('train', 'decode_1', 'decode_64')),
  'dcgan': _of(_centred_images, 28, 28, 1, batch=64, learning_rate=2e-4),
  'cifar_input': _of(_bytes, 32, 32, 3, batch=64, examples=50_000, timed=('train',)),
}
