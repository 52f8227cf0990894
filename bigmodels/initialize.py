"""Parameters from another run."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from bigmodels.checkpoint import Checkpoints, Damaged
from bigmodels.errors import UserError
from bigmodels.parallel.compile import Carry
from bigmodels.workdir import Workdir


def best_step(checkpoints: Checkpoints, like: Any = None) -> int:
  """The step of a run's best checkpoint; its latest where nothing is monitored.

  Raises:
    UserError: if there is no checkpoint.
  """
  if not checkpoints.steps:
    raise UserError(f'there is no checkpoint in {checkpoints.folder}')
  for step in reversed(checkpoints.steps):
    try:
      _, ledger = checkpoints.restore(step, like)
    except Damaged as error:
      print(f'the checkpoint of step {step} is damaged ({error})')
      continue
    best = ledger['best_step'] if ledger['best'] is not None else step
    return best if best in checkpoints.steps else step
  raise UserError(f'every checkpoint in {checkpoints.folder} is damaged')


def from_workdir(path: str, carry: Carry) -> Carry:
  """Puts the best parameters of another run into a fresh carry, by name.

  Args:
    path: the other run's workdir.
    carry: with parameters of the names and shapes wanted.

  Raises:
    UserError: naming every parameter that is missing, left over or of another shape.
  """
  folder = Workdir(path).checkpoints
  if not folder.is_dir():
    raise UserError(f'--config.init_from={path}: there are no checkpoints')
  checkpoints = Checkpoints(pathlib.Path(folder), 1, read_only=True)
  try:
    found, _ = checkpoints.restore(best_step(checkpoints))
  except Damaged as error:
    raise UserError(f'--config.init_from={path}: the best checkpoint is damaged '
                    f'({error})') from error
  finally:
    checkpoints.release()
  theirs = _flat(found['state']['params'])
  ours = _flat(carry.state.params)
  wrong = [f'  {name}: not there' for name in ours if name not in theirs]
  wrong += [f'  {name}: there, but not wanted' for name in theirs if name not in ours]
  wrong += [f'  {name}: {theirs[name].shape} there, wants {value.shape}'
            for name, value in ours.items()
            if name in theirs and theirs[name].shape != value.shape]
  if wrong:
    raise UserError(f'--config.init_from={path}: its parameters do not fit:\n'
                    + '\n'.join(wrong))
  leaves, tree = jax.tree.flatten_with_path(carry.state.params)
  params = jax.tree.unflatten(tree, [
    jnp.asarray(theirs[jax.tree_util.keystr(p)], x.dtype) for p, x in leaves])
  return carry._replace(state=carry.state._replace(params=params))


def _flat(tree: Any) -> dict[str, jax.Array]:
  return {jax.tree_util.keystr(p): x for p, x in jax.tree.leaves_with_path(tree)}
