"""All that a running loop shows: `metrics.jsonl`, TensorBoard, the progress bar."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodels.logs.progress_bar import ProgressBar
from bigmodels.logs.tensorboard import TensorBoard
from bigmodels.storage import snapshots
from bigmodels.storage.records import RecordsFile
from bigmodels.storage.workdir import Workdir


class Writers:
  """The logs of a run, written by one of its processes; the others have `Silent`.

  Attributes:
    records: lines of the log of metrics.
  """

  def __init__(self, workdir: Workdir, step: int, steps: int, batch_size: int):
    """Opens the files and drops every record after `step`.

    Args:
      workdir: of the run.
      step: where the run is.
      steps: of the whole run.
      batch_size: examples a step.

    Raises:
      UserError: if a log cannot be read, or the disk not be written.
    """
    self._workdir = workdir
    self._metrics = RecordsFile(workdir, workdir.metrics, step)
    self._utilization = RecordsFile(workdir, workdir.utilization, step)
    self._tensorboard = TensorBoard(workdir, step)
    self._progress_bar = ProgressBar(steps, batch_size, step)
    self.records = self._metrics.records

  @property
  def digest(self) -> str:
    """The digest of the log of metrics."""
    return self._metrics.digest

  def write(self, step: int, record: Mapping[str, Any]) -> None:
    """Adds metrics to the log. It holds no times: equal runs have equal logs.

    Args:
      step: of the record.
      record: flat name -> number, or (nested) list of numbers.
    """
    self._metrics.write({'step': step, **record})
    self._tensorboard.write(step, record)

  def utilization(self, step: int, record: Mapping[str, float]) -> None:
    """Adds how well the devices were used."""
    self._utilization.write({'step': step, **record})
    self._tensorboard.write(step, {f'utilization/{k}': v for k, v in record.items()})

  def snapshot(self, step: int, split: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Keeps arrays of an evaluation for the report.

    Args:
      step: of the evaluation.
      split: that was evaluated.
      arrays: name -> `[...]`.
    """
    snapshots.write(self._workdir, step, split, arrays)

  def log(self, step: int, record: Mapping[str, Any], seconds: float) -> None:
    """Shows training metrics.

    Args:
      step, record, seconds: see `ProgressBar.log`.
    """
    self._progress_bar.log(step, record, seconds)

  def update(self, step: int, seconds: float) -> None:
    """Shows how far training is; see `ProgressBar.update`."""
    self._progress_bar.update(step, seconds)

  def say(self, text: str) -> None:
    """Prints a line."""
    self._progress_bar.say(text)

  def sync(self) -> None:
    """Returns when all records would outlive a power failure."""
    self._metrics.sync()

  def close(self) -> None:
    """Closes all files; none may be written after that."""
    for file in (self._progress_bar, self._tensorboard, self._utilization,
                 self._metrics):
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
