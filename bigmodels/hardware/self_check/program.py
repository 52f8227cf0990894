"""The programs of the self-check, and the arrays that are their inputs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Program(NamedTuple):
  """A function of JAX arrays, and a reference for its results.

  Attributes:
    name: unique, for reports.
    function: (*inputs) -> array or tree of arrays. It is compiled.
    reference: the same in NumPy. It gets floating inputs as float64, others unchanged.
    inputs: NumPy arrays.
    terms: number of terms that are summed into one result; other roundings on the way
      count as well.
    rounding: dtype that results are rounded to.
  """

  name: str
  function: Callable[..., Any]
  reference: Callable[..., Any]
  inputs: tuple[np.ndarray, ...] = ()
  terms: int = 1
  rounding: str = 'float32'

  @property
  def tolerance(self) -> float:
    """The largest error allowed, as a fraction of the largest value of a result.

    Roundings of either sign add up like a random walk: their sum grows with the square
    root of their number. Integers must be exact.
    """
    return float(jnp.finfo(self.rounding).eps) * (8 + 4 * self.terms**0.5)


def normal(*shape: int, seed: int = 0, dtype: str = 'float32') -> np.ndarray:
  """Normal values `[*shape]`, different for each shape and seed.

  Args:
    *shape: of the array.
    seed: another one for other values.
    dtype: of the array.
  """
  found = np.random.default_rng((seed, *shape)).normal(size=shape)
  return np.asarray(found).astype(jnp.dtype(dtype))


def positive(*shape: int, dtype: str = 'float32') -> np.ndarray:
  """Values from 0.5 to 1.5, `[*shape]`, whose sum is never close to 0."""
  found = np.random.default_rng(shape).uniform(0.5, 1.5, size=shape)
  return found.astype(jnp.dtype(dtype))


def integers(*shape: int, below: int, dtype: str = 'int32') -> np.ndarray:
  """Whole numbers `[*shape]`.

  Args:
    *shape: of the array.
    below: numbers are >= 0 and less than this.
    dtype: of the array.
  """
  return np.random.default_rng(shape).integers(below, size=shape).astype(dtype)


def cotangent(*shape: int, dtype: str = 'float32') -> np.ndarray:
  """Cotangents `[*shape]`, independent of `normal`."""
  return normal(*shape, seed=1, dtype=dtype)


def with_gradients(function: Callable) -> Callable:
  """Makes (cotangent, *arrays) -> the value of a function, its gradient by each."""
  def value_and_gradients(cotangent, *arrays):
    value, pullback = jax.vjp(function, *arrays)
    return value, *pullback(cotangent)

  return value_and_gradients


def with_differences(reference: Callable) -> Callable:
  """`with_gradients` of a NumPy function, by central differences in float64.

  Their error is 1e-10 of the third derivative, and 1e-11 of the value by rounding.
  """
  def value_and_gradients(cotangent, *arrays):
    gradients = []
    for index in range(len(arrays)):
      moved = [np.array(array) for array in arrays]
      gradient = np.zeros(arrays[index].size)
      flat = moved[index].reshape(-1)
      for i in range(len(gradient)):
        middle = flat[i]
        flat[i] = middle + _STEP
        above = np.sum(cotangent * reference(*moved))
        flat[i] = middle - _STEP
        gradient[i] = (above - np.sum(cotangent * reference(*moved))) / (2 * _STEP)
        flat[i] = middle
      gradients.append(gradient.reshape(arrays[index].shape))
    return reference(*arrays), *gradients

  return value_and_gradients


_STEP = 1e-5
