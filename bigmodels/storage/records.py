"""The records of a run: `metrics.jsonl`, `utilization.jsonl`, and `result.json`."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from bigmodels.core import digests
from bigmodels.core.errors import UserError
from bigmodels.storage.workdir import Workdir


def _step_of(line: bytes) -> int | None:
  """The step of a record; None if a line is not a record."""
  try:
    step = json.loads(line)['step']
  except (ValueError, KeyError, TypeError, RecursionError):
    return None
  return step if type(step) is int else None


class RecordsFile:
  """A file to which records are appended, and which is cut back on resume.

  Attributes:
    records: how many there are.
  """

  def __init__(self, workdir: Workdir, path: pathlib.Path, step: int):
    """Opens the file and drops every record after a step, and a torn last line.

    Args:
      workdir: of the run.
      path: of the file.
      step: of the last record that stays.

    Raises:
      UserError: for a line that is not a record, or a disk that cannot be written.
    """
    self._workdir, self._hash = workdir, hashlib.sha256()
    with workdir.writing():
      self._file = open(path, 'a+b')  # noqa: SIM115
      self._file.seek(0)
      end = self.records = 0
      for line in iter(self._file.readline, b''):
        if not line.endswith(b'\n'):
          break
        found = _step_of(line)
        if found is None:
          raise UserError(f'{path}, line {self.records + 1}: must be a record, got '
                          f'{line[:80]!r}; repair or remove the file')
        if found > step:
          break
        end = self._file.tell()
        self.records += 1
        self._hash.update(line)
      self._file.truncate(end)
      self._file.seek(end)

  @property
  def digest(self) -> str:
    """The digest of all records: files with the same digest have the same bytes."""
    return digests.of_hash(self._hash)

  def write(self, record: dict[str, Any]) -> None:
    """Appends a record; it is in the file when this returns.

    Raises:
      UserError: for a disk that cannot be written.
    """
    line = (json.dumps(record) + '\n').encode()
    with self._workdir.writing():
      self._file.write(line)
      self._file.flush()
    self._hash.update(line)
    self.records += 1

  def sync(self) -> None:
    """Returns when all records would outlive a power failure.

    Raises:
      UserError: for a disk that cannot be written.
    """
    with self._workdir.writing():
      os.fsync(self._file.fileno())

  def close(self) -> None:
    self._file.close()


def read_metrics(workdir: Workdir) -> list[dict[str, Any]]:
  """Every record of `metrics.jsonl`; none if there is no such file."""
  if not workdir.metrics.is_file():
    return []
  lines = workdir.metrics.read_text(encoding='utf-8').splitlines()
  return [json.loads(line) for line in lines]


def read_result(workdir: Workdir, say: Callable[[str], None]) -> dict[str, Any] | None:
  """What `result.json` holds; None if there is none, or not as a run wrote it."""
  if not workdir.result.exists():
    return None
  with contextlib.suppress(UserError):
    result = workdir.read_json(workdir.result)
    if digests.is_intact(result):
      return result
  say(f'{workdir.result} is not as a run wrote it, and is not used')
  return None
