"""Event files, read back by TensorBoard's own framing."""

import struct

from tensorboardX.crc32c import crc32c
from tensorboardX.proto import event_pb2

from bigmodels.logs import event_file
from bigmodels.logs.tensorboard import TensorBoard
from bigmodels.storage.workdir import Workdir


def _events(path):
  """Reads length, checksum, event, checksum; checksums are masked CRC32C."""
  data, position = path.read_bytes(), 0

  def masked(part):
    crc = crc32c(part)
    return (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF

  while position < len(data):
    (length,) = struct.unpack('<Q', data[position:position + 8])
    (check,) = struct.unpack('<I', data[position + 8:position + 12])
    assert check == masked(data[position:position + 8])
    event = data[position + 12:position + 12 + length]
    position += 12 + length
    assert struct.unpack('<I', data[position:position + 4])[0] == masked(event)
    position += 4
    yield event_pb2.Event.FromString(event)


def test_checksums_are_those_of_the_rfc():
  assert event_file.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4
  assert event_file.crc32c(b'\xff' * 32) == 0x62A8AB43
  assert event_file.crc32c(bytes(range(32))) == 0x46DD794E


def test_numbers_that_do_not_fit_a_float32(tmp_path):
  board = TensorBoard(Workdir(tmp_path), 0)
  board.write(2**40, {'large': 1e300, 'nan': float('nan'), 'é' * 200: -1e300})
  board.close()
  (path,) = (tmp_path / 'tensorboard').glob('*')
  *_, event = _events(path)
  assert event.step == 2**40
  found = {v.tag: v.simple_value for v in event.summary.value}
  assert found['large'] == float('inf') and found['é' * 200] == -float('inf')


def test_scalars_and_the_step_a_resumed_run_starts_at(tmp_path):
  board = TensorBoard(Workdir(tmp_path), 30)
  board.write(40, {'train/loss': 0.5, 'test/f1/3': 0.25, 'test/loss': [1.0, 2.0],
                   'test/none': None, 'test/matrix': [[1, 2], [3, 4]]})
  board.close()
  (path,) = (tmp_path / 'tensorboard').glob('events.out.tfevents.*')
  version, start, scalars = _events(path)
  assert version.file_version == 'brain.Event:2'
  assert start.session_log.status == event_pb2.SessionLog.START and start.step == 31
  assert scalars.step == 40
  found = {v.tag: v.simple_value for v in scalars.summary.value}
  assert found == {
    'train/loss': 0.5, 'test/f1/3': 0.25, 'test/loss/0': 1, 'test/loss/1': 2}
