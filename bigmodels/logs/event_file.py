"""TensorBoard's event files: protocol buffers in the framing of TFRecord.

Libraries that write them import TensorFlow or PyTorch where these are installed, which
takes seconds.
"""

import functools
import math
import struct
from collections.abc import Mapping

_POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected


@functools.cache
def _table() -> tuple[int, ...]:
  found = []
  for value in range(256):
    for _ in range(8):
      value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    found.append(value)
  return tuple(found)


def crc32c(data: bytes) -> int:
  """The CRC-32C of bytes (Castagnoli; RFC 3720, appendix B.4)."""
  table, value = _table(), 0xFFFFFFFF
  for byte in data:
    value = table[(value ^ byte) & 0xFF] ^ value >> 8
  return value ^ 0xFFFFFFFF


def framed(event: bytes) -> bytes:
  """An event as a record: length, checksum, event, checksum."""
  length = struct.pack('<Q', len(event))
  return length + _masked(length) + event + _masked(event)


def _masked(data: bytes) -> bytes:
  crc = crc32c(data)
  return struct.pack('<I', ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def version(time: float) -> bytes:
  """The first event of a file."""
  return _event(time, 0, _field(3, b'brain.Event:2'))


def session_start(time: float, step: int) -> bytes:
  """An event that makes TensorBoard hide older events from this step on."""
  return _event(time, step, _field(7, b'\x08\x01'))  # SessionLog.START


def scalars(time: float, step: int, values: Mapping[str, float]) -> bytes:
  """An event with scalars.

  Args:
    time: seconds since 1970.
    step: of all values.
    values: name -> number.
  """
  return _event(time, step, _field(5, b''.join(
    _field(1, _field(1, name.encode()) + b'\x15' + _float32(value))
    for name, value in values.items())))


def _event(time: float, step: int, content: bytes) -> bytes:
  return b'\x09' + struct.pack('<d', time) + b'\x10' + _varint(step) + content


def _field(number: int, data: bytes) -> bytes:
  """A field of bytes, a text or a message."""
  return _varint(number << 3 | 2) + _varint(len(data)) + data


def _float32(value: float) -> bytes:
  try:
    return struct.pack('<f', value)
  except OverflowError:  # as protocol buffers round it
    return struct.pack('<f', math.copysign(math.inf, value))


def _varint(value: int) -> bytes:
  found = bytearray()
  while value > 127:
    found.append(value & 127 | 128)
    value >>= 7
  return bytes([*found, value])
