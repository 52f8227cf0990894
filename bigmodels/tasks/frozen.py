"""A task with some batch statistics frozen."""

import re
from collections.abc import Callable

import flax.linen as nn
import jax

from bigmodels.core.tree_paths import check_patterns, matching, name_of
from bigmodels.tasks.task import Task


def frozen_statistics(model, *, task: Callable, patterns: tuple[str, ...]) -> Task:
  """A task that trains with the running statistics of some layers, unchanged.

  In training, batch normalization uses the statistics of the batch and updates its
  running statistics, even where `optim.freeze` freezes the parameters. With this task,
  the chosen layers behave in training as in an evaluation.

  Args:
    model: Linen module.
    task: (model) -> Task, such as `tasks.classification`.
    patterns: regular expressions that match whole names of statistics, such as
      `stem/norm/mean`. A module is frozen if one of its statistics matches. Patterns of
      whole layers for `optim.freeze`, such as `(stem|stage1)/.*`, work here too.

  Raises:
    ValueError: immediately for an invalid pattern; at initialization for a pattern that
      matches no statistics, or statistics of a module other than
      `flax.linen.BatchNorm`.
  """
  check_patterns(patterns)
  made = task(model)
  frozen = with_frozen_statistics(made, patterns)

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
          raise ValueError(f'patterns: {pattern!r} matches {name}, which is not '
                           'in a flax.linen.BatchNorm; only those can be frozen')
    return params, model_state

  return frozen._replace(init=init)


def with_frozen_statistics(made: Task, patterns: tuple[str, ...]) -> Task:
  """As `frozen_statistics`, of a task that was made, if there are such statistics.

  A module is frozen, too, if all its parameters match.

  Args:
    made: the task.
    patterns: as in `frozen_statistics`.
  """
  def matches(name):
    return any(re.fullmatch(pattern, name) for pattern in patterns)

  def intercept(call, args, kwargs, context):
    module = context.module
    if _is_norm(context) and (
      any(map(matches, _names(module))) or all(map(matches, _parameters(module)))):
      object.__setattr__(module, 'use_running_average', None)  # Linen freezes modules
      return call(*args[:1], **{**kwargs, 'use_running_average': True})
    return call(*args, **kwargs)

  def loss(params, model_state, batch, key, train):
    with nn.intercept_methods(intercept):
      return made.loss(params, model_state, batch, key, train)

  return made._replace(loss=loss)


def _is_norm(context) -> bool:
  return isinstance(context.module, nn.BatchNorm) and context.method_name == '__call__'


def _parameters(module: nn.BatchNorm) -> list[str]:
  used = {'scale': module.use_scale, 'bias': module.use_bias}
  return ['/'.join((*module.path, name)) for name in used if used[name]] or ['']


def _names(module: nn.BatchNorm) -> list[str]:
  return ['/'.join((*module.path, name)) for name in ('mean', 'var')]
