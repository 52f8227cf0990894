"""Features: what the last dense layer of a classifier reads."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.training import build, inference
from bigmodels.training.build import Built


def program(built: Built, name: str) -> Callable:
  """(state, columns) -> `features`, `[n, width]`; `logits`, `probabilities`, `[n, k]`.

  Args:
    built: of a task that gives probabilities; its model works in float32 here.
    name: of the run, for errors.

  Raises:
    UserError: for a task that does not compute all views of every example.
  """
  built = _in_float32(built)
  test_time = built.task.test_time
  if built.task.confident < 1:
    raise UserError(f'{name}: features are the mean over all views of an example; its '
                    f'task has confident={built.task.confident}, which must be 1')

  def answer(state, columns):
    batch, recorder = inference.batch(built, columns), _Recorder()
    with nn.intercept_methods(recorder):
      _, outputs = built.learner.evaluate(state, batch)
    calls = recorder.calls
    if not calls or not all(features is not None for features, _ in calls):
      raise UserError(f'{name}: its model, {type(built.model).__name__}, does not end '
                      'in a dense layer that makes its logits')
    weights = [weight for weight, _ in test_time(batch['inputs'])] if test_time else []
    parts = weights if len(weights) == len(calls) else (1,) * len(calls)
    features, logits = (sum(part / sum(parts) * x for part, x in zip(
      parts, each, strict=True)) for each in zip(*calls, strict=True))
    return {'features': features, 'logits': logits,
            'probabilities': outputs['probabilities']}

  return jax.jit(answer)


def _in_float32(built: Built) -> Built:
  """The same run, whose model works in float32."""
  if built.precision == 'float32':
    return built
  context = DataContext(None, pathlib.Path(), dict(built.data['kept']),
                        lambda line: None, lambda path: None)
  return build.build(dataclasses.replace(built.experiment, precision='float32'),
                     built.layout, context)


class _Recorder:
  """Lists the features and the answer of each call of the whole model.

  The features are `[n, width]`, or None if no dense layer makes the answer.
  """

  def __init__(self):
    self.calls: list[tuple[jax.Array | None, jax.Array | None]] = []
    self._tracing = False

  def __call__(self, call: Callable, args: tuple, kwargs: dict, context) -> Any:
    module = context.module
    if module.path or context.method_name != '__call__' or self._tracing:
      return call(*args, **kwargs)
    model, variables = module.unbind()
    fixed = {name: x for name, x in kwargs.items() if not hasattr(x, 'shape')}
    arrays = (args, {name: x for name, x in kwargs.items() if name not in fixed})

    def apply(variables, arrays):
      return model.apply(variables, *arrays[0], **arrays[1], **fixed)

    self._tracing = True
    try:
      traced, shape = jax.make_jaxpr(apply, return_shape=True)(variables, arrays)
    finally:
      self._tracing = False
    if getattr(shape, 'ndim', None) != 2:
      self.calls.append((None, None))
      return call(*args, **kwargs)
    learned = [_Value(x) for x in jax.tree.leaves(variables)]
    read = [_Value(x, True) for x in jax.tree.leaves(arrays)]
    found, = _evaluated(traced.jaxpr, [*map(_Value, traced.consts)], [*learned, *read])
    features = None
    if found.layer is not None and found.layer.outputs == found.array.size:
      features = found.layer.reads.reshape(len(found.array), -1).astype(jnp.float32)
    self.calls.append((features, found.array.astype(jnp.float32)))
    return found.array


# --- the last dense layer in a traced model -------------------------------------


class _Layer(NamedTuple):
  """A product with a matrix of parameters.

  Attributes:
    reads: the other factor, `[..., width]`.
    outputs: size of the product.
  """

  reads: jax.Array
  outputs: int


class _Value(NamedTuple):
  """An array in a traced model.

  Attributes:
    array: of any shape.
    of_inputs: whether it depends on the model's inputs.
    layer: the dense layer whose output it is, but for its shape, and for sums and
      products with what does not depend on the inputs; None of other arrays.
  """

  array: Any
  of_inputs: bool = False
  layer: _Layer | None = None


# Programs within programs, which are evaluated step by step, too.
_CALLS = ('pjit', 'jit', 'closed_call', 'core_call', 'checkpoint', 'remat', 'remat2',
          'custom_jvp_call', 'custom_vjp_call', 'custom_vjp_call_jaxpr')
# After these the features of an output are still those of the layer.
_KEEP = ('add', 'add_any', 'sub', 'mul', 'div', 'neg', 'reshape', 'squeeze',
         'transpose', 'broadcast_in_dim', 'convert_element_type', 'copy', 'slice',
         'dynamic_slice', 'gather', 'expand_dims', 'reduce_precision',
         'sharding_constraint')


def _evaluated(jaxpr: Any, consts: list[_Value], inputs: list[_Value]) -> list[_Value]:
  """Evaluates a jaxpr, and follows the dense layers in it."""
  values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))
  for step in jaxpr.eqns:
    given = [_Value(x.val) if isinstance(x, Literal) else values[x]
             for x in step.invars]
    inner = next((step.params[name] for name in ('jaxpr', 'call_jaxpr', 'fun_jaxpr')
                  if name in step.params), None)
    if step.primitive.name in _CALLS and inner is not None:
      # Closed jaxprs have their constants with them.
      made = _evaluated(getattr(inner, 'jaxpr', inner), [
        *map(_Value, getattr(inner, 'consts', ()))], given)
    else:
      bound = step.primitive.get_bind_params(step.params)
      # Since JAX 0.12 the parameters alone.
      functions, params = bound if isinstance(bound, tuple) else ((), bound)
      arrays = step.primitive.bind(*functions, *(x.array for x in given), **params)
      arrays = arrays if step.primitive.multiple_results else [arrays]
      layer, reads = _layer(step, given, arrays), any(x.of_inputs for x in given)
      made = [_Value(array, reads, layer) for array in arrays]
    values |= dict(zip(step.outvars, made, strict=True))
  return [_Value(x.val) if isinstance(x, Literal) else values[x] for x in jaxpr.outvars]


def _layer(step: Any, given: list[_Value], arrays: list[Any]) -> _Layer | None:
  """The dense layer that the output of a step is of."""
  of_inputs = [x for x in given if x.of_inputs]
  if len(of_inputs) != 1:
    return None
  if step.primitive.name in _KEEP:
    return of_inputs[0].layer
  if step.primitive.name != 'dot_general':
    return None
  (left, right), (batch, _) = step.params['dimension_numbers']
  number = next(i for i, x in enumerate(given) if x.of_inputs)
  if batch or len(left) != 1:
    return None
  axis = (left, right)[number][0]
  return _Layer(jnp.moveaxis(given[number].array, axis, -1), arrays[0].size)
