"""Tests of bigmodels.layers.positions: the papers' formulas written out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.layers.positions import (
  NextPositions,
  rotary,
  segment_positions,
  sinusoidal,
  sinusoidal_2d,
)

RNG = np.random.default_rng(0)


# --- sinusoidal -----------------------------------------------------------------


@pytest.mark.parametrize('width', [2, 8, 64])
def test_sinusoidal_is_the_papers_formula(width):
  positions = [0, 1, 2, 17, 511]
  expected = np.zeros((len(positions), width))
  for row, position in enumerate(positions):
    for i in range(width // 2):
      expected[row, 2 * i] = math.sin(position / 10_000 ** (2 * i / width))
      expected[row, 2 * i + 1] = math.cos(position / 10_000 ** (2 * i / width))
  found = sinusoidal(jnp.array(positions), width)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, expected, atol=1e-4)
  again = sinusoidal(jnp.array(positions)[None, :, None], width)
  np.testing.assert_array_equal(again[0, :, 0], found)


def test_sinusoidal_2d_is_the_formula_of_moco():
  found = sinusoidal_2d(3, 5, 16)
  assert found.shape == (15, 16) and found.dtype == jnp.float32
  expected = np.zeros((3, 5, 16))
  for row in range(3):
    for column in range(5):
      for i in range(4):
        frequency = 1 / 10_000 ** (i / 3)
        expected[row, column, i::4] = [
          math.sin(column * frequency), math.cos(column * frequency),
          math.sin(row * frequency), math.cos(row * frequency)]
  np.testing.assert_allclose(found.reshape(3, 5, 16), expected, atol=1e-6)
  assert len(np.unique(np.round(found, 4), axis=0)) == 15
  with pytest.raises(ValueError, match=r'width: must be a multiple of 4 .*, got 6'):
    sinusoidal_2d(2, 2, 6)


# --- rotary ---------------------------------------------------------------------


@pytest.mark.parametrize('base', [100.0, 10_000.0, 500_000.0])
@pytest.mark.parametrize('width', [2, 6, 64])
def test_rotary_is_a_product_of_complex_numbers(width, base):
  x = RNG.normal(size=(2, 5, 3, width)).astype(np.float32)
  positions = np.array([[0, 1, 2, 3, 4], [7, 100, 0, 0, 1000]])
  frequencies = base ** (-2 * np.arange(width // 2) / width)
  turns = np.exp(1j * positions[:, :, None, None] * frequencies)
  both = (x[..., :width // 2] + 1j * x[..., width // 2:]) * turns
  found = rotary(jnp.asarray(x), jnp.asarray(positions), base)
  np.testing.assert_allclose(
    found, np.concatenate([both.real, both.imag], -1), atol=3e-4)
  np.testing.assert_allclose(found[0], np.concatenate(
    [both.real, both.imag], -1)[0], atol=1e-5)  # an angle's error grows with it


def test_rotary_knows_only_distances_and_keeps_lengths():
  query, key = (jnp.asarray(RNG.normal(size=(1, 1, 1, 16)), jnp.float32)
                for _ in range(2))

  def product(i, j):
    turned = (rotary(x, jnp.array([[n]])) for x, n in ((query, i), (key, j)))
    return float(jnp.sum(math.prod(turned)))

  near = [product(i + 3, i) for i in (0, 1, 10, 200)]
  np.testing.assert_allclose(near, near[0], atol=2e-4)
  assert abs(product(5, 0) - near[0]) > 1e-2 and abs(product(0, 3) - near[0]) > 1e-2
  turned = rotary(query, jnp.array([[123]]))
  assert float(jnp.linalg.norm(turned)) == pytest.approx(
    float(jnp.linalg.norm(query)), rel=1e-5)
  np.testing.assert_array_equal(rotary(query, jnp.array([[0]])), query)


def test_rotary_of_half_precision_is_worked_out_in_float32():
  x = jnp.asarray(RNG.normal(size=(1, 1, 1, 8)), jnp.bfloat16)
  found = rotary(x, jnp.array([[1001]]))  # which bfloat16 cannot tell from 1000
  assert found.dtype == jnp.bfloat16
  expected = rotary(x.astype(jnp.float32), jnp.array([[1001]]))
  np.testing.assert_allclose(found.astype(jnp.float32), expected, rtol=1e-2)


def test_odd_widths_are_refused():
  with pytest.raises(ValueError, match=r'width.*even.*got 5'):
    sinusoidal(jnp.arange(3), 5)
  with pytest.raises(ValueError, match=r'even width.*got 5'):
    rotary(jnp.zeros((1, 1, 1, 5)), jnp.zeros((1, 1), int))


# --- positions in segments -------------------------------------------------------


@pytest.mark.parametrize('segments, expected', [
  ([1, 1, 1, 1], [0, 1, 2, 3]),
  ([1, 1, 2, 2], [0, 1, 0, 1]),
  ([2, 1, 1, 2], [0, 0, 1, 0]),
  ([1, 1, 0, 0], [0, 1, 0, 0]),
  ([0, 0, 1, 1], [0, 0, 0, 1]),
  ([0, 3, 3, 0], [0, 0, 1, 0]),
  ([1, 0, 2, 2], [0, 0, 0, 1]),
  ([0, 0, 0, 0], [0, 0, 0, 0]),
])
def test_positions_count_from_the_first_of_a_segment(segments, expected):
  found = segment_positions(jnp.array([segments, [1, 1, 1, 1]]))
  assert found.dtype == jnp.int32
  np.testing.assert_array_equal(found, [expected, [0, 1, 2, 3]])


def test_next_positions_go_on_from_call_to_call():
  tokens, found, cache = jnp.zeros((2, 3), int), [], {}
  for segments in ([[1, 1, 1], [0, 0, 1]], None, [[1, 1, 0], [0, 1, 1]]):
    segments = None if segments is None else jnp.array(segments)
    here, cache = NextPositions().apply(cache, tokens, segments, mutable=['cache'])
    found.append(np.where(True if segments is None else segments > 0, here, -1))
  np.testing.assert_array_equal(np.concatenate(found, 1), [
    [0, 1, 2, 3, 4, 5, 6, 7, -1], [-1, -1, 0, 1, 2, 3, -1, 4, 5]])


def test_segment_positions_under_jit():
  segments = jnp.array([[1, 2, 2, 0]])
  np.testing.assert_array_equal(jax.jit(segment_positions)(segments), [[0, 0, 1, 0]])
