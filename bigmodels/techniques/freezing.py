"""Parameters that a learner leaves as they are."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import jax

from bigmodels.core.errors import UserError
from bigmodels.core.tree_paths import matching, name_of
from bigmodels.learners.learner import Learner


def frozen(learner: Learner, pattern: str) -> Learner:
  """A learner that leaves parameters as they are, whatever its optimizer.

  Args:
    learner: any learner; its gradient is that of `without_gradient`.
    pattern: regular expression of whole names, such as `(stem|stage).*`.

  Raises:
    UserError: in `init`, for a pattern that matches none or all of the parameters.
  """
  def init(key, batch):
    state = learner.init(key, batch)
    names = [name_of(path) for path, _ in jax.tree.leaves_with_path(state.params)]
    try:
      found = matching(pattern, names, 'parameter')
    except ValueError as error:
      raise UserError(f'--config.freeze: {error}') from None
    if len(found) == len(names):
      raise UserError(f'--config.freeze={pattern}: matches all {len(names)} '
                      'parameters, so that nothing would be trained')
    return state

  def step(state, batch):
    new, metrics = learner.step(state, batch)
    params = jax.tree.map_with_path(
      lambda path, before, after: before if _matches(pattern, path) else after,
      state.params, new.params)
    return new._replace(params=params), metrics

  return learner._replace(init=init, step=step)


def without_gradient(gradient: Callable, pattern: str) -> Callable:
  """Wraps a function such as `mean_gradient`: the gradient of some parameters is 0.

  Nothing is computed for it, and it is not part of the norm of the gradient.

  Args:
    gradient: (loss, ...) -> a function that computes its gradient.
    pattern: see `frozen`.
  """
  def make(loss, **settings):
    def stopped(params, *arguments):
      return loss(jax.tree.map_with_path(
        lambda path, x: jax.lax.stop_gradient(x) if _matches(pattern, path) else x,
        params), *arguments)

    return gradient(stopped, **settings)

  return make


def sizes(params: Any, pattern: str | None) -> tuple[int, int]:
  """The number of frozen parameters, and of all.

  Args:
    params: a tree of arrays.
    pattern: see `frozen`; None for none.
  """
  leaves = jax.tree.leaves_with_path(params)
  return (_total(x for path, x in leaves if pattern and _matches(pattern, path)),
          _total(x for _, x in leaves))


def _total(arrays: Iterable[Any]) -> int:
  return sum(x.size for x in arrays)


def _matches(pattern: str, path: Any) -> bool:
  return re.fullmatch(pattern, name_of(path)) is not None
