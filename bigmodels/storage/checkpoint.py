"""Checkpoints through Orbax: asynchronous, verified, and never silently lost.

Every checkpoint holds the carry and a manifest, which has a fingerprint of all bits of
the carry that was computed on the device. A truncated file, a flipped bit, an edited
number, a folder from elsewhere or one that is half written is detected and reported,
and the checkpoint before it is used.
"""

import contextlib
import functools
import logging
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from bigmodels.core.errors import UserError, listed, why_unwritable
from bigmodels.core.tree_paths import name_of
from bigmodels.storage import manifest
from bigmodels.storage import seal as seals
from bigmodels.storage.fingerprint import fingerprint
from bigmodels.storage.manifest import Damaged
from bigmodels.storage.seal import Seal


class Checkpoints:
  """The checkpoints of one run: the best, and the latest few.

  Attributes:
    folder: has one folder a step.
    seal: of the run: saved with each checkpoint, and required of what is restored.
    earlier: seals that the run had before it was extended, which are as good.
    unfinished: names of checkpoints that were half written when a run stopped.
  """

  def __init__(self, folder: pathlib.Path, keep: int, seal: Seal,
               earlier: Sequence[Seal] = (), *, read_only: bool = False):
    """Opens a folder of checkpoints, and makes it unless `read_only`.

    Args:
      folder, seal, earlier: see the class.
      keep: how many of the latest are preserved, beside the best.
      read_only: whether nothing may be written or removed.

    Raises:
      UserError: if there are checkpoints, but none of a run with this seal.
    """
    self.folder, self.seal, self.earlier = folder, seal, earlier
    self._keep, self._best, self._done = keep, None, False
    self._read_only = read_only
    self._saved: int | None = None
    found = manifest.read_all(folder, seal, earlier)
    self._known = set(found)  # a folder of anything else stays, whatever its name
    self._half_removed = manifest.half_removed(folder)
    # Steps that every run saves: see `_preserved`.
    self._scheduled = {step for step, each in found.items() if each['scheduled']}
    self.unfinished = sorted(p.name for p in folder.glob('*orbax-checkpoint-tmp*'))
    if not read_only:
      folder.mkdir(parents=True, exist_ok=True)
    if not self._untouched:
      _ = self._manager  # so that what is wrong is reported now

  @property
  def _untouched(self) -> bool:
    """Whether nothing was saved yet, so that Orbax need not be imported."""
    return '_manager' not in vars(self) and not any(self.folder.glob('*'))

  @functools.cached_property
  def _manager(self):
    import orbax.checkpoint as ocp

    _silence_event_loops()
    try:
      with _without_warnings():  # that a folder is opened to read is no warning
        return ocp.CheckpointManager(
          self.folder.resolve(),
          item_handlers={'carry': ocp.StandardCheckpointHandler(),
                         'progress': ocp.JsonCheckpointHandler()},
          options=ocp.CheckpointManagerOptions(
            create=not self._read_only,
            read_only=self._read_only,
            cleanup_tmp_directories=not self._read_only,
            save_root_metadata=False,
            preservation_policy=_Policy(self._preserved),
          ),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      raise UserError(
        f'{self.folder}: the metadata of Orbax there is not as it was written '
        f'({type(error).__name__}: {error}); remove the file _CHECKPOINT_METADATA of '
        'the checkpoint that was changed, on which nothing depends') from error

  @property
  def steps(self) -> list[int]:
    """Steps with a checkpoint, ascending."""
    return [] if self._untouched else sorted(self._manager.all_steps())

  def save(self, step: int, carry: Any, progress: Mapping[str, Any], *,
           best: int | None, scheduled: bool = True, done: bool = False) -> None:
    """Starts to save; returns when the memory of the carry may be reused.

    Args:
      step: names the checkpoint. If it has one already, nothing is done.
      carry: a tree of arrays.
      progress: JSON that belongs to it.
      best: the step whose checkpoint must be preserved.
      scheduled: whether every run of the experiment saves this step. A checkpoint that
        the clock or a signal asked for is preserved only while it may be needed.
      done: whether the run ends here.

    Raises:
      UserError: if this checkpoint, or the one before, cannot be written.
    """
    if step in self._manager.all_steps():
      return
    self.wait()  # reports a failure of the save before as its own
    import orbax.checkpoint as ocp

    self._best, self._done = best, done
    self._known.add(step)
    if scheduled:
      self._scheduled.add(step)
    beside = manifest.make(step=step, scheduled=scheduled, progress=progress,
                           seal=self.seal, arrays=int(fingerprint(carry)))
    with self._writing(step):
      saved = self._manager.save(step, args=ocp.args.Composite(
        carry=ocp.args.StandardSave(carry), progress=ocp.args.JsonSave(beside)))
      if not saved:
        raise UserError(f'cannot write the checkpoint of step {step} in {self.folder}: '
                        f'that of step {self.steps[-1]} is there; move it away')
      self._saved = step

  def _preserved(self, steps: list[int]) -> set[int]:
    """The steps whose checkpoints are preserved, of those that exist, ascending.

    At the end of a run they are the same wherever it was stopped on the way, so its
    latest are counted among the scheduled ones, which no policy of Orbax does. A folder
    with the name of a step but without a manifest is left alone.
    """
    scheduled = [step for step in steps if step in self._scheduled]
    found = {self._best, *scheduled[-self._keep :], *set(steps) - self._known}
    steps = [step for step in steps if step in self._known]
    return found if self._done else found.union(steps[-self._keep :])

  def wait(self) -> None:
    """Returns when every save that was started is on disk.

    Raises:
      UserError: if the last one cannot be written.
    """
    if self._saved is not None:
      with self._writing(self._saved):
        self._manager.wait_until_finished()

  def release(self) -> None:
    """Closes threads and files; `wait` has reported what could not be written."""
    if '_manager' in vars(self):
      with contextlib.suppress(Exception):
        self._manager.close()

  def restore(self, step: int, like: Any = None) -> tuple[Any, dict]:
    """Restores and verifies the carry and progress of a step.

    Args:
      step: of a checkpoint that exists.
      like: a tree of arrays or shapes, for structure and placement; its mesh may be
        another than the one that was saved. None for nested dicts, as saved.

    Raises:
      Damaged: if it cannot be read, is not as it was written, or is of another run.
      UserError: if it has other arrays than `like`.
    """
    import orbax.checkpoint as ocp

    carry = found = None
    reason = 'another process cannot read its part'
    try:
      found = manifest.read(self.folder, step)
      if found['seal'] not in (self.seal, *self.earlier):
        raise Damaged('it is of another run: '
                      + seals.differences(found['seal'], self.seal))
      carry = self._manager.restore(
        step, args=ocp.args.Composite(carry=ocp.args.StandardRestore(like)))['carry']
    except Damaged as error:
      reason = str(error)
    except Exception as error:  # whatever a damaged file makes the readers raise
      # TensorStore appends the place in its own code.
      first = str(error).partition(' See full TensorStore')[0].strip().splitlines()
      reason = f'{type(error).__name__}: {"".join(first[:1])[:200]}'
    if not _in_every_process(carry is not None):
      self._check_names(step, like)
      raise Damaged(reason)
    if int(fingerprint(carry)) != found['arrays']:
      raise Damaged('its bits are not those that were saved')
    return carry, found['progress']

  def _check_names(self, step: int, like: Any) -> None:
    """Refuses a checkpoint whose arrays have other names than those of `like`."""
    if like is None:
      return
    with contextlib.suppress(Damaged):
      saved, wanted = ({name_of(path) for path, _ in jax.tree.leaves_with_path(tree)}
                       for tree in (self.shapes(step), like))
      parts = [f'{what} {listed(sorted(names), 3)}' for what, names in (
        ('lacks', wanted - saved), ('has', saved - wanted)) if names]
      if parts:
        raise UserError(
          f'the checkpoint of step {step} in {self.folder} is not of this model and '
          f'optimizer as they are now: it {" and ".join(parts)}; go on with the '
          'version of the code that saved it, or begin another --workdir')

  def shapes(self, step: int) -> Any:
    """The shapes of the carry of a step, as nested dicts; reads no array.

    Args:
      step: of a checkpoint that exists.

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

  def best(self, like_of: Callable[[int], Any], say: Callable[[str], None]
           ) -> tuple[int, Any]:
    """The step and carry of the best checkpoint; of the latest if none is monitored.

    Args:
      like_of: step -> shapes and shardings of its carry; see `restore`.
      say: prints a line about each checkpoint that cannot be used.

    Raises:
      UserError: if there is no checkpoint, or every one is damaged.
      Damaged: if the best one is damaged.
    """
    if not self.steps:
      raise UserError(f'there is no checkpoint in {self.folder}')
    for step in reversed(self.steps):
      try:
        carry, progress = self.restore(step, like_of(step))
      except Damaged as error:
        say(f'the checkpoint of step {step} is damaged ({error})')
        continue
      found = progress['best_step'] if progress['best'] is not None else step
      if found == step:
        return step, carry
      if found not in self.steps:
        say(f'the best checkpoint, of step {found}, is not there: step {step} is used')
        return step, carry
      del carry
      try:
        return found, self.restore(found, like_of(found))[0]
      except Damaged as error:
        raise Damaged(f'of step {found}: {error}') from error
    raise UserError(f'every checkpoint in {self.folder} is damaged')

  def restore_latest(self, like: Any, say: Callable[[str], None]
                     ) -> tuple[Any, dict] | None:
    """The latest checkpoint that is whole, or None if there never was one.

    Damaged ones are reported and moved aside, to `STEP.damaged`.

    Args:
      like: see `restore`.
      say: prints a line.

    Returns:
      carry and progress, or None.

    Raises:
      UserError: if there are checkpoints, but none is whole.
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
        say(f'moved it to {aside}; resuming from step {step}')
      if jax.process_index() == 0:
        for path in self._half_removed:
          shutil.rmtree(path, ignore_errors=True)
      _in_every_process(True)  # the folders have their names, and the rest is gone
      self._manager.reload()
      self._remove_leftovers(restored[1])
      return restored
    if damaged:
      raise UserError(
        f'every checkpoint in {self.folder} is damaged (steps '
        f'{", ".join(map(str, sorted(damaged)))}); nothing was changed; to start '
        'afresh, use another --workdir')
    return None

  def _remove_leftovers(self, progress: Mapping[str, Any]) -> None:
    """Removes what a run that was killed while it saved had no time to remove."""
    self._best = progress['best_step'] if progress['best'] is not None else None
    self._done = progress['done'] is not None
    preserved = self._preserved(self.steps)
    for step in self.steps:
      if step not in preserved:
        self._manager.delete(step)

  def _free_name(self, name: str) -> pathlib.Path:
    path, count = self.folder / name, 1
    while path.exists():
      count += 1
      path = self.folder / f'{name}{count}'
    return path

  @contextlib.contextmanager
  def _writing(self, step: int | None) -> Iterator[None]:
    """Explains a full or read-only disk. Raises UserError."""
    try:
      yield
    except Exception as error:
      reason = why_unwritable(error)
      if reason is None:
        raise
      left = [s for s in self.steps if s != step]
      last = f'the last good one is step {left[-1]}' if left else 'there is none before'
      raise UserError(
        f'cannot write the checkpoint of step {step} in {self.folder}: {reason}; '
        f'{last}; make room or give access, and run the same command again'
      ) from error


def _in_every_process(here: bool) -> bool:
  """Whether something holds in all processes; returns when all have come here."""
  if jax.process_count() == 1:
    return here
  return bool(multihost_utils.process_allgather(np.array(here)).all())


@functools.cache  # once: a hook on top of a hook would grow with every folder
def _silence_event_loops() -> None:
  """Silences the further reports, by tasks and threads, of a failure we report.

  Each read and write of TensorStore that fails later is reported to an event loop that
  Orbax has closed by then, and that to `sys.unraisablehook`.
  """
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)
  before = sys.unraisablehook

  def hook(unraisable):
    if str(unraisable.exc_value) != 'Event loop is closed':
      before(unraisable)

  sys.unraisablehook = hook


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
  """Hides the warnings of absl, by which Orbax logs, in this context."""
  from absl import logging as absl_logging

  before = absl_logging.get_verbosity()
  absl_logging.set_verbosity(min(before, absl_logging.ERROR))
  try:
    yield
  finally:
    absl_logging.set_verbosity(before)


class _Policy:
  """An `orbax.checkpoint.checkpoint_managers.PreservationPolicy` from a function."""

  def __init__(self, preserved: Callable[[list[int]], set[int]]):
    self._preserved = preserved

  def should_preserve(self, checkpoints, *, context):
    del context
    preserved = self._preserved([c.step for c in checkpoints])
    return [c.step in preserved for c in checkpoints]
