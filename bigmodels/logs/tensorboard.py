"""TensorBoard event files, without TensorFlow."""

import logging
import pathlib


class TensorBoard:
  """Writes scalars; event files of a stopped run are cut at the step it goes on."""

  def __init__(self, folder: pathlib.Path, step: int):
    import tensorboardX

    logging.getLogger('tensorboardX').setLevel(logging.ERROR)
    # What an earlier process wrote after the checkpoint is hidden from view.
    purge = step + 1 if step or folder.is_dir() else None
    self._writer = tensorboardX.SummaryWriter(str(folder), purge_step=purge)

  def write(self, step: int, record: dict[str, float]) -> None:
    for name, value in record.items():
      self._writer.add_scalar(name, value, step)

  def close(self) -> None:
    self._writer.close()
