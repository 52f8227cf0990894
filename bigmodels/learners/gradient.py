"""The gradient of a loss over a batch in parts: one after the other, or on devices."""

import contextlib
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.parallel.random import part_of


def mean_gradient(loss: Callable, *, parts: int = 1, axis_name: str | None = None,
                  guide: Callable | None = None) -> Callable:
  """As `jax.value_and_grad` of a mean over examples, whatever parts they come in.

  Parts are weighted by what they count, so that the result is that of the whole batch
  in one piece, masks included; dropout too is that of the whole batch. Only batch
  statistics of parts that follow one another cannot be: each part has its own, and
  their mean is what is kept. Over devices they are taken over all. What is not a float
  in `model_state` is kept as the last part leaves it.

  Args:
    loss: (params, model_state, batch, key) -> loss, (model_state, sums, outputs), the
      loss being a mean over what `sums['loss'][1]` counts.
    parts: that follow one another, which saves memory; the batch then is `[parts,
      batch, ...]`.
    axis_name: of a `pmap` over the devices, each with its part.
    guide: (loss) -> the same, telling the compiler how arrays lie over the devices.

  Returns:
    (params, model_state, batch, key) -> (loss, model_state, sums), gradient by params.
  """
  guided = guide(loss) if guide else loss
  if parts == 1 and axis_name is None:
    gradient = jax.value_and_grad(guided, has_aux=True)

    def whole(params, model_state, batch, key):
      (value, (model_state, sums, _)), grads = gradient(params, model_state, batch, key)
      return (value, model_state, sums), grads

    return whole

  def weighted(params, model_state, batch, key):
    value, (model_state, sums, _) = guided(params, model_state, batch, key)
    weight = jax.lax.stop_gradient(sums['loss'][1])
    # Before the gradient: statistics over all devices mix their losses in it.
    return value * weight, (weight, sums, model_state)

  def part(params, before, batch, key, index):
    with _statistics_over(axis_name):
      (total, (weight, sums, model_state)), grads = jax.value_and_grad(
        weighted, has_aux=True)(params, before, batch, part_of(key, index))
    return (total, grads, weight, sums), jax.tree.map(_change, before, model_state)

  def summed(params, model_state, batch, key):
    first, apart = 0, 1
    if axis_name is not None:
      first, apart = jax.lax.axis_index(axis_name), jax.lax.axis_size(axis_name)
    if parts == 1:
      found, kept = part(params, model_state, batch, key, first)
    else:
      def add(carried, indexed):
        index, batch = indexed
        found, kept = part(params, model_state, batch, key, index * apart + first)
        return (jax.tree.map(jnp.add, carried[0], found),
                jax.tree.map(_add_floats, carried[1], kept)), None

      like, _ = jax.eval_shape(
        part, params, model_state, jax.tree.map(lambda x: x[0], batch), key, first)
      zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
      (found, kept), _ = jax.lax.scan(
        add, (zero, jax.tree.map(lambda x: x * 0 if _is_float(x) else x, model_state)),
        (jnp.arange(parts), batch))
    if axis_name is not None:
      found = jax.lax.psum(found, axis_name)
      kept = jax.tree.map(
        lambda x: jax.lax.psum(x, axis_name) if _is_float(x) else x, kept)
    total, grads, weight, sums = found
    value, grads = jax.tree.map(
      lambda x: x / jnp.maximum(weight, 1e-9).astype(x.dtype), (total, grads))
    kept = jax.tree.map(
      lambda old, x: old + (x / (parts * apart)).astype(x.dtype) if _is_float(x) else x,
      model_state, kept)
    return (value, kept, sums), grads

  return summed


def _is_float(x: jax.Array) -> bool:
  return jnp.issubdtype(x.dtype, jnp.floating)


def _change(before: jax.Array, after: jax.Array) -> jax.Array:
  """What is added up, and 0 where a part leaves it: so that this stays to the bit."""
  return after - before if _is_float(after) else after


def _add_floats(total: jax.Array, value: jax.Array) -> jax.Array:
  """The sum; of counters, flags and keys, which have no mean, the latest."""
  return total + value if _is_float(value) else value


@contextlib.contextmanager
def _statistics_over(axis_name: str | None) -> Iterator[None]:
  """Has batch normalisation in here take its statistics over all devices of an axis."""

  def intercept(call, args, kwargs, context):
    module = context.module
    if isinstance(module, nn.BatchNorm) and module.axis_name is None:
      object.__setattr__(module, 'axis_name', axis_name)  # Linen freezes its modules
    return call(*args, **kwargs)

  if axis_name is None:
    yield
  else:
    with nn.intercept_methods(intercept):
      yield
