"""TensorBoard event files, without TensorFlow."""

import os
import socket
import time

from bigmodels.core.errors import shown
from bigmodels.storage.workdir import Workdir


class TensorBoard:
  """Writes scalars, at once and in this thread: what goes wrong is told as it is."""

  def __init__(self, workdir: Workdir, step: int):
    """Starts an event file; what older files have after `step` is hidden from view."""
    from tensorboardX import record_writer
    from tensorboardX.proto import event_pb2

    self._workdir, self._event = workdir, event_pb2.Event
    name = f'events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}'
    with workdir.blame():
      workdir.tensorboard.mkdir(exist_ok=True)
      self._file = record_writer.RecordWriter(str(workdir.tensorboard / name))
    self._add(file_version='brain.Event:2')
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._add(step=step + 1 if step else 0, session_log=start)

  def write(self, step: int, record: dict[str, float]) -> None:
    """Adds every metric of a record."""
    from tensorboardX.proto import summary_pb2

    values = [summary_pb2.Summary.Value(tag=shown(name), simple_value=value)
              for name, value in record.items()]
    self._add(step=step, summary=summary_pb2.Summary(value=values))

  def _add(self, **fields) -> None:
    with self._workdir.blame():
      event = self._event(wall_time=time.time(), **fields)
      self._file.write(event.SerializeToString())
      self._file.flush()

  def close(self) -> None:
    self._file.close()
