"""Integers, bits and random bits."""

import statistics

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bigmodels.hardware.self_check.program import Program, integers, normal

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Threefry-2x32 with 20 rounds, the generator of JAX's default keys.

  Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, 2011.

  Args:
    key: uint32 `[2]`.
    counts: uint32 `[2, n]`.

  Returns:
    uint32 `[2, n]`.
  """
  keys = (*key, key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
  x, y = counts[0] + keys[0], counts[1] + keys[1]
  for block in range(5):
    for rotation in _ROTATIONS[block % 2]:
      x = x + y
      y = x ^ (y << np.uint32(rotation) | y >> np.uint32(32 - rotation))
    x = x + keys[(block + 1) % 3]
    y = y + keys[(block + 2) % 3] + np.uint32(block + 1)
  return np.stack([x, y])


def _numbered(n: int) -> np.ndarray:
  """The counts 0 to n - 1, in two halves of 32 bits."""
  return np.stack([np.zeros(n, np.uint32), np.arange(n, dtype=np.uint32)])


def _random_bits(key, n):
  return np.bitwise_xor(*threefry(key, _numbered(n)))


def _uniform(key, n):
  return (_random_bits(key, n) >> np.uint32(9)) / 2.0**23


def _normal(key, n):
  quantile = statistics.NormalDist().inv_cdf
  # JAX draws uniformly from just above -1 to 1, in float32.
  least = np.nextafter(np.float32(-1), np.float32(0))
  drawn = (_uniform(key, n).astype(np.float32) * (1 - least) + least).astype(float)
  return np.array([quantile((u + 1) / 2) for u in drawn])


def _keyed(draw):
  """A function of a key, from the two words of the key."""
  return lambda key: draw(jax.random.wrap_key_data(key, impl='threefry2x32'))


_KEY = np.array([0x13198A2E, 0x03707344], np.uint32)

_RANDOM = (
  Program('random bits', _keyed(lambda key: jax.random.bits(key, (1023,))),
          lambda key: _random_bits(key, 1023), (_KEY,)),
  Program('keys split', _keyed(lambda key: jax.random.key_data(
    jax.random.split(key, 7))), lambda key: threefry(key, _numbered(7)).T, (_KEY,)),
  Program('keys folded in', _keyed(lambda key: jax.random.key_data(jax.vmap(
    lambda n: jax.random.fold_in(key, n))(jnp.arange(33)))),
    lambda key: threefry(key, _numbered(33)).T, (_KEY,)),
  Program('uniform draws', _keyed(lambda key: jax.random.uniform(key, (4099,))),
          lambda key: _uniform(key, 4099), (_KEY,)),
  # The tails multiply what is rounded in the middle.
  Program('normal draws', _keyed(lambda key: jax.random.normal(key, (1023,))),
          lambda key: _normal(key, 1023), (_KEY,), terms=1000),
  Program('Bernoulli draws', _keyed(lambda key: jax.random.bernoulli(
    key, 0.25, (4099,))), lambda key: _uniform(key, 4099) < 0.25, (_KEY,)),
)

_INTEGERS = (
  Program('wrapped products and sums of uint32',
          lambda x: x * jnp.uint32(2654435761) + x, lambda x: (
            x.astype(np.uint64) * 2654435762 % 2**32).astype(np.uint32),
          (integers(1023, below=2**31, dtype='uint32'),)),
  Program('division and remainder of int32', lambda x: (x // 7, x % 7, -x // 5, -x % 5),
          lambda x: (x // 7, x % 7, -x // 5, -x % 5), (integers(4099, below=10**6),)),
  Program('shifts, and, or, exclusive or',
          lambda x: (x << 5, x >> 3, x & 0xFF, x | 0x10, x ^ (x >> 7)),
          lambda x: (x << 5, x >> 3, x & 0xFF, x | 0x10, x ^ (x >> 7)),
          (integers(1023, below=2**20),)),
  Program('bits counted', lambda x: (lax.population_count(x), lax.clz(x)),
          lambda x: (np.array([n.bit_count() for n in map(int, x)]),
                     np.array([32 - n.bit_length() for n in map(int, x)])),
          (integers(1023, below=2**30),)),
  Program('sum of int32', lambda x: (jnp.sum(x), jnp.cumsum(x)),
          lambda x: (np.sum(x), np.cumsum(x)), (integers(40_001, below=1000),)),
  Program('sum of int8 in int32', lambda x: jnp.sum(x, 0, dtype=jnp.int32),
          lambda x: np.sum(x, 0, dtype=np.int32),
          (integers(1023, 7, below=127, dtype='int8'),)),
  Program('float32 as its bits', lambda x: lax.bitcast_convert_type(x, jnp.int32),
          lambda x: x.astype(np.float32).view(np.int32), (normal(1023),)),
  Program('float32 rounded to integers',
          lambda x: (jnp.round(x), jnp.floor(x), (x * 9).astype(jnp.int32)),
          lambda x: (np.round(x), np.floor(x), (x * 9).astype(np.int32)),
          (normal(4099),)),
  Program('float32 rounded to bfloat16',
          lambda x: x.astype(jnp.bfloat16).astype(jnp.float32),
          lambda x: x.astype(np.float32).astype(jnp.bfloat16).astype(float),
          (normal(4099),)),
  Program('xor and all of booleans',
          lambda x: (jnp.any(x > 62, 1), jnp.all(x > 0, 1),
                     jnp.bitwise_xor.reduce(x, 1)),
          lambda x: (np.any(x > 62, 1), np.all(x > 0, 1), np.bitwise_xor.reduce(x, 1)),
          (integers(257, 33, below=64),)),
)

PROGRAMS = (*_RANDOM, *_INTEGERS)
