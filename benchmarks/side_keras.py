"""Two networks of `networks.py` in Keras on JAX, as a user would write them.

A step is one of a whole `fit` on arrays in memory, and inference is `predict_on_batch`.
Both are compiled, as is the default.
"""

import functools
import os

os.environ['KERAS_BACKEND'] = 'jax'

import keras
import numpy as np
from keras import layers
from networks import (
  CLASSES,
  LENGTH,
  NETWORKS,
  VOCABULARY,
  Side,
  count_of,
  examples,
)


def side(name: str, arithmetic: str) -> Side:
  """Keras's side of a network.

  Args:
    name: of the network.
    arithmetic: 'float32'; any other is the policy 'mixed_bfloat16'.
  """
  keras.utils.set_random_seed(0)
  keras.config.set_dtype_policy(
    'float32' if arithmetic == 'float32' else 'mixed_bfloat16')
  made, model = NETWORKS[name], MODELS[name]()
  model.compile(
    optimizer=keras.optimizers.Adam(made.learning_rate),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
  columns = examples(name, made.batch)

  @functools.lru_cache(maxsize=2)
  def epoch(steps):
    return [np.concatenate([columns[key]] * steps) for key in ('inputs', 'labels')]

  def train(times):
    model.fit(*epoch(times), batch_size=made.batch, verbose=0)

  def infer(inputs, times):
    for _ in range(times):
      model.predict_on_batch(inputs)

  return Side(model.count_params(), {'train': train} | {
    timed: functools.partial(infer, examples(name, count_of(timed))['inputs'])
    for timed in made.timed[1:]})


def cifar_cnn() -> keras.Model:
  return keras.Sequential([
    keras.Input((32, 32, 3)),
    layers.Conv2D(64, 3, padding='same', activation='relu'), layers.MaxPooling2D(),
    layers.Conv2D(128, 3, padding='same', activation='relu'), layers.MaxPooling2D(),
    layers.Flatten(), layers.Dense(1024, activation='relu'), layers.Dropout(0.5),
    layers.Dense(CLASSES, dtype='float32')])


class Positions(layers.Layer):
  """Adds a vector for each position, which is learned."""

  def build(self, shape):
    self.vectors = self.add_weight(shape=shape[1:], initializer='random_normal')

  def call(self, x):
    return x + self.vectors


def gpt() -> keras.Model:
  width, norm = 128, functools.partial(
    layers.LayerNormalization, epsilon=1e-5, center=False)
  tokens = keras.Input((LENGTH['gpt'],), dtype='int32')
  embedding = layers.ReversibleEmbedding(VOCABULARY['gpt'], width)
  x = Positions()(embedding(tokens))
  for _ in range(4):
    h = norm()(x)
    x = x + layers.MultiHeadAttention(4, width // 4, use_bias=False)(
      h, h, use_causal_mask=True)
    h = layers.Dense(4 * width, activation='gelu', use_bias=False)(norm()(x))
    x = x + layers.Dense(width, use_bias=False)(h)
  return keras.Model(tokens, embedding(norm()(x), reverse=True))


MODELS = {made.__name__: made for made in (cifar_cnn, gpt)}
