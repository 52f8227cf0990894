"""What a program of the self-check is, and the arrays that programs are given."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Program(NamedTuple):
  """A function on JAX arrays, and what it should give.

  Attributes:
    name: as it is reported; no two have the same.
    function: (*inputs) -> array or tree of arrays. It is compiled.
    reference: the same in NumPy. Floating inputs come as float64, others as they are.
    inputs: NumPy arrays.
    terms: how many numbers are summed into one of the results, one after the other;
      what else is rounded on the way counts as well.
    rounding: the dtype that results are rounded to.
  """

  name: str
  function: Callable[..., Any]
  reference: Callable[..., Any]
  inputs: tuple[np.ndarray, ...] = ()
  terms: int = 1
  rounding: str = 'float32'

  @property
  def tolerance(self) -> float:
    """The largest error allowed, as a share of the largest value of a result.

    Roundings of either sign add up as a random walk does: their sum grows with the
    square root of their number. Integers have to be exact.
    """
    return float(jnp.finfo(self.rounding).eps) * (8 + 4 * self.terms**0.5)


def normal(*shape: int, seed: int = 0, dtype: str = 'float32') -> np.ndarray:
  """Normal values: others for another shape or seed."""
  found = np.random.default_rng((seed, *shape)).normal(size=shape)
  return np.asarray(found).astype(jnp.dtype(dtype))


def positive(*shape: int, dtype: str = 'float32') -> np.ndarray:
  """Values from 0.5 to 1.5: a sum of them is not small by chance."""
  found = np.random.default_rng(shape).uniform(0.5, 1.5, size=shape)
  return found.astype(jnp.dtype(dtype))


def integers(*shape: int, below: int, dtype: str = 'int32') -> np.ndarray:
  """Values from 0 to one less than `below`."""
  return np.random.default_rng(shape).integers(below, size=shape).astype(dtype)


def cotangent(*shape: int, dtype: str = 'float32') -> np.ndarray:
  """What a gradient is taken along: it has nothing in common with `normal`."""
  return normal(*shape, seed=1, dtype=dtype)


def with_gradients(function: Callable) -> Callable:
  """(cotangent, *arrays) -> the value of a function, and its gradient by each."""
  def value_and_gradients(cotangent, *arrays):
    value, pullback = jax.vjp(function, *arrays)
    return value, *pullback(cotangent)

  return value_and_gradients


def with_differences(reference: Callable) -> Callable:
  """The same of a NumPy function, by central differences in float64.

  Their error is 1e-10 of the third derivative, and 1e-11 of the value by rounding.
  """
  def value_and_gradients(cotangent, *arrays):
    gradients = []
    for place in range(len(arrays)):
      moved = [np.array(array) for array in arrays]
      gradient = np.zeros(arrays[place].size)
      flat = moved[place].reshape(-1)
      for i in range(len(gradient)):
        middle = flat[i]
        flat[i] = middle + _STEP
        above = np.sum(cotangent * reference(*moved))
        flat[i] = middle - _STEP
        gradient[i] = (above - np.sum(cotangent * reference(*moved))) / (2 * _STEP)
        flat[i] = middle
      gradients.append(gradient.reshape(arrays[place].shape))
    return reference(*arrays), *gradients

  return value_and_gradients


_STEP = 1e-5
