"""The folder of a run: what is in it, and how it is written."""

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from bigmodels.config import config_file, resolving
from bigmodels.config.source import Source
from bigmodels.core import digests, files, paths
from bigmodels.core.errors import UserError
from bigmodels.storage import seal as seals
from bigmodels.storage.checkpoint import out_of_room
from bigmodels.storage.seal import Seal


class Fitted(NamedTuple):
  """What a run keeps of its data.

  Attributes:
    data_dir: where its TFDS datasets are; None for TFDS's own default.
    kept: what was fitted on its training data, by name; JSON.
  """

  data_dir: str | None
  kept: dict[str, Any]


class Workdir:
  """A run's folder, by file."""

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
    """A folder under `runs/` that nobody has used."""
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
    """Makes the folder if need be, and keeps other runs from writing there.

    Yields:
      what `lock_text` gives now to whoever sees this folder.
    """
    with self.blame():
      self.path.mkdir(parents=True, exist_ok=True)
      # Unbuffered: what a full disk refuses is not tried again when it is closed.
      file = open(self.path / '.lock', 'ab+', buffering=0)  # noqa: SIM115
    with file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        raise UserError(
          f'--workdir={self.path}: another run is writing there') from None
      with self.blame():
        file.truncate(0)
        file.write(uuid.uuid4().hex.encode())
        os.fsync(file.fileno())
      yield self.lock_text()

  def lock_text(self) -> str:
    """What the run that holds the lock has written there."""
    path = self.path / '.lock'
    return path.read_text() if path.is_file() else f'nothing in {self.path}'

  @contextlib.contextmanager
  def blame(self) -> Iterator[None]:
    """Says what a full or read-only disk means for the run."""
    try:
      yield
    except OSError as error:
      if not out_of_room(error) and not isinstance(
        error, FileExistsError | NotADirectoryError | IsADirectoryError):
        raise
      raise UserError(
        f'--workdir={self.path}: cannot write there: {error.strerror or error}; what '
        'is saved stays; the same command goes on from there') from error

  def write(self, path: pathlib.Path, text: str) -> None:
    """Writes a file as a whole, or not at all."""
    with self.blame():
      files.write(path, text, sync=True)

  def write_json(self, path: pathlib.Path, value: Any) -> None:
    self.write(path, json.dumps(value, indent=2) + '\n')

  def read_json(self, path: pathlib.Path, default: Any = None) -> Any:
    """What a file holds, or the default where there is none."""
    if not path.is_file():
      return default
    try:
      return json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, OSError, RecursionError) as error:
      raise UserError(f'{path} cannot be read: {error}') from error

  def fitted(self) -> 'Fitted':
    """What `data.json` holds; nothing before there is one.

    Raises:
      UserError: if it, or `config.txt`, is not as the run wrote it, or it is gone.
    """
    if not self.data.exists():
      if self.checkpoints.is_dir() and any(self.checkpoints.iterdir()):
        raise UserError(
          f'{self.data} is gone, and the checkpoints beside it mean nothing without '
          'what was fitted to the training split: bring it back, or begin with another '
          '--workdir')
      return Fitted(None, {})
    found = self.read_json(self.data)
    if not isinstance(found, dict) or found.keys() != {'data_dir', 'kept', 'seal'} or (
      not all(isinstance(found[name], dict) for name in ('kept', 'seal'))):
      older = isinstance(found, dict) and found.keys() == {'data_dir', 'kept'}
      why = (': an older version of bigmodels did, which kept no seal; go on with that '
             'version') if older else '; bring it back'
      raise UserError(f'{self.data} is not as a run writes it{why}, or begin with '
                      'another --workdir')
    now = self._seal(found['kept'])
    if now != found['seal']:
      raise UserError(
        f'{self.path} is not as the run left it: '
        f'{seals.differences(found["seal"], now)}; put that back, or begin with '
        'another --workdir')
    return Fitted(found['data_dir'], found['kept'])

  def seal(self) -> Seal:
    """The seal of the run that is here, without what is not here yet.

    Raises:
      UserError: as of `fitted`.
    """
    return self._seal(self.fitted().kept)

  def _seal(self, kept: dict[str, Any]) -> Seal:
    values = self._values() if self.config.is_file() else {}
    source = {path.relative_to(self.source).as_posix(): files.read(path)
              for path in self._code() if path.is_file()}
    return seals.of(values, kept, source)

  def _code(self) -> list[pathlib.Path]:
    """What is under `source/`.

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
      return config_file.read_values(text)
    except UserError as error:
      raise UserError(f'{self.config}: {error}') from error

  def recorded(self, overrides: dict[str, str], *, trusted: bool = False
               ) -> resolving.Resolved:
    """The experiment that `config.txt` tells, with overrides applied.

    Its code is that of `source/` where the experiment's file has changed since. What is
    executed is remembered as trusted: see `trust`.

    Args:
      overrides: knob or dotted path -> text.
      trusted: whether all that the run asks for may be imported and executed.

    Raises:
      UserError: if there is no run here, or it asks for what is not trusted.
    """
    if not self.config.is_file():
      there = 'is empty' if self.path.is_dir() else 'does not exist'
      if self.path.is_dir() and any(self.path.iterdir()):
        there = 'holds no config.txt'
      raise UserError(
        f'--workdir={self.path} {there}: nothing to resume; name an --experiment')
    return config_file.from_file(
      self.config, overrides, copy=self.source, trusted=trusted)

  def claim(self, resolved: resolving.Resolved) -> None:
    """Checks that nothing else is here.

    Raises:
      UserError: with the differences, if the folder holds another.
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
    before = self._values()
    now = resolved.values()
    for values in (before, now):  # the devices are not part of what a run is
      for name in [n for n in values if n.partition('.')[0] == 'mesh']:
        del values[name]
    copied = (self.source / resolved.source.path.name).exists()  # or `fitted` names it
    code = config_file.kept_code(resolved, self.source) if copied else []
    if before != now or code:
      differences = filter(None, [config_file.differences(before, now), *code])
      raise UserError(
        f'--workdir={self.path} holds another run: {"; ".join(differences)}; to go on '
        f'with that one: python run.py --workdir={self.path}; to run this one: use '
        f'another --workdir (with --init_from={self.path} it starts from the '
        'parameters there)')

  def keep(self, resolved: resolving.Resolved, data: dict) -> None:
    """Writes `source/`, `config.txt` and `data.json` of a run that is ready to start.
    """
    self._keep_source(resolved.source)
    if not self.config.is_file():
      self.write(self.config, config_file.to_text(resolved))
    self.keep_data(data)

  def keep_data(self, data: dict[str, Any]) -> None:
    """Writes `data.json`, with the seal of what is here; see `fitted`."""
    data = {**data, 'seal': self._seal(data['kept'])}
    if self.read_json(self.data) != data:
      self.write_json(self.data, data)

  def _keep_source(self, code: Source) -> None:
    """Copies the code of the experiment, all of it or nothing."""
    if self.source.is_dir():
      return
    scratch = self.path / '.source.tmp'
    with self.blame():
      shutil.rmtree(scratch, ignore_errors=True)
      for name, data in code.files.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, data, sync=True)
      os.replace(scratch, self.source)


def _step_of(line: bytes) -> int | None:
  """The step of a record; None if a line holds none."""
  try:
    step = json.loads(line)['step']
  except (ValueError, KeyError, TypeError, RecursionError):
    return None
  return step if type(step) is int else None


class RecordsFile:
  """`metrics.jsonl` and its like: one record a line, appended; cut back on resume.

  Attributes:
    records: how many there are.
  """

  def __init__(self, workdir: Workdir, path: pathlib.Path, step: int):
    """Opens the file and drops every record after `step`, and a torn last line.

    Raises:
      UserError: for a line that is not a record, or a disk that cannot be written.
    """
    self._workdir, self._hash = workdir, hashlib.sha256()
    with workdir.blame():
      self._file = open(path, 'a+b')  # noqa: SIM115
      self._file.seek(0)
      end = self.records = 0
      for line in iter(self._file.readline, b''):
        if not line.endswith(b'\n'):
          break
        found = _step_of(line)
        if found is None:
          raise UserError(f'{path}, line {self.records + 1}: must be a record, got '
                          f'{line[:80]!r}; mend or remove the file')
        if found > step:
          break
        end = self._file.tell()
        self.records += 1
        self._hash.update(line)
      self._file.truncate(end)
      self._file.seek(end)

  @property
  def digest(self) -> str:
    """Of all records; two files of the same have the same bytes."""
    return digests.of_hash(self._hash)

  def write(self, record: dict[str, Any]) -> None:
    """Appends a record; it is in the file when this returns."""
    line = (json.dumps(record) + '\n').encode()
    with self._workdir.blame():
      self._file.write(line)
      self._file.flush()
    self._hash.update(line)
    self.records += 1

  def sync(self) -> None:
    """Returns when all records would outlive a power failure."""
    with self._workdir.blame():
      os.fsync(self._file.fileno())

  def close(self) -> None:
    self._file.close()


def read_metrics(workdir: Workdir) -> list[dict[str, Any]]:
  """Every record of `metrics.jsonl`."""
  if not workdir.metrics.is_file():
    return []
  lines = workdir.metrics.read_text(encoding='utf-8').splitlines()
  return [json.loads(line) for line in lines]
