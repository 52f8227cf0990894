"""Features: what the last dense layer of a model reads."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.training import build
from bigmodels.training.build import Built


def program(built: Built, batch_of: Callable[[Built, Any], Any], no_dense: str
            ) -> Callable:
  """(state, columns) -> features `[n, width]`, logits and probabilities `[n, classes]`.

  Args:
    built: of a task that gives probabilities; its model works in float32 here.
    batch_of: (built, columns) -> batch, traced.
    no_dense: the error for a model that does not end in a dense layer.
  """
  built = _in_float32(built)
  weights = _test_time_weights(built.experiment.task)

  def answer(state, columns):
    batch, calls = batch_of(built, columns), []
    with nn.intercept_methods(functools.partial(_record, calls)):
      _, outputs = built.learner.evaluate(state, batch)
    if not calls or not all(features is not None for features, _ in calls):
      raise UserError(no_dense)
    parts = weights if len(weights) == len(calls) else (1,) * len(calls)
    features, logits = (sum(part / sum(parts) * x for part, x in zip(
      parts, each, strict=True)) for each in zip(*calls, strict=True))
    return features, logits, outputs['probabilities']

  return jax.jit(answer)


def _in_float32(built: Built) -> Built:
  """The same run, whose model works in float32."""
  if built.precision == 'float32':
    return built
  context = DataContext(None, pathlib.Path(), dict(built.data['kept']),
                        lambda line: None, lambda path: None)
  return build.build(dataclasses.replace(built.experiment, precision='float32'),
                     built.layout, context)


def _test_time_weights(task: Any) -> tuple[float, ...]:
  """Those of the augmentations of a task, where its config has some."""
  while isinstance(task, functools.partial):
    if task.keywords.get('test_time_weights'):
      return task.keywords['test_time_weights']
    task = task.keywords.get('task', task.func)
  return ()


def _record(calls: list, call: Callable, args: tuple, kwargs: dict, context) -> Any:
  """Adds what the last dense layer reads, and what it makes of it, to a list.

  Whenever the whole model has answered, what is of its parts becomes one entry:
  features `[n, width]`, or None if no dense layer made the answer; the answer.
  """
  answer = call(*args, **kwargs)
  module = context.module
  if context.method_name != '__call__':
    return answer
  if module.path:
    reads = next(iter((*args, *kwargs.values())), None)
    if _is_dense(module, reads, answer):
      calls.append(_Dense((reads, answer)))
    return answer
  made = [x for x in calls if isinstance(x, _Dense)]
  del calls[len(calls) - len(made):]
  features = None
  if made and made[-1][1].size == answer.size and (
    made[-1][1].shape[-1] == answer.shape[-1]):
    features = made[-1][0].reshape(len(answer), -1).astype(jnp.float32)
  calls.append((features, answer.astype(jnp.float32)))
  return answer


class _Dense(tuple):
  """What a dense layer reads, and its answer."""


def _is_dense(module: nn.Module, reads: Any, answer: Any) -> bool:
  """Whether a module multiplies what it reads by a matrix `kernel`."""
  if not module.has_variable('params', 'kernel') or not hasattr(reads, 'shape') or (
    not hasattr(answer, 'shape')):
    return False
  return (*reads.shape[-1:], *answer.shape[-1:]) == (
    module.get_variable('params', 'kernel').shape)
