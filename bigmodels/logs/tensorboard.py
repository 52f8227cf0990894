"""TensorBoard event files, without TensorFlow."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from bigmodels.core.errors import escape_controls
from bigmodels.logs import event_file
from bigmodels.logs.values import scalars
from bigmodels.storage.workdir import Workdir


class TensorBoard:
  """Writes scalars synchronously, so that errors are raised where they occur."""

  def __init__(self, workdir: Workdir, step: int):
    """Starts an event file; TensorBoard then hides older events after `step`.

    Raises:
      UserError: if the disk cannot be written.
    """
    self._workdir = workdir
    name = f'events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}'
    with workdir.writing():
      workdir.tensorboard.mkdir(exist_ok=True)
      self._file = open(workdir.tensorboard / name, 'xb', buffering=0)  # noqa: SIM115
    self._add(event_file.version(time.time()))
    self._add(event_file.session_start(time.time(), step + 1 if step else 0))

  def write(self, step: int, record: Mapping[str, Any]) -> None:
    """Adds the metrics of a record; member 0 of a list is `name/0`.

    Args:
      step: step of the record.
      record: flat name -> logged value. None, and arrays of several axes, are skipped.

    Raises:
      UserError: if the disk cannot be written.
    """
    values = {escape_controls(name): value for name, value in scalars(record).items()}
    self._add(event_file.scalars(time.time(), step, values))

  def _add(self, event: bytes) -> None:
    with self._workdir.writing():
      self._file.write(event_file.framed(event))

  def close(self) -> None:
    """Closes the file."""
    self._file.close()
