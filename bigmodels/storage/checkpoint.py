"""Checkpoints through Orbax: asynchronous, verified, and never silently lost.

Every checkpoint holds the carry and a record: the step, the host's progress, the seal
of the run, and a fingerprint of all bits of the carry that was taken on the device,
with a digest of every field and of the whole. What is restored must have the same: a
truncated file, a flipped bit, an edited number, a folder from elsewhere or one that is
half written is noticed and named, and the checkpoint before it is used.
"""

import contextlib
import errno
import functools
import json
import logging
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from bigmodels.core import digests
from bigmodels.core.errors import UserError
from bigmodels.storage import seal as seals
from bigmodels.storage.seal import Seal


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


def check(folder: pathlib.Path, seal: Seal) -> dict[int, dict[str, Any]]:
  """What the checkpoints in a folder hold beside their arrays, of those that are whole.

  Args:
    folder: of checkpoints; need not be there.
    seal: of the run.

  Raises:
    UserError: if there are checkpoints, and none is of a run with this seal.
  """
  if folder.is_symlink() and not folder.exists():
    raise UserError(f'{folder} is a link to {os.readlink(folder)}, where nothing is')
  if folder.exists() and not folder.is_dir():
    raise UserError(f'{folder} must be a folder of checkpoints, and is a file')
  records = {}
  for step in _steps(folder):
    with contextlib.suppress(Damaged):
      records[step] = _read(folder, step)
  if records and all(record['seal'] != seal for record in records.values()):
    step = max(records)
    raise UserError(
      f'{folder.parent} is not as it was when the checkpoint of step {step} was saved: '
      f'{seals.differences(records[step]["seal"], seal)}; put that back, or begin with '
      'another --workdir')
  return records


def _steps(folder: pathlib.Path) -> list[int]:
  return [int(path.name) for path in folder.glob('*')
          if re.fullmatch(r'\d+', path.name)]


_RECORD = ('step', 'scheduled', 'progress', 'seal', 'arrays')


def _read(folder: pathlib.Path, step: int) -> dict[str, Any]:
  """The record of a checkpoint.

  Raises:
    Damaged: if it is not as it was saved, naming the file and the fields.
  """
  path = folder / str(step) / 'progress' / 'metadata'
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError, RecursionError) as error:
    raise Damaged(f'{path} cannot be read: {error}') from error
  fields = {*_RECORD, 'digests', 'digest'}
  if not isinstance(found, dict) or found.keys() != fields or not isinstance(
    found['digests'], dict):
    older = isinstance(found, dict) and 'fingerprint' in found
    raise Damaged(f'{path} ' + (
      'is of an older version of bigmodels, which kept no seal' if older else
      f'must have the fields {", ".join(sorted(fields))}'))
  record = {name: found[name] for name in _RECORD}
  before, now = found['digests'], _digests(record)
  wrong = [name for name in dict.fromkeys([*before, *now])
           if before.get(name) != now.get(name)]
  if wrong or found['digest'] != digests.of_json(record):
    raise Damaged(f'{path}: {", ".join(wrong[:5]) or "its digest"} is not as it was '
                  'saved')
  if record['step'] != step:
    raise Damaged(f'{path} is of step {record["step"]}')
  return record


def _digests(record: Mapping[str, Any]) -> dict[str, str]:
  """The digest of every field of a record, those of its parts by `progress.step`."""
  found = {}
  for name, value in record.items():
    parts = {f'{name}.{key}': part for key, part in value.items()} if isinstance(
      value, dict) else {name: value}
    found |= {path: digests.of_json(part) for path, part in parts.items()}
  return found


class Checkpoints:
  """The checkpoints of one run: the best, and the latest few.

  Attributes:
    folder: holds one folder a step.
    seal: of the run, which what is saved is given and what is restored must have.
    unfinished: names of what was half written when a run stopped.
  """

  def __init__(self, folder: pathlib.Path, keep: int, seal: Seal, *,
               read_only: bool = False):
    """Opens a folder of checkpoints, and makes it unless `read_only`.

    Args:
      folder, seal: see the class.
      keep: how many of the latest stay, beside the best.
      read_only: whether nothing may be written or removed.

    Raises:
      UserError: if there are checkpoints, and none is of a run with this seal.
    """
    import orbax.checkpoint as ocp

    _hush()
    self._ocp, self.folder, self.seal = ocp, folder, seal
    self._keep, self._best, self._done = keep, None, False
    self._saved: int | None = None
    records = check(folder, seal)
    self._known = set(records)  # no other folder is removed, whatever its name
    # Steps that every run saves: see `_stay`.
    self._scheduled = {step for step, record in records.items() if record['scheduled']}
    self.unfinished = sorted(p.name for p in folder.glob('*orbax-checkpoint-tmp*'))
    try:
      self._manager = ocp.CheckpointManager(
        folder.resolve(),
        item_handlers={'carry': ocp.StandardCheckpointHandler(),
                       'progress': ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(
          create=not read_only,
          read_only=read_only,
          cleanup_tmp_directories=not read_only,
          save_root_metadata=False,
          preservation_policy=_Policy(self._stay),
        ),
      )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      raise UserError(
        f'{folder}: what Orbax notes there is not as it was written '
        f'({type(error).__name__}: {error}); remove the file _CHECKPOINT_METADATA of '
        'the checkpoint that was changed, on which nothing depends') from error

  @property
  def steps(self) -> list[int]:
    """Steps with a checkpoint, ascending."""
    return sorted(self._manager.all_steps())

  def save(self, step: int, carry: Any, progress: Mapping[str, Any], *,
           best: int | None, scheduled: bool = True, done: bool = False) -> None:
    """Starts to save; returns when the carry's memory may be reused.

    Args:
      step: names the checkpoint; if there is one of this step, nothing is done.
      carry: a tree of arrays.
      progress: JSON that belongs to it.
      best: the step whose checkpoint must stay.
      scheduled: whether every run of the experiment saves this step; one that the
        clock or a signal asked for stays no longer than it may be needed.
      done: whether the run ends here.
    """
    if step in self._manager.all_steps():
      return
    self.wait()  # for the save before: what went wrong with it is told as its own
    ocp, self._best, self._done = self._ocp, best, done
    self._known.add(step)
    if scheduled:
      self._scheduled.add(step)
    record = {'step': step, 'scheduled': scheduled, 'progress': dict(progress),
              'seal': self.seal, 'arrays': int(fingerprint(carry))}
    with self._blame(step):
      saved = self._manager.save(step, args=ocp.args.Composite(
        carry=ocp.args.StandardSave(carry), progress=ocp.args.JsonSave(
          {**record, 'digests': _digests(record), 'digest': digests.of_json(record)})))
      if not saved:
        raise UserError(f'cannot write the checkpoint of step {step} in {self.folder}: '
                        f'that of step {self.steps[-1]} is there; move it away')
      self._saved = step

  def _stay(self, steps: list[int]) -> set[int]:
    """The steps whose checkpoints stay, of those that are there, ascending.

    At the end of a run they are the same wherever it was stopped on the way. A folder
    with the name of a step that holds no record of this project stays as it is.
    """
    scheduled = [step for step in steps if step in self._scheduled]
    stay = {self._best, *scheduled[-self._keep :], *set(steps) - self._known}
    steps = [step for step in steps if step in self._known]
    return stay if self._done else stay.union(steps[-self._keep :])

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
      Damaged: if it cannot be read, or not as it was written, or is of another run.
    """
    ocp = self._ocp
    carry = record = None
    reason = 'another process cannot read its part'
    try:
      record = _read(self.folder, step)
      if record['seal'] != self.seal:
        raise Damaged('it is of another run: '
                      + seals.differences(record['seal'], self.seal))
      carry = self._manager.restore(
        step, args=ocp.args.Composite(carry=ocp.args.StandardRestore(like)))['carry']
    except Damaged as error:
      reason = str(error)
    except Exception as error:  # whatever a damaged file makes the readers raise
      # TensorStore adds where its own code was.
      first = str(error).partition(' See full TensorStore')[0].strip().splitlines()
      reason = f'{type(error).__name__}: {"".join(first[:1])[:200]}'
    if not _in_every_process(carry is not None):
      raise Damaged(reason)
    if int(fingerprint(carry)) != record['arrays']:
      raise Damaged('its bits are not those that were saved')
    return carry, record['progress']

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
    for path in sorted(self.folder.glob('*')):
      if path.name.isdigit() and not path.is_dir():
        aside = self._free_name(f'{path.name}.damaged')
        say(f'{path} is not a folder: moved to {aside}')
        if jax.process_index() == 0:
          path.rename(aside)
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
      self._tidy(restored[1])
      return restored
    if damaged:
      raise UserError(
        f'every checkpoint in {self.folder} is damaged (steps '
        f'{", ".join(map(str, sorted(damaged)))}); nothing was changed; to start '
        'afresh, use another --workdir')
    return None

  def _tidy(self, progress: Mapping[str, Any]) -> None:
    """Removes what a run that was killed while it saved had no time to remove."""
    self._best = progress['best_step'] if progress['best'] is not None else None
    self._done = progress['done'] is not None
    stay = self._stay(self.steps)
    for step in self.steps:
      if step not in stay:
        self._manager.delete(step)

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


@functools.cache  # a hook on top of a hook, for every folder that is opened
def _hush() -> None:
  """Has a failure reported once, by us, not by every task and thread it ends.

  Each read and write that TensorStore fails later is reported to an event loop that
  Orbax has closed by then, and that to `sys.unraisablehook`.
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


class _Policy:
  """Orbax's protocol of what to keep."""

  def __init__(self, stay: Callable[[list[int]], set[int]]):
    self._stay = stay

  def should_preserve(self, checkpoints, *, context):
    del context
    stay = self._stay([c.step for c in checkpoints])
    return [c.step in stay for c in checkpoints]
