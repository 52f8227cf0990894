"""The gradient of a loss, over microbatches and devices.

A learner is built from such a function, so that another one, such as of per-example
clipped gradients or of a sharpness-aware step, needs no other learner.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from bigmodels.core.tree_paths import name_of
from bigmodels.parallel.random import slice_key


def mean_gradient(loss: Callable, *, microbatches: int = 1,
                  axis_name: str | None = None, guide: Callable | None = None
                  ) -> Callable:
  """As `jax.value_and_grad` of a mean over examples, however the batch is cut.

  Parts are weighted by what they count (examples, or the sum of their weights), so that
  the result is that of the whole batch in one piece, masks and dropout included. Only
  batch statistics differ: each microbatch has its own, and their mean is kept; over
  devices they are of all. What is not a float in `model_state` is kept as the last
  microbatch leaves it.

  Args:
    loss: (params, model_state, batch, key) -> loss, (model_state, metrics, outputs);
      the loss is a mean over what `metrics['loss'].count` counts.
    microbatches: parts of a batch that follow one another, which saves memory; with
      several the batch is `[microbatches, batch, ...]`.
    axis_name: of a `pmap` over the devices, each with its shard of the batch.
    guide: (loss) -> the same, with constraints on how arrays lie over the devices.

  Returns:
    (params, model_state, batch, key) -> (loss, model_state, metrics), gradient by
    params.
  """
  guided = guide(loss) if guide else loss
  if microbatches == 1 and axis_name is None:
    gradient = jax.value_and_grad(guided, has_aux=True)

    def whole(params, model_state, batch, key):
      (value, (model_state, metrics, _)), grads = gradient(
        params, model_state, batch, key)
      return (value, model_state, metrics), grads

    return whole

  def weighted(params, model_state, batch, key):
    value, (model_state, metrics, _) = guided(params, model_state, batch, key)
    weight = jax.lax.stop_gradient(metrics['loss'].count)
    # Before the gradient: statistics over all devices mix their losses in it.
    return value * weight, (weight, metrics, model_state)

  def part(params, before, batch, key, index):
    with _statistics_over(axis_name):
      (total, (weight, metrics, model_state)), grads = jax.value_and_grad(
        weighted, has_aux=True)(params, before, batch, slice_key(key, index))
    return (total, grads, weight, metrics), jax.tree.map(_change, before, model_state)

  def summed(params, model_state, batch, key):
    first, apart = 0, 1
    if axis_name is not None:
      first, apart = jax.lax.axis_index(axis_name), jax.lax.axis_size(axis_name)
    if microbatches == 1:
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
        (jnp.arange(microbatches), batch))
    if axis_name is not None:
      found = jax.lax.psum(found, axis_name)
      kept = jax.tree.map(
        lambda x: jax.lax.psum(x, axis_name) if _is_float(x) else x, kept)
    total, grads, weight, metrics = found
    weight = jnp.where(weight > 0, weight, 1.0)  # weights may be tiny
    value, grads = jax.tree.map(
      lambda x: x / weight.astype(x.dtype), (total, grads))
    count = microbatches * apart
    kept = jax.tree.map(
      lambda old, x: old + (x / count).astype(x.dtype) if _is_float(x) else x,
      model_state, kept)
    return (value, kept, metrics), grads

  return summed


def sharpness_aware(loss: Callable, *, rho: float = 0.05, **settings: Any) -> Callable:
  """The gradient where the loss nearby is highest: sharpness-aware minimization (SAM).

  Foret et al., *Sharpness-Aware Minimization for Efficiently Improving Generalization*,
  2021. A step costs two gradients, both of the whole batch, with the same dropout. The
  loss, the metrics and the batch statistics are those of the parameters themselves.

  Args:
    loss: see `mean_gradient`.
    rho: distance to go up along the gradient, in the Euclidean norm of all parameters,
      finite and >= 0.
    **settings: of `mean_gradient`.

  Raises:
    ValueError: if `rho` is out of range.
  """
  if not 0 <= rho < float('inf'):
    raise ValueError(f'gradient.rho: must be finite and >= 0, got {rho}')
  gradient = mean_gradient(loss, **settings)

  def descent(params, model_state, batch, key):
    found, grads = gradient(params, model_state, batch, key)
    norm = optax.global_norm(grads)
    scale = jnp.where(norm > 0, rho / jnp.where(norm > 0, norm, 1.0), 0.0)
    _, grads = gradient(
      jax.tree.map(lambda x, g: x + (scale * g).astype(x.dtype), params, grads),
      model_state, batch, key)
    return found, grads

  return descent


def checked(gradient: Callable) -> Callable:
  """Wraps a function such as `mean_gradient`; what it makes must fit the params.

  An optimizer would broadcast a gradient of another shape.
  """
  def make(loss):
    descent = gradient(loss)

    def fitting(params, model_state, batch, key):
      found, grads = descent(params, model_state, batch, key)
      _check_fit(grads, params)
      return found, grads

    return fitting

  return make


def _check_fit(grads: Any, params: Any) -> None:
  like, found = ({name_of(path): f'{x.dtype} {x.shape}' for path, x in
                  jax.tree.leaves_with_path(tree)} for tree in (params, grads))
  for name in {**like, **found}:
    if like.get(name) != found.get(name):
      raise ValueError(
        f'the gradient must have the shapes and types of the parameters: {name} is '
        f'{found.get(name, "absent")}, must be {like.get(name, "absent")}')


def _is_float(x: jax.Array) -> bool:
  return jnp.issubdtype(x.dtype, jnp.floating)


def _change(before: jax.Array, after: jax.Array) -> jax.Array:
  """The change, which adds up; 0 where a part changes nothing, which stays exact."""
  return after - before if _is_float(after) else after


def _add_floats(total: jax.Array, value: jax.Array) -> jax.Array:
  """The sum; of counters, flags and keys, which have no mean, the latest."""
  return total + value if _is_float(value) else value


@contextlib.contextmanager
def _statistics_over(axis_name: str | None) -> Iterator[None]:
  """Has batch normalization in here take its statistics over all devices of an axis."""

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
