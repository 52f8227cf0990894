"""Event files, read back by TensorBoard's own framing."""

import struct

from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2

from bigmodels.logs.tensorboard import TensorBoard
from bigmodels.storage.workdir import Workdir


def _events(path):
  """Reads length, checksum, event, checksum; checksums are masked CRC32C."""
  data, place = path.read_bytes(), 0

  def masked(part):
    crc = crc32c(part)
    return (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF

  while place < len(data):
    (length,) = struct.unpack('<Q', data[place:place + 8])
    (check,) = struct.unpack('<I', data[place + 8:place + 12])
    assert check == masked(data[place:place + 8])
    event = data[place + 12:place + 12 + length]
    place += 12 + length
    assert struct.unpack('<I', data[place:place + 4])[0] == masked(event)
    place += 4
    yield event_pb2.Event.FromString(event)


def test_scalars_and_the_step_a_resumed_run_starts_at(tmp_path):
  board = TensorBoard(Workdir(tmp_path), 30)
  board.write(40, {'train/loss': 0.5, 'test/f1/3': 0.25})
  board.close()
  (path,) = (tmp_path / 'tensorboard').glob('events.out.tfevents.*')
  version, start, scalars = _events(path)
  assert version.file_version == 'brain.Event:2'
  assert start.session_log.status == event_pb2.SessionLog.START and start.step == 31
  assert scalars.step == 40
  found = {v.tag: v.simple_value for v in scalars.summary.value}
  assert found == {'train/loss': 0.5, 'test/f1/3': 0.25}
