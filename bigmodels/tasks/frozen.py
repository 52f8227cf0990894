"""A task whose batch normalisations stay, in part, as they are."""

import difflib
import re
from collections.abc import Callable

import flax.linen as nn
import jax

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
      statistics.
  """
  if isinstance(patterns, str) or not patterns:
    raise ValueError('patterns: wants at least one, such as (stem/.*,), got '
                     f'{patterns!r}')
  for pattern in patterns:
    try:
      re.compile(pattern)
    except re.error as error:
      raise ValueError(f'patterns: wants regular expressions, got {pattern!r}: {error}'
                       ) from None
  made = task(model)

  def init(key, batch):
    params, extra = made.init(key, batch)
    names = [jax.tree_util.keystr(path, simple=True, separator='/')
             for path, _ in jax.tree.leaves_with_path(extra.get('batch_stats', {}))]
    for pattern in patterns:
      if not any(re.fullmatch(pattern, name) for name in names):
        close = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
        such = f', such as {close[0]}' if close else ': the model has none'
        raise ValueError(f'patterns: {pattern!r} matches the whole name of no batch '
                         f'statistics{such}')
    return params, extra

  def intercept(call, args, kwargs, context):
    module = context.module
    if isinstance(module, nn.BatchNorm) and context.method_name == '__call__' and any(
      re.fullmatch(pattern, '/'.join((*module.path, name)))
      for pattern in patterns for name in ('mean', 'var')):
      object.__setattr__(module, 'use_running_average', None)  # Linen freezes modules
      return call(*args[:1], **{**kwargs, 'use_running_average': True})
    return call(*args, **kwargs)

  def loss(params, extra, batch, key, train):
    with nn.intercept_methods(intercept):
      return made.loss(params, extra, batch, key, train)

  return made._replace(init=init, loss=loss)
