"""Reads what a checkpoint holds."""

import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp


def arrays_of(workdir: pathlib.Path, step: int):
  """The arrays of a checkpoint, read by Orbax alone."""
  with ocp.StandardCheckpointer() as checkpointer:
    path = workdir / 'checkpoints' / str(step) / 'carry'
    tree = checkpointer.restore(path.resolve())
  return {jax.tree_util.keystr(k): np.asarray(v)
          for k, v in jax.tree.leaves_with_path(tree)}
