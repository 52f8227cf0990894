"""TensorBoard event files, without TensorFlow."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from bigmodels.core.errors import escape_controls
from bigmodels.logs.values import scalars
from bigmodels.storage.workdir import Workdir


class TensorBoard:
  """Writes scalars synchronously, so that errors are raised where they occur."""

  def __init__(self, workdir: Workdir, step: int):
    """Starts an event file; TensorBoard then hides older events after `step`.

    Raises:
      UserError: if the disk cannot be written.
    """
    from tensorboardX import record_writer
    from tensorboardX.proto import event_pb2

    self._workdir, self._event = workdir, event_pb2.Event
    name = f'events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}'
    with workdir.writing():
      workdir.tensorboard.mkdir(exist_ok=True)
      self._file = record_writer.RecordWriter(str(workdir.tensorboard / name))
    self._add(file_version='brain.Event:2')
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._add(step=step + 1 if step else 0, session_log=start)

  def write(self, step: int, record: Mapping[str, Any]) -> None:
    """Adds the metrics of a record; member 0 of a list is `name/0`.

    Args:
      step: step of the record.
      record: flat name -> logged value. None, and arrays of several axes, are skipped.

    Raises:
      UserError: if the disk cannot be written.
    """
    from tensorboardX.proto import summary_pb2

    values = [summary_pb2.Summary.Value(tag=escape_controls(name),
                                        simple_value=float(value))
              for name, value in scalars(record).items()]
    self._add(step=step, summary=summary_pb2.Summary(value=values))

  def _add(self, **fields) -> None:
    with self._workdir.writing():
      event = self._event(wall_time=time.time(), **fields)
      self._file.write(event.SerializeToString())
      self._file.flush()

  def close(self) -> None:
    """Closes the file."""
    self._file.close()
