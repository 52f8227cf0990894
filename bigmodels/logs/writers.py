"""The outputs of a running loop: `metrics.jsonl`, TensorBoard, the progress bar."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodels.logs.progress_bar import ProgressBar
from bigmodels.logs.tensorboard import TensorBoard
from bigmodels.storage import snapshots
from bigmodels.storage.records import RecordsFile
from bigmodels.storage.workdir import Workdir


class Writers:
  """The logs of a run. One of its processes writes them; the others use `Silent`.

  Attributes:
    records: number of lines of the log of metrics.
  """

  def __init__(self, workdir: Workdir, step: int, steps: int, batch_size: int,
               say: Callable[[str], None] | None = None, *, shown: bool = True):
    """Opens the files and drops every record after `step`.

    Args:
      workdir: workdir of the run.
      step: current step of the run.
      steps: number of steps of the whole run.
      batch_size: examples per step.
      say: prints a line; see `ProgressBar`.
      shown: whether anything is shown.

    Raises:
      UserError: if a log cannot be read, or the disk cannot be written.
    """
    self._workdir = workdir
    self._metrics = RecordsFile(workdir, workdir.metrics, step)
    self._utilization = RecordsFile(workdir, workdir.utilization, step)
    self._tensorboard = TensorBoard(workdir, step)
    self._progress_bar = ProgressBar(steps, batch_size, step, say) if shown else None
    self.records = self._metrics.records

  @property
  def digest(self) -> str:
    """The digest of the log of metrics."""
    return self._metrics.digest

  def write(self, step: int, record: Mapping[str, Any]) -> None:
    """Adds metrics to the log. It contains no times: equal runs have equal logs.

    Args:
      step: step of the record.
      record: flat name -> number, or (nested) list of numbers.
    """
    self._metrics.write({'step': step, **record})
    self._tensorboard.write(step, record)

  def utilization(self, step: int, record: Mapping[str, float]) -> None:
    """Adds the utilization of the devices."""
    self._utilization.write({'step': step, **record})
    self._tensorboard.write(step, {f'utilization/{k}': v for k, v in record.items()})

  def snapshot(self, step: int, split: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Saves arrays of an evaluation for the report.

    Args:
      step: step of the evaluation.
      split: name of the evaluated split.
      arrays: name -> `[...]`.
    """
    snapshots.write(self._workdir, step, split, arrays)

  def log(self, step: int, record: Mapping[str, Any], seconds: float) -> None:
    """Shows training metrics.

    Args:
      step, record, seconds: see `ProgressBar.log`.
    """
    if self._progress_bar:
      self._progress_bar.log(step, record, seconds)

  def update(self, step: int, seconds: float) -> None:
    """Shows the progress of training; see `ProgressBar.update`."""
    if self._progress_bar:
      self._progress_bar.update(step, seconds)

  def say(self, text: str) -> None:
    """Prints a line."""
    if self._progress_bar:
      self._progress_bar.say(text)

  def sync(self) -> None:
    """Returns when all records would survive a power failure."""
    self._metrics.sync()

  def close(self) -> None:
    """Closes all files; nothing may be written after that."""
    for file in (self._progress_bar, self._tensorboard, self._utilization,
                 self._metrics):
      if file:
        file.close()


class Silent(Writers):
  """Writes nothing, in the processes other than the first."""

  digest = ''

  def __init__(self, records: int):
    """Takes the number of records that the log should have."""
    self.records = records

  def _nothing(self, *args):
    pass

  write = utilization = snapshot = log = update = say = sync = close = _nothing
