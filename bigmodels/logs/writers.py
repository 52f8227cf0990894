"""All that a running loop tells people: `metrics.jsonl`, TensorBoard, progress."""

import numpy as np

from bigmodels.logs.progress import Progress
from bigmodels.logs.tensorboard import TensorBoard
from bigmodels.storage import snapshots
from bigmodels.storage.workdir import RecordsFile, Workdir


class Writers:
  """What one process of a run writes; the others have `Silent`."""

  def __init__(self, workdir: Workdir, step: int, steps: int, batch_size: int):
    """Opens the files, cut back to `step` of `steps`."""
    self._workdir = workdir
    self._metrics = RecordsFile(workdir, workdir.metrics, step)
    self._utilization = RecordsFile(workdir, workdir.utilization, step)
    self._tensorboard = TensorBoard(workdir, step)
    self._progress = Progress(steps, batch_size, step)
    self.records = self._metrics.records

  @property
  def digest(self) -> str:
    """Of the log of metrics."""
    return self._metrics.digest

  def write(self, step: int, record: dict[str, float]) -> None:
    """Adds metrics to the log. They hold no times: two equal runs have equal logs."""
    self._metrics.write({'step': step, **record})
    self._tensorboard.write(step, record)

  def utilization(self, step: int, record: dict[str, float]) -> None:
    """Adds how well the devices were used."""
    self._utilization.write({'step': step, **record})
    self._tensorboard.write(step, {f'utilization/{k}': v for k, v in record.items()})

  def snapshot(self, step: int, split: str, arrays: dict[str, np.ndarray]) -> None:
    """Keeps arrays of an evaluation, `[...]` each, for the report."""
    snapshots.write(self._workdir, step, split, arrays)

  def log(self, step: int, record: dict[str, float], seconds: float) -> None:
    """Shows training metrics."""
    self._progress.log(step, record, seconds)

  def update(self, step: int, seconds: float) -> None:
    """Shows how far training is."""
    self._progress.update(step, seconds)

  def say(self, text: str) -> None:
    """Prints a line."""
    self._progress.say(text)

  def sync(self) -> None:
    """Returns when all records would outlive a power failure."""
    self._metrics.sync()

  def close(self) -> None:
    for file in (self._progress, self._tensorboard, self._utilization, self._metrics):
      file.close()


class Silent(Writers):
  """Writes nothing."""

  digest = ''

  def __init__(self, records: int):
    """As if all `records` were there."""
    self.records = records

  def write(self, step, record):
    pass

  def utilization(self, step, record):
    pass

  def snapshot(self, step, split, arrays):
    pass

  def log(self, step, record, seconds):
    pass

  def update(self, step, seconds):
    pass

  def say(self, text):
    pass

  def sync(self):
    pass

  def close(self):
    pass
