"""A task whose batch normalisations stay, in part, as they are."""

import re
from collections.abc import Callable

import flax.linen as nn
import jax

from bigmodels.core.tree_paths import check_patterns, matching, name_of
from bigmodels.tasks.task import Task


def frozen_statistics(model, *, task: Callable, patterns: tuple[str, ...]) -> Task:
  """A task that trains with the running statistics of some layers, and keeps them.

  In training a batch normalisation divides by the deviation of the batch, and its
  running statistics follow, even where `optim.freeze` leaves the parameters as they
  are. Here those of some layers answer in training as they do in an evaluation.

  Args:
    model: Linen module.
    task: (model) -> Task, such as `tasks.classification`.
    patterns: regular expressions of the whole names of statistics, such as
      `stem/norm/mean`; those of a module are frozen where one of them matches. What
      `optim.freeze` takes for a whole layer, such as `(stem|stage1)/.*`, does here.

  Raises:
    ValueError: here for what is no pattern; when initialised for one that matches no
      statistics, or some that are of no `flax.linen.BatchNorm`.
  """
  check_patterns(patterns)
  made = task(model)

  def init(key, batch):
    known = set()

    def record(call, args, kwargs, context):
      if _is_norm(context):
        known.update(_names(context.module))
      return call(*args, **kwargs)

    with nn.intercept_methods(record):
      params, model_state = made.init(key, batch)
    names = [name_of(path) for path, _ in jax.tree.leaves_with_path(
      model_state.get('batch_stats', {}))]
    for pattern in patterns:
      for name in matching(pattern, names, 'batch statistics'):
        if name not in known:
          raise ValueError(f'patterns: {pattern!r} matches {name}, which is of no '
                           'flax.linen.BatchNorm: only those can be kept as they are')
    return params, model_state

  def intercept(call, args, kwargs, context):
    module = context.module
    if _is_norm(context) and any(
      re.fullmatch(pattern, name) for pattern in patterns for name in _names(module)):
      object.__setattr__(module, 'use_running_average', None)  # Linen freezes modules
      return call(*args[:1], **{**kwargs, 'use_running_average': True})
    return call(*args, **kwargs)

  def loss(params, model_state, batch, key, train):
    with nn.intercept_methods(intercept):
      return made.loss(params, model_state, batch, key, train)

  return made._replace(init=init, loss=loss)


def _is_norm(context) -> bool:
  return isinstance(context.module, nn.BatchNorm) and context.method_name == '__call__'


def _names(module: nn.BatchNorm) -> list[str]:
  return ['/'.join((*module.path, name)) for name in ('mean', 'var')]
