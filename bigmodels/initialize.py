"""Parameters from another run."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax

from bigmodels.checkpoint import Checkpoints, Damaged
from bigmodels.errors import UserError
from bigmodels.parallel.compile import Carry
from bigmodels.parallel.layout import Layout
from bigmodels.workdir import Workdir


def best(checkpoints: Checkpoints, like_of: Callable[[int], Any]) -> tuple[int, Any]:
  """The step and carry of a run's best checkpoint; its latest if nothing is monitored.

  Args:
    checkpoints: of the run.
    like_of: step -> shapes and shardings of its carry.

  Raises:
    UserError: if there is no checkpoint.
    Damaged: if the best one is damaged.
  """
  if not checkpoints.steps:
    raise UserError(f'there is no checkpoint in {checkpoints.folder}')
  for step in reversed(checkpoints.steps):
    try:
      carry, ledger = checkpoints.restore(step, like_of(step))
    except Damaged as error:
      print(f'the checkpoint of step {step} is damaged ({error})')
      continue
    found = ledger['best_step'] if ledger['best'] is not None else step
    if found == step or found not in checkpoints.steps:
      return step, carry
    del carry
    try:
      return found, checkpoints.restore(found, like_of(found))[0]
    except Damaged as error:
      raise Damaged(f'of step {found}: {error}') from error
  raise UserError(f'every checkpoint in {checkpoints.folder} is damaged')


def from_workdir(path: str, carry: Carry, layout: Layout) -> Carry:
  """Puts the best parameters of another run into a fresh carry, by name.

  Args:
    path: the other run's workdir.
    carry: with parameters of the names and shapes wanted.
    layout: where they go.

  Raises:
    UserError: naming every parameter that is missing, left over or of another shape.
  """
  folder = Workdir(path).checkpoints
  if not folder.is_dir():
    raise UserError(f'--config.init_from={path}: there are no checkpoints')
  checkpoints = Checkpoints(pathlib.Path(folder), 1, read_only=True)

  def like_of(step):
    shapes = checkpoints.shapes(step)
    _check(path, _flat(carry.state.params), _flat(shapes['state']['params']))
    return layout.carry(shapes, carry.state.params)

  try:
    _, found = best(checkpoints, like_of)
  except Damaged as error:
    raise UserError(f'--config.init_from={path}: the best checkpoint is damaged '
                    f'({error})') from error
  finally:
    checkpoints.release()
  theirs = _flat(found['state']['params'])
  params = jax.tree.map_with_path(
    lambda path, x: theirs[jax.tree_util.keystr(path)].astype(x.dtype),
    carry.state.params)
  return carry._replace(state=carry.state._replace(params=params))


def _check(path: str, ours: dict, theirs: dict) -> None:
  wrong = [f'  {name}: not there' for name in ours if name not in theirs]
  wrong += [f'  {name}: there, but not wanted' for name in theirs if name not in ours]
  wrong += [f'  {name}: {theirs[name].shape} there, wants {value.shape}'
            for name, value in ours.items()
            if name in theirs and theirs[name].shape != value.shape]
  if wrong:
    raise UserError(f'--config.init_from={path}: its parameters do not fit:\n'
                    + '\n'.join(wrong))


def _flat(tree: Any) -> dict[str, jax.Array]:
  return {jax.tree_util.keystr(p): x for p, x in jax.tree.leaves_with_path(tree)}
