"""The folder of a run: its files, and how they are read, checked and written."""

import contextlib
import datetime
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from bigmodels.config import config_file, resolving
from bigmodels.config.source import Source
from bigmodels.core import config_text, console, files, paths
from bigmodels.core.errors import UserError, why_unwritable
from bigmodels.storage import extension, stored_data
from bigmodels.storage import seal as seals
from bigmodels.storage.checkpoint import Checkpoints, Damaged
from bigmodels.storage.seal import Seal
from bigmodels.storage.stored_data import StoredData

_LOCK_SECONDS = 0.5  # `listing` tests locks, and holds each for a moment


class Workdir:
  """The folder of a run.

  Attributes:
    path: of the folder, which need not exist.
    config, source, data, metrics, utilization, result, report, checkpoints,
      tensorboard, snapshots: paths in it.
  """

  def __init__(self, path: str | os.PathLike):
    self.path = paths.expanded(path, strict=True)
    self.config = self.path / 'config.txt'
    self.source = self.path / 'source'
    self.data = self.path / 'data.json'
    self.metrics = self.path / 'metrics.jsonl'
    self.utilization = self.path / 'utilization.jsonl'
    self.result = self.path / 'result.json'
    self.report = self.path / 'report.html'
    self.checkpoints = self.path / 'checkpoints'
    self.tensorboard = self.path / 'tensorboard'
    self.snapshots = self.path / 'snapshots'

  @classmethod
  def fresh(cls, name: str) -> 'Workdir':
    """Makes a new folder under `runs/`.

    Args:
      name: of the experiment.

    Raises:
      UserError: if it cannot be made.
    """
    stamp = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
    stem = pathlib.Path(name).stem
    for count in range(1, 1000):
      path = pathlib.Path('runs') / f'{stem}-{stamp}{f"-{count}" * (count > 1)}'
      try:
        path.mkdir(parents=True)
        return cls(path)
      except FileExistsError as error:
        if not path.parent.is_dir():  # a link to what does not exist
          raise UserError(f'--workdir: cannot make {path}: {path.parent} is not a '
                          'folder') from error
        continue
      except OSError as error:
        raise UserError(f'--workdir: cannot make {path}: {error.strerror}') from error
    raise UserError(f'--workdir: too many runs named {stem}-{stamp}')

  @contextlib.contextmanager
  def lock(self) -> Iterator[str]:
    """Locks the folder against other runs; makes it if need be.

    Yields:
      what `lock_text` now gives to every process that sees this folder.

    Raises:
      UserError: if another run has locked it, or it cannot be written.
    """
    with self.writing():
      self.path.mkdir(parents=True, exist_ok=True)
      # Unbuffered: what a full disk refuses is not tried again when it is closed.
      file = open(self.path / '.lock', 'ab+', buffering=0)  # noqa: SIM115
    with file:
      if not files.locked(file, _LOCK_SECONDS):
        raise UserError(f'--workdir={self.path}: another run is writing there')
      with self.writing():
        file.truncate(0)
        file.write(uuid.uuid4().hex.encode())
        os.fsync(file.fileno())
      yield self.lock_text()

  def remove_if_unused(self) -> None:
    """Removes a folder in which a run that could not start left only its lock."""
    with contextlib.suppress(OSError):
      if os.listdir(self.path) == ['.lock']:
        os.unlink(self.path / '.lock')
        os.rmdir(self.path)

  def lock_text(self) -> str:
    """The text that the run with the lock has written there."""
    path = self.path / '.lock'
    return path.read_text() if path.is_file() else f'nothing in {self.path}'

  @contextlib.contextmanager
  def writing(self) -> Iterator[None]:
    """Explains a disk that is full or read-only, or a file where a folder should be.

    Raises:
      UserError: for these; other errors stay as they are.
    """
    try:
      yield
    except OSError as error:
      if not why_unwritable(error) and not isinstance(
        error, FileExistsError | NotADirectoryError | IsADirectoryError):
        raise
      raise UserError(
        f'--workdir={self.path}: cannot write there: {error.strerror or error}; '
        'saved files stay; to resume, run the same command again') from error

  def write(self, path: pathlib.Path, text: str) -> None:
    """Writes a file as a whole, or not at all.

    Raises:
      UserError: for a disk that cannot be written.
    """
    with self.writing():
      files.write(path, text, sync=True)

  def write_json(self, path: pathlib.Path, value: Any) -> None:
    """Writes JSON as a whole, or not at all; see `write`."""
    self.write(path, json.dumps(value, indent=2) + '\n')

  def read_json(self, path: pathlib.Path, default: Any = None) -> Any:
    """The JSON in a file, or `default` if there is no file.

    Raises:
      UserError: if it cannot be read.
    """
    if not path.is_file():
      return default
    try:
      return json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, OSError, RecursionError) as error:
      raise UserError(f'{path} cannot be read: {error}') from error

  def member(self, field: str, value: int) -> 'Workdir':
    """The folder of one of several runs that differ in a field: 'seed' or 'fold'."""
    return Workdir(self.path / f'{field}_{value}')

  def check_single(self) -> None:
    """Refuses a folder that holds the runs of several seeds or folds.

    Raises:
      UserError: that names one of them.
    """
    for field in () if self.checkpoints.exists() else ('seed', 'fold'):
      found = sorted((path for path in self.path.glob(f'{field}_*') if path.is_dir()),
                     key=lambda path: (len(path.name), path.name))
      if found:
        raise UserError(f'{self.path} holds {len(found)} runs, one for each {field}; '
                        f'open one of them, such as {found[0]}')

  def stored_data(self) -> StoredData:
    """The content of `data.json`; empty before there is one.

    Raises:
      UserError: if the file, or the rest of the sealed run, is not as the run wrote it.
    """
    if not self.data.exists():
      if self.checkpoints.is_dir() and any(self.checkpoints.iterdir()):
        raise UserError(
          f'{self.data} is gone, and the checkpoints beside it mean nothing without '
          'what was fitted to the training split: restore it, or begin with another '
          '--workdir')
      return StoredData(None, {})
    found = self.read_json(self.data)
    if not stored_data.is_whole(found):
      older = isinstance(found, dict) and found.keys() == {'data_dir', 'kept'}
      why = (': an older version of bigmodels did, which had no seal; resume with that '
             'version') if older else '; restore it'
      raise UserError(f'{self.data} is not as a run writes it{why}, or begin with '
                      'another --workdir')
    kept, now = found['kept'], self._seal(found['kept'])
    if entries := kept.get(extension.NAME):
      *entries, last = entries
      if now == {**found['seal'], **last['before']}:  # `extend` was killed half way
        kept = {name: value for name, value in kept.items() if name != extension.NAME}
        kept |= {extension.NAME: entries} if entries else {}
        return StoredData(found['data_dir'], kept)
    if now != found['seal']:
      raise UserError(
        f'{self.path} is not as the run left it: '
        f'{seals.differences(found["seal"], now)}; restore that, or begin with '
        'another --workdir')
    return StoredData(found['data_dir'], found['kept'])

  def seal(self) -> Seal:
    """The seal of the run, of the files that exist by now.

    Raises:
      UserError: see `stored_data`.
    """
    return self._seal(self.stored_data().kept)

  def earlier_seals(self) -> list[Seal]:
    """The seals of the run before it was extended; see `extension.earlier`."""
    kept = self.stored_data().kept
    return extension.earlier(self._seal(kept), kept)

  def _seal(self, kept: dict[str, Any], values: dict[str, str] | None = None) -> Seal:
    if values is None:
      values = self._values() if self.config.is_file() else {}
    source = {path.relative_to(self.source).as_posix(): files.read(path)
              for path in self._code() if path.is_file()}
    return seals.of(values, kept, source)

  def _code(self) -> list[pathlib.Path]:
    """All paths under `source/`.

    Raises:
      UserError: for a folder that may not be read, which would look empty.
    """
    found = [self.source, *self.source.rglob('*')]
    for path in found:
      if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise UserError(f'{path}: cannot be read: Permission denied')
    return sorted(found)

  def _values(self) -> dict[str, str]:
    text = files.read_text(self.config)
    try:
      return config_text.read(text)
    except UserError as error:
      raise UserError(f'{self.config}: {error}') from error

  def recorded(self, overrides: dict[str, str], *, trusted: bool = False,
               with_data: bool = True) -> resolving.Resolved:
    """The experiment of `config.txt`, with overrides applied.

    Its code is that of `source/` if the experiment's file has changed since. What is
    executed is remembered as trusted; see `config.trust`.

    Args:
      overrides: knob or dotted path -> text.
      trusted: whether all that the run names may be imported and executed.
      with_data: whether the data that the experiment's `config` reads must be there;
        see `config_file.from_text`.

    Raises:
      UserError: if there is no run here, or it names what is not trusted.
    """
    if not self.config.is_file():
      there = 'is empty' if self.path.is_dir() else 'does not exist'
      if self.path.is_dir() and any(self.path.iterdir()):
        there = 'holds no config.txt'
      raise UserError(
        f'--workdir={self.path} {there}: no run to resume or open; --experiment=NAME '
        'begins one')
    return config_file.from_file(
      self.config, overrides, copy=self.source, trusted=trusted, with_data=with_data)

  def claim(self, resolved: resolving.Resolved) -> None:
    """Checks that no other run is here.

    Args:
      resolved: the experiment of this run.

    Raises:
      UserError: if the folder holds another run; names the differences.
    """
    if not self.config.is_file():
      if self.checkpoints.is_dir() and any(self.checkpoints.iterdir()):
        raise UserError(f'--workdir={self.path} holds checkpoints but no config.txt; '
                        'use another --workdir')
      # A run that was killed at once has left its own.
      if self.source.exists() and config_file.kept_code(resolved, self.source):
        raise UserError(f'--workdir={self.path} holds no run, but other files in '
                        f'{self.source}; use another --workdir')
      return
    before = config_file.with_defaults(self._values(), resolved)
    now = resolved.values()
    for values in (before, now):  # a run may be resumed on other devices
      for name in [n for n in values if n.partition('.')[0] == 'mesh']:
        del values[name]
    # If there is no copy, `stored_data` names it.
    copied = (self.source / resolved.source.path.name).exists()
    code = config_file.kept_code(resolved, self.source) if copied else []
    if before != now or code:
      differences = filter(None, [config_text.differences(before, now), *code])
      raise UserError(
        f'--workdir={self.path} holds another run: {"; ".join(differences)}; to resume '
        f'that one: {console.COMMAND} --workdir={self.path}; to run this one: use '
        f'another --workdir (with --init_from={self.path} it starts from the '
        'parameters there)')

  def store(self, resolved: resolving.Resolved, data: dict[str, Any]) -> None:
    """Writes `source/`, `config.txt` and `data.json` of a run that is about to start.

    Args:
      resolved: the experiment of the run.
      data: see `store_data`.

    Raises:
      UserError: for a disk that cannot be written.
    """
    self._store_source(resolved.source)
    if not self.config.is_file():
      self.write(self.config, config_file.to_text(resolved))
    self.store_data(data)

  def store_data(self, data: dict[str, Any]) -> None:
    """Writes `data.json`, with the seal of the run.

    Args:
      data: the fields of `StoredData`.

    Raises:
      UserError: for a disk that cannot be written.
    """
    data = {**data, 'seal': self._seal(data['kept'])}
    if self.read_json(self.data) != data:
      self.write_json(self.data, data)

  def extend(self, resolved: resolving.Resolved, step: int) -> None:
    """Turns a finished run into one that is to go on; its results are kept.

    They are `result_STEP.json` and `report_STEP.html` from then on. Killed at any
    moment, the run is either as before, without results, or extended.

    Args:
      resolved: its experiment, with a longer duration.
      step: at which it had ended.

    Raises:
      UserError: for a disk that cannot be written.
    """
    data_dir, kept = self.stored_data()
    values = resolved.values()
    entry = extension.entry(step, self._seal(kept), self._seal(kept, values))
    kept = {**kept, extension.NAME: [*kept.get(extension.NAME, ()), entry]}
    with self.writing():
      for path in (self.result, self.report):
        if path.is_file():
          path.replace(path.with_name(f'{path.stem}_{step}{path.suffix}'))
    self.write_json(self.data, {
      'data_dir': data_dir, 'kept': kept, 'seal': self._seal(kept, values)})
    self.write(self.config, config_file.to_text(resolved))

  def _store_source(self, code: Source) -> None:
    """Copies the code of the experiment, all of it or nothing."""
    if self.source.is_dir():
      return
    scratch = self.path / '.source.tmp'
    with self.writing():
      shutil.rmtree(scratch, ignore_errors=True)
      for name, data in code.files.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, data, sync=True)
      os.replace(scratch, self.source)

  @contextlib.contextmanager
  def open_checkpoints(self) -> Iterator[Checkpoints]:
    """The checkpoints of the run, which may only be read.

    Raises:
      UserError: if there are some, but none of this run; see also `stored_data`.
    """
    checkpoints = Checkpoints(
      self.checkpoints, 1, self.seal(), self.earlier_seals(), read_only=True)
    try:
      yield checkpoints
    finally:
      checkpoints.release()


def best_of_run(workdir: Workdir, like: Any, say: Callable[[str], None]
                ) -> tuple[int, Any]:
  """The step and carry of the best checkpoint of a run.

  Args:
    workdir: of the run.
    like: shapes and shardings of the carry.
    say: prints a line about each checkpoint that cannot be used.

  Raises:
    UserError: if there is none, or it is damaged.
  """
  with workdir.open_checkpoints() as checkpoints:
    try:
      return checkpoints.best(lambda step: like, say)
    except Damaged as error:
      raise UserError(f'{workdir.path}: the best checkpoint is damaged ({error})'
                      ) from error
