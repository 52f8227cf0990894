"""The runs below a folder, read as data: nothing of them is imported or executed.

Of each run only `config.txt`, `result.json` and the end of `metrics.jsonl` are read, so
that thousands take seconds. This file does not import JAX.
"""

import fcntl
import json
import math
import os
import pathlib
import stat
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from bigmodels.core import config_text, digests
from bigmodels.core.errors import UserError

_END = 1 << 16  # bytes of a log in which its last records are looked for
_LARGEST = 1 << 24  # bytes of a config or a result
# Any of these in a folder makes it a run.
_FILES = ('config.txt', 'metrics.jsonl', '.lock')


class RunSummary(NamedTuple):
  """A run, as its files describe it.

  Attributes:
    name: path of its workdir below the folder.
    path: path of its workdir.
    experiment: name of the experiment, '' if it is not known.
    state: 'finished', 'stopped' (saved, to be resumed), 'running' (locked), 'failed'
      (ended without saving: an error or a kill) or 'damaged'.
    step: that of the result, or of the last record; None before there is one.
    seconds: of training, evaluation and checkpoints; None if it is not known.
    metrics: name -> number: of the best checkpoint, or the latest ones while there is
      no result. A metric of members is their mean.
    monitor: the metric that the run monitors, or None.
    config: path -> text; `knob.NAME` is the argument NAME of `config()`.
    problem: what is damaged, or ''.
  """

  name: str
  path: pathlib.Path
  experiment: str
  state: str
  step: int | None
  seconds: float | None
  metrics: dict[str, float]
  monitor: str | None
  config: dict[str, str]
  problem: str = ''


def find(root: pathlib.Path, say: Callable[[str], None]) -> list[RunSummary]:
  """All runs below a folder, or in it, the oldest first.

  Args:
    root: the folder.
    say: prints a line about a folder that cannot be read.
  """
  found = sorted(_folders(root, say))
  return [read(path, root) for _, path in found]


def _folders(root: pathlib.Path, say) -> Iterator[tuple[float, pathlib.Path]]:
  """When each run began, and its folder; there are no runs inside runs."""
  waiting = [root]
  while waiting:
    folder = waiting.pop()
    try:
      with os.scandir(folder) as entries:
        inside = {entry.name: entry for entry in entries}
    except OSError as error:
      say(f'{folder}: cannot be read: {error.strerror}')
      continue
    name = next((name for name in _FILES if name in inside), None)
    if name:
      yield inside[name].stat(follow_symlinks=False).st_mtime, folder
    else:
      waiting += [folder / entry.name for entry in inside.values()
                  if entry.is_dir(follow_symlinks=False)]


def read(path: pathlib.Path, root: pathlib.Path) -> RunSummary:
  """Reads a run.

  Args:
    path: of its workdir.
    root: the folder of all runs.
  """
  problems: list[str] = []

  def read_file(name, how):
    try:
      return how(path / name)
    except FileNotFoundError:
      return {}
    except (OSError, ValueError, RecursionError, UserError) as error:
      problems.append(f'{name}: {error}')
      return {}

  config = read_file('config.txt', lambda file: config_text.read(_text(file)))
  result = read_file('result.json', _result)
  last = read_file('metrics.jsonl', _last_records)
  step = last.get('step')
  if result.get('status') == 'finished':
    state = 'finished'
  elif _locked(path / '.lock'):
    state = 'running'
  # It was resumed after it had stopped, and then killed.
  elif result and (step or 0) <= (result.get('step') or 0):
    state = 'stopped'
  else:
    state = 'failed'
    result = {}
  metrics = result.get('metrics') or last
  monitor = config_text.plain(config.get('monitor.metric', 'None'))
  seconds = [result.get(f'{name}_seconds') for name in ('train', 'evaluate',
                                                        'checkpoint')]
  return RunSummary(
    str(path.relative_to(root)) if path != root else path.resolve().name, path,
    str(config_text.plain(config.get('experiment', str(result.get('experiment', ''))))),
    'damaged' if problems else state, result.get('step', step),
    sum(seconds) if all(_is_number(s) for s in seconds) else None,
    {name: value for name, each in metrics.items()
     if name != 'step' and (value := _mean(each)) is not None},
    None if monitor == 'None' else str(monitor), config, '; '.join(problems))


def _require_file(path: pathlib.Path) -> None:
  """Refuses a pipe or a device, which could be read for ever."""
  if not stat.S_ISREG(path.stat().st_mode):
    raise ValueError('is not a file')


def _text(path: pathlib.Path) -> str:
  _require_file(path)
  if path.stat().st_size > _LARGEST:
    raise ValueError(f'is larger than {_LARGEST >> 20} MB')
  return path.read_text(encoding='utf-8')


def _result(path: pathlib.Path) -> dict[str, Any]:
  result = json.loads(_text(path))
  if not digests.is_intact(result):
    raise ValueError('is not as a run wrote it')
  return result


def _last_records(path: pathlib.Path) -> dict[str, Any]:
  """The latest value of each metric, near the end of a log."""
  _require_file(path)
  with open(path, 'rb') as file:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END))
    text = file.read()
  lines = text[:text.rfind(b'\n') + 1].splitlines()  # the last may be half written
  found: dict[str, Any] = {}
  for line in lines[1:] if size > _END else lines:
    record = json.loads(line)
    if not isinstance(record, dict) or type(record.get('step')) is not int:
      raise ValueError(f'must have records, got {line[:40]!r}')
    found |= record
  return found


def _locked(path: pathlib.Path) -> bool:
  try:
    _require_file(path)
    with open(path, 'rb') as file:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
      return False
  except BlockingIOError:
    return True
  except (OSError, ValueError):
    return False


def _is_number(value: Any) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


def _mean(value: Any) -> float | None:
  """A number, or the mean of a list of numbers; None for anything else."""
  if _is_number(value):
    return float(value)
  if isinstance(value, list) and value and all(map(_is_number, value)):
    return math.fsum(value) / len(value)
  return None


def curves(path: pathlib.Path, names: set[str]) -> dict[str, dict[int, float]]:
  """Metric -> step -> value, for some metrics of a run; lines without any are skipped.

  Args:
    path: of its workdir.
    names: of the metrics.
  """
  found: dict[str, dict[int, float]] = {name: {} for name in names}
  try:
    _require_file(path / 'metrics.jsonl')
    with open(path / 'metrics.jsonl', 'rb') as file:
      for line in file:
        record = json.loads(line)
        for name in names & record.keys():
          if (value := _mean(record[name])) is not None:
            found[name][int(record['step'])] = value
  except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
    pass  # drawn as far as it can be read; the table says what is damaged
  return found
