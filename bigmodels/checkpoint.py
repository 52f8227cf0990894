"""Checkpoints through Orbax: asynchronous, verified, and never silently lost.

Every checkpoint holds the carry and the host's progress, with a fingerprint of all
bits of the carry that was taken on the device. What is restored must have the same:
a truncated file, a flipped bit or a half-written folder is noticed, said, and the
checkpoint before it is used.
"""

import contextlib
import errno
import functools
import logging
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from bigmodels.errors import UserError


def fingerprint(tree: Any) -> jax.Array:
  """A 32-bit checksum of all bits of a tree of arrays, in any sharding.

  Sums modulo 2**32 of words times odd weights that depend on their place: integer
  sums come out the same in whatever order devices add them, and any change of one
  word changes the result.
  """
  return _fingerprint_on(jax.default_backend())(tree)


@functools.cache
def _fingerprint_on(platform: str) -> Callable[[Any], jax.Array]:
  # On a CPU XLA would add in a tree, of which it writes the leaves down first: four
  # bytes for every one of a replay buffer, and eight times the time.
  options = {'xla_disable_hlo_passes': 'tree_reduction_rewriter'}
  return jax.jit(_fingerprint, compiler_options=options if platform == 'cpu' else None)


def _fingerprint(tree: Any) -> jax.Array:
  total = jnp.uint32(0)
  # By name: a tree that is read back as nested dicts has another order.
  named = {jax.tree_util.keystr(path, simple=True, separator='/'): leaf
           for path, leaf in jax.tree.leaves_with_path(tree)}
  for _, leaf in sorted(named.items()):
    words = _words(leaf)
    weights = (_places(words.shape) * jnp.uint32(2654435761)) | 1
    total = total * jnp.uint32(31) + jnp.sum(words * weights, dtype=jnp.uint32)
  return total


def _words(leaf: jax.Array) -> jax.Array:
  leaf = jnp.asarray(leaf)
  if leaf.dtype == jnp.bool:
    return leaf.astype(jnp.uint32)
  unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
  return jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32)


def _places(shape: tuple[int, ...]) -> jax.Array:
  """0, 1, 2, ... in row order, without moving what is cut over devices."""
  places, stride = jnp.zeros(shape, jnp.uint32), 1
  for axis in reversed(range(len(shape))):
    index = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    places += index * jnp.uint32(stride % 2**32)
    stride *= shape[axis]
  return places


class Checkpoints:
  """The checkpoints of one run: the best, and the latest few."""

  def __init__(self, folder: pathlib.Path, keep: int, *, read_only: bool = False):
    """Opens a folder of checkpoints, and makes it unless `read_only`.

    Args:
      folder: holds one folder a step.
      keep: how many of the latest stay, beside the best.
      read_only: whether nothing may be written or removed.
    """
    import orbax.checkpoint as ocp

    _hush()
    self._ocp, self.folder = ocp, folder
    self._best: int | None = None
    self._saved: int | None = None
    self.unfinished = sorted(p.name for p in folder.glob('*orbax-checkpoint-tmp*'))
    self._manager = ocp.CheckpointManager(
      folder.resolve(),
      item_handlers={'carry': ocp.StandardCheckpointHandler(),
                     'progress': ocp.JsonCheckpointHandler()},
      options=ocp.CheckpointManagerOptions(
        create=not read_only,
        read_only=read_only,
        cleanup_tmp_directories=not read_only,
        save_root_metadata=False,
        preservation_policy=_LatestAndBest(keep, lambda: self._best),
      ),
    )

  @property
  def steps(self) -> list[int]:
    """Steps with a checkpoint, ascending."""
    return sorted(self._manager.all_steps())

  def save(self, step: int, carry: Any, progress: dict, *, best: int | None) -> None:
    """Starts to save; returns when the carry's memory may be reused.

    Args:
      step: names the checkpoint; if there is one of this step, nothing is done.
      carry: a tree of arrays.
      progress: JSON that belongs to it.
      best: the step whose checkpoint must stay.
    """
    if step in self._manager.all_steps():
      return
    self.wait()  # for the save before: what went wrong with it is told as its own
    ocp, self._best = self._ocp, best
    progress = {**progress, 'fingerprint': int(fingerprint(carry))}
    with self._blame(step):
      self._manager.save(step, args=ocp.args.Composite(
        carry=ocp.args.StandardSave(carry), progress=ocp.args.JsonSave(progress)))
      self._saved = step

  def wait(self) -> None:
    """Returns when what was started is on disk."""
    with self._blame(self._saved):
      self._manager.wait_until_finished()

  def release(self) -> None:
    """Lets go of threads; what failed to be written has been told by `wait`."""
    with contextlib.suppress(Exception):
      self._manager.close()

  def restore(self, step: int, like: Any = None) -> tuple[Any, dict]:
    """Returns the carry and progress of a step, verified.

    Args:
      step: of a checkpoint that is there.
      like: a tree of arrays or shapes, for structure and placement; the mesh may be
        another than the one it was saved from. None for nested dicts, as saved.

    Raises:
      Damaged: if it cannot be read, or not as it was written.
    """
    ocp = self._ocp
    found, reason = None, 'another process cannot read its part'
    try:
      found = self._manager.restore(step, args=ocp.args.Composite(
        carry=ocp.args.StandardRestore(like), progress=ocp.args.JsonRestore()))
    except Exception as error:  # whatever a damaged file makes the readers raise
      first = str(error).strip().splitlines() or ['']
      reason = f'{type(error).__name__}: {first[0][:200]}'
    if not _in_every_process(found is not None):
      raise Damaged(reason)
    carry, progress = found['carry'], found['progress']
    if progress is None or int(fingerprint(carry)) != progress.pop('fingerprint'):
      raise Damaged('its bits are not those that were saved')
    return carry, progress

  def shapes(self, step: int) -> Any:
    """The carry of a step as nested dicts of shapes; nothing is read but these.

    Raises:
      Damaged: if they cannot be read.
    """
    try:
      found = self._manager.item_metadata(step)['carry']
      if found is None:
        raise ValueError('the shapes of its arrays are not there')
      return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), found)
    except Exception as error:
      raise Damaged(f'{type(error).__name__}: {error}'[:200]) from error

  def restore_latest(self, like: Any, say: Callable[[str], None]) -> tuple | None:
    """The latest checkpoint that is whole, or None if there never was one.

    Damaged ones are said and moved aside, to `STEP.damaged`.

    Raises:
      UserError: if there are checkpoints and none is whole.
    """
    for name in self.unfinished:
      say(f'{name.partition(".")[0]} in {self.folder} was only half written when the '
          'run stopped; not used')
    damaged = []
    for step in reversed(self.steps):
      try:
        restored = self.restore(step, like)
      except Damaged as error:
        damaged.append(step)
        say(f'the checkpoint of step {step} is damaged ({error})')
        continue
      for bad in damaged:
        aside = self._free_name(f'{bad}.damaged')
        if jax.process_index() == 0:
          (self.folder / str(bad)).rename(aside)
        say(f'moved it to {aside}; going on from step {step}')
      _in_every_process(True)  # for the folders to have their names
      self._manager.reload()
      return restored
    if damaged:
      raise UserError(
        f'every checkpoint in {self.folder} is damaged (steps '
        f'{", ".join(map(str, sorted(damaged)))}); nothing was changed; to start '
        'afresh, use another --workdir')
    return None

  def _free_name(self, name: str) -> pathlib.Path:
    path, count = self.folder / name, 1
    while path.exists():
      count += 1
      path = self.folder / f'{name}{count}'
    return path

  @contextlib.contextmanager
  def _blame(self, step: int | None) -> Iterator[None]:
    try:
      yield
    except Exception as error:
      if not out_of_room(error):
        raise
      left = [s for s in self.steps if s != step]
      kept = f'the last good one is step {left[-1]}' if left else 'there is none before'
      raise UserError(
        f'cannot write the checkpoint of step {step} in {self.folder}: '
        f'{reason_of(error)}; {kept}; make room or give '
        'access, and run the same command again') from error


def _in_every_process(here: bool) -> bool:
  """Whether something is so in all processes; returns when all have come here."""
  if jax.process_count() == 1:
    return here
  return bool(multihost_utils.process_allgather(np.array(here)).all())


def _hush() -> None:
  """Has a full disk told once, by us, not by every task and thread that fails of it.

  Each write that TensorStore fails later is reported to an event loop that Orbax has
  closed by then, and that to `sys.unraisablehook`.
  """
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)
  before = sys.unraisablehook

  def hook(unraisable):
    if str(unraisable.exc_value) != 'Event loop is closed':
      before(unraisable)

  sys.unraisablehook = hook


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def out_of_room(error: BaseException) -> bool:
  """Whether an error says that a disk is full or may not be written."""
  return reason_of(error) is not None


def reason_of(error: BaseException | None) -> str | None:
  """What the system says of a disk that is full or may not be written, or None."""
  while error is not None:
    for code in _NO_ROOM:
      # TensorStore tells the system's errors only in words.
      if getattr(error, 'errno', None) == code or os.strerror(code) in str(error):
        return os.strerror(code)
    error = error.__cause__ or error.__context__
  return None


class Damaged(Exception):
  """A checkpoint that is there but not as it was written."""


class _LatestAndBest:
  """Orbax's protocol of what to keep."""

  def __init__(self, keep: int, best: Callable[[], int | None]):
    self._keep, self._best = keep, best

  def should_preserve(self, checkpoints, *, context):
    del context
    latest = len(checkpoints) - self._keep
    return [i >= latest or c.step == self._best() for i, c in enumerate(checkpoints)]
