"""Tacotron 2: mel spectrograms of texts.

Shen et al., *Natural TTS synthesis by conditioning WaveNet on mel spectrogram
predictions*, 2018.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from bigmodels.layers.convolution import Conv, conv
from bigmodels.layers.dense import Dense, Embedding, matmul
from bigmodels.layers.masks import zero_padding
from bigmodels.layers.recurrent import Lstm
from bigmodels.models.validation import check_rates, check_sizes


class Spoken(NamedTuple):
  """What a decoder makes of texts, in steps of `frames_per_step` frames.

  Attributes:
    before: frames before the postnet, `[batch, frames, bins]`.
    after: frames after it, `[batch, frames, bins]`.
    stop: logits that a step is the last one, `[batch, steps]`.
    alignment: weights of the characters in each step, `[batch, steps, characters]`.
    lengths: frames until the end, int32 `[batch]`.
    ended: whether the decoder predicted the end, bool `[batch]`.
  """

  before: jax.Array
  after: jax.Array
  stop: jax.Array
  alignment: jax.Array
  lengths: jax.Array
  ended: jax.Array


class _State(NamedTuple):
  """The state of the decoder; the last three are of attention."""

  attention: tuple[jax.Array, jax.Array]
  decoder: tuple[jax.Array, jax.Array]
  context: jax.Array
  weights: jax.Array
  total: jax.Array


class Tacotron(nn.Module):
  """Encoder, location-sensitive attention, a recurrent decoder and a postnet.

  The defaults are the paper's. The prenet drops its values in an evaluation, too,
  without which attention fails. The location is read from the last weights as well as
  from their sum.

  Attributes:
    vocabulary: number of tokens, of which 0 is padding.
    bins: number of mel bins of a frame.
    width: width of the encoder; an even number.
    attention: width of the attention.
    filters: filters over the location of attention.
    filter_size: characters that a filter reads, an odd number.
    prenet: width of the two layers of the prenet.
    decoder: width of the two recurrent layers of the decoder.
    postnet: width of the postnet.
    frames_per_step: frames that a step of the decoder gives; more than 1 is faster, and
      easier to align (Wang et al., *Tacotron*, 2017).
    dropout: rate of dropout of the convolutions, in training.
    prenet_dropout: rate of dropout of the prenet, always.
    zoneout: rate at which recurrent units keep their last value in training (Krueger et
      al., *Zoneout*, 2017).
  """

  vocabulary: int
  bins: int = 80
  width: int = 512
  attention: int = 128
  filters: int = 32
  filter_size: int = 31
  prenet: int = 256
  decoder: int = 1024
  postnet: int = 512
  frames_per_step: int = 1
  dropout: float = 0.5
  prenet_dropout: float = 0.5
  zoneout: float = 0.1

  def __post_init__(self):
    check_sizes(self, 'vocabulary', 'bins', 'width', 'attention', 'filters',
                'filter_size', 'prenet', 'decoder', 'postnet', 'frames_per_step')
    check_rates(self, 'dropout', 'prenet_dropout', 'zoneout')
    for name, odd in (('width', 0), ('filter_size', 1)):
      if getattr(self, name) % 2 != odd:
        raise ValueError(f'{name}: must be {"odd" if odd else "even"}, got '
                         f'{getattr(self, name)}')
    super().__post_init__()

  def setup(self):
    self.embedding = Embedding(self.vocabulary, self.width)
    self.encoder = _Convolutions((self.width,) * 3, self.dropout, nn.relu)
    self.forward = Lstm(self.width // 2)
    self.backward = Lstm(self.width // 2, reverse=True)
    self.prenet_layers = [Dense(self.prenet) for _ in range(2)]
    self.given = Dense(4 * self.decoder, use_bias=False)
    self.memory = Dense(self.attention, use_bias=False)
    self.cell = _Cell(self.attention, self.filters, self.filter_size, self.decoder)
    self.frame = Dense(self.frames_per_step * self.bins)
    self.stop = Dense(1)
    self.postnet_layers = _Convolutions(
      (*(self.postnet,) * 4, self.bins), self.dropout, jnp.tanh, linear=True)

  def __call__(self, tokens: jax.Array, frames: jax.Array, *,
               lengths: jax.Array | None = None, rows: jax.Array | None = None,
               train: bool) -> Spoken:
    """Predicts each step from the true frames before it.

    Args:
      tokens: int `[batch, characters]`, 0 for padding.
      frames: `[batch, frames, bins]`.
      lengths: frames that are not padding, int `[batch]`; None for all.
      rows: numbers of the examples, int `[batch]`, of which each has its own dropout of
        the prenet; None to draw it for the batch. The stream of random numbers is
        'dropout'.
      train: whether this is a training step.

    Returns:
      With as many frames; `ended` is true. What is padding is 0.
    """
    batch, size = frames.shape[:2]
    each = self.frames_per_step
    steps = -(-size // each)
    lengths = jnp.full(batch, size) if lengths is None else lengths
    frames = zero_padding(frames, lengths)
    padded = jnp.pad(frames, ((0, 0), (each, each * steps - size), (0, 0)))
    before = padded[:, each - 1 : -1 : each][:, :steps]  # the last of each step before
    memory, real = self._encode(tokens, train)
    given = self.given(self._prenet(before, self._kept(batch, steps, rows)))
    keys = memory, self.memory(memory), real
    weights = self.cell.weights(memory.shape[2])
    kept = self._zoneout(batch, steps) if train and self.zoneout else None

    def step(state, at):
      state = _step(weights, keys, state, at[0], self.zoneout, at[1])
      return state, (_read(state), state.weights)

    _, (read, alignment) = lax.scan(
      step, self._start(memory), jax.tree.map(
        lambda x: jnp.swapaxes(x, 0, 1), (given, kept)))
    read, alignment = (jnp.swapaxes(x, 0, 1) for x in (read, alignment))
    made = zero_padding(self.frame(read.astype(memory.dtype)).reshape(
      batch, steps * each, self.bins)[:, :size], lengths)
    return Spoken(
      made, self._after(made, lengths, train),
      self.stop(read.astype(memory.dtype))[..., 0],
      zero_padding(alignment, -(-lengths // each)), lengths,
      jnp.ones(batch, bool))

  def speak(self, tokens: jax.Array, *, steps: int, rows: jax.Array) -> Spoken:
    """Makes frames until the decoder ends, without true ones.

    Args:
      tokens: int `[batch, characters]`, 0 for padding.
      steps: maximum number of steps.
      rows: see `__call__`.

    Returns:
      `steps` steps; what is beyond the end of an example is 0.
    """
    batch, each = len(tokens), self.frames_per_step
    memory, real = self._encode(tokens, False)
    keys = memory, self.memory(memory), real
    weights, kept = self.cell.weights(memory.shape[2]), self._kept(batch, steps, rows)

    def going(carried):
      index, _, _, lengths, _ = carried
      return (index < steps) & jnp.any(lengths == 0)

    def step(carried):
      index, state, last, lengths, found = carried
      given = self.given(self._prenet(
        last[:, None], [lax.dynamic_slice_in_dim(k, index, 1, 1) for k in kept]))[:, 0]
      state = _step(weights, keys, state, given, self.zoneout, None)
      read = _read(state).astype(memory.dtype)
      frames, stop = self.frame(read).reshape(batch, each, self.bins), self.stop(read)
      now = (frames, stop[:, 0], state.weights)
      found = tuple(lax.dynamic_update_slice_in_dim(
        all_, one[:, None].astype(all_.dtype), index, 1)
        for all_, one in zip(found, now, strict=True))
      ends = (stop[:, 0] > 0) & (lengths == 0)
      lengths = jnp.where(ends, (index + 1) * each, lengths)
      return index + 1, state, frames[:, -1], lengths, found

    found = (jnp.zeros((batch, steps, each, self.bins)), jnp.zeros((batch, steps)),
             jnp.zeros((batch, steps, tokens.shape[1])))
    last = jnp.zeros((batch, self.bins), memory.dtype)
    _, _, _, lengths, (frames, stop, alignment) = lax.while_loop(
      going, step, (jnp.int32(0), self._start(memory), last,
                    jnp.zeros(batch, jnp.int32), found))
    ended = lengths > 0
    lengths = jnp.where(ended, lengths, steps * each)
    made = zero_padding(frames.reshape(batch, -1, self.bins), lengths)
    return Spoken(made, self._after(made.astype(memory.dtype), lengths, False), stop,
                  zero_padding(alignment, lengths // each), lengths, ended)

  def _encode(self, tokens, train):
    """The memory `[batch, characters, width]`, and what of it is not padding."""
    real = tokens != 0
    lengths = real.sum(1)
    x = self.encoder(zero_padding(self.embedding(tokens), lengths), lengths, train)
    segments = real.astype(jnp.int32)
    return jnp.concatenate([layer(x, segments=segments, train=train)[0]
                            for layer in (self.forward, self.backward)], -1), real

  def _kept(self, batch, steps, rows):
    """Which values each layer of the prenet keeps, bool `[batch, steps, width]`."""
    key = self.make_rng('dropout')
    keys = [jax.random.fold_in(key, layer) for layer in range(2)]

    def draw(key, shape):
      return jax.random.bernoulli(key, 1 - self.prenet_dropout, shape)

    shape = (steps, self.prenet)
    if rows is None:
      return [draw(key, (batch, *shape)) for key in keys]
    return [jax.vmap(lambda row, key=key: draw(jax.random.fold_in(key, row), shape))(
      rows) for key in keys]

  def _prenet(self, x, kept):
    for layer, keep in zip(self.prenet_layers, kept, strict=True):
      x = jnp.where(keep, nn.relu(layer(x)) / (1 - self.prenet_dropout), 0)
    return x

  def _zoneout(self, batch, steps):
    """Which units of h and c of both layers keep their value, for each step."""
    return jax.random.bernoulli(self.make_rng('dropout'), self.zoneout, (
      batch, steps, 4, self.decoder))

  def _start(self, memory):
    batch, size, width = memory.shape
    zeros = jnp.zeros((batch, self.decoder))
    return _State((zeros, zeros), (zeros, zeros), jnp.zeros((batch, width)),
                  jnp.zeros((batch, size)), jnp.zeros((batch, size)))

  def _after(self, made, lengths, train):
    """Frames with what the postnet adds."""
    return made + zero_padding(self.postnet_layers(made, lengths, train), lengths)


# --- parts ----------------------------------------------------------------------


class _Convolutions(nn.Module):
  """Convolutions over five steps, batch normalization, an activation, dropout.

  Attributes:
    widths: channels of each layer.
    dropout: rate of dropout, in training.
    activation: of each layer.
    linear: whether the last layer has no activation.
  """

  widths: tuple[int, ...]
  dropout: float
  activation: Callable
  linear: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, lengths: jax.Array, train: bool) -> jax.Array:
    """`[batch, length, in]` -> `[batch, length, widths[-1]]`, 0 for padding."""
    real = (jnp.arange(x.shape[1]) < lengths[:, None])[..., None]
    for index, width in enumerate(self.widths):
      x = Conv(width, (1, 5), use_bias=False, name=f'conv_{index}')(x[:, None])[:, 0]
      x = nn.BatchNorm(use_running_average=not train, momentum=0.9,
                       name=f'norm_{index}')(x, mask=jnp.broadcast_to(real, x.shape))
      if not self.linear or index + 1 < len(self.widths):
        x = self.activation(x)
      x = zero_padding(nn.Dropout(self.dropout, deterministic=not train)(x), lengths)
    return x


class _Cell(nn.Module):
  """The parameters of a step of the decoder, which is run inside a loop."""

  attention: int
  filters: int
  filter_size: int
  decoder: int

  @nn.compact
  def weights(self, width: int) -> dict[str, jax.Array]:
    """Name -> parameter; `width` is that of the memory."""
    normal, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros

    def forget_nothing(key, shape, dtype=jnp.float32):
      return jnp.zeros(shape, dtype).at[shape[0] // 4 : shape[0] // 2].set(1)

    one, four = self.decoder, 4 * self.decoder
    shapes = {
      'attention_kernel': (normal, (width + one, four)),
      'attention_bias': (forget_nothing, (four,)),
      'query': (normal, (one, self.attention)),
      'location_filters': (normal, (1, self.filter_size, 2, self.filters)),
      'location': (normal, (self.filters, self.attention)),
      'energy_bias': (zeros, (self.attention,)),
      'energy': (normal, (self.attention, 1)),
      'decoder_kernel': (normal, (one + width + one, four)),
      'decoder_bias': (forget_nothing, (four,))}
    return {name: self.param(name, init, shape) for name, (init, shape) in (
      shapes.items())}


def _step(weights, keys, state: _State, given, zoneout: float, kept) -> _State:
  """A step of the decoder.

  Args:
    weights: see `_Cell`.
    keys: memory `[batch, characters, width]`, its keys, and what is not padding.
    state: before the step, in float32.
    given: product of the output of the prenet, `[batch, 4 * decoder]`.
    zoneout: rate of zoneout.
    kept: which units keep their value, bool `[batch, 4, decoder]`; None for the mean
      over all choices.
  """
  memory, memory_keys, real = keys
  dtype = memory.dtype

  def lstm(product, h_c, kept):
    h, c = h_c
    i, f, g, o = jnp.split(product.astype(jnp.float32), 4, -1)
    new_c = nn.sigmoid(f) * c + nn.sigmoid(i) * nn.tanh(g)
    new_h = nn.sigmoid(o) * nn.tanh(new_c)
    if kept is None:
      return tuple(zoneout * old + (1 - zoneout) * new
                   for old, new in ((h, new_h), (c, new_c)))
    return jnp.where(kept[:, 0], h, new_h), jnp.where(kept[:, 1], c, new_c)

  def product(name, *inputs):
    return jnp.concatenate(inputs, -1).astype(dtype) @ weights[f'{name}_kernel'] + (
      weights[f'{name}_bias'])

  attention = lstm(given + product('attention', state.context, state.attention[0]),
                   state.attention, None if kept is None else kept[:, :2])
  location = conv(jnp.stack([state.weights, state.total], -1)[:, None].astype(dtype),
                  weights['location_filters'])[:, 0]
  query = attention[0].astype(dtype) @ weights['query']
  hidden = jnp.tanh(query[:, None] + memory_keys + weights['energy_bias'] + matmul(
    location, weights['location']))
  energies = matmul(hidden, weights['energy'])[..., 0].astype(jnp.float32)
  weighed = jax.nn.softmax(jnp.where(real, energies, -1e9))
  weighed = jnp.where(real, weighed, 0)  # of a text that is all padding, too
  context = jnp.einsum('bt,btw->bw', weighed, memory.astype(jnp.float32))
  decoder = lstm(product('decoder', attention[0], context, state.decoder[0]),
                 state.decoder, None if kept is None else kept[:, 2:])
  return _State(attention, decoder, context, weighed, state.total + weighed)


def _read(state: _State) -> jax.Array:
  """What frames are made of, `[batch, decoder + width]`."""
  return jnp.concatenate([state.decoder[0], state.context], -1)
