"""Authenticated connections between the processes of a run.

A message is a JSON object on a line. Anybody can connect to process 0, so both sides
first prove that they know the secret of the run: the coordinator sends a nonce, the
process answers with its rank and an HMAC over both, and the coordinator with an HMAC
over the process's own nonce. The secret itself is never sent, and no proof can be
replayed. Messages are not encrypted: this does not protect against anybody who reads
and alters the traffic between the machines.

JAX's own service has no authentication. It listens on the loopback interface of process
0, and the other processes reach it through the coordinator (see `Relay`). The
collectives themselves (Gloo, NCCL) open ports of their own, without authentication.
"""

import asyncio
import contextlib
import functools
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

from bigmodels.core.errors import UserError, one_line
from bigmodels.distributed import secret

PROTOCOL = 2
# In characters.
MAX_TEXT = 20_000  # of a message
MAX_REASON = 2000  # of why a process stopped
MAX_NAME = 200  # of the name of a machine
# In bytes.
MAX_MESSAGE = 12 * MAX_TEXT + 2**10  # a character takes up to 12 in JSON
_MAX_HELLO = 2**12  # a line of a side that has not proven itself
_FILE_DELAY = 20.0  # seconds until a file is seen on another machine


class Connection:
  """A connection whose messages are JSON objects, one a line.

  Attributes:
    max_bytes: of a line to read.
    key: the secret with which the other side has proven itself.
  """

  def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    """Wraps a connection whose other side has not proven itself yet."""
    self.max_bytes, self.key = _MAX_HELLO, b''
    self._reader, self._writer, self._buffer = reader, writer, bytearray()

  def send(self, message: dict) -> None:
    """Queues a message."""
    self._writer.write(json.dumps(message).encode() + b'\n')

  async def read(self) -> dict | None:
    """Returns the next message, or None at the end.

    Raises:
      ValueError: if a line is not a message, with what it is instead.
      OSError: if the connection breaks.
    """
    while (end := self._buffer.find(b'\n')) < 0:
      self._check_length(len(self._buffer))
      data = await self._reader.read(2**16)
      if not data:
        return None
      self._buffer += data
    line = bytes(self._buffer[:end])
    del self._buffer[:end + 1]
    self._check_length(len(line))
    try:
      message = json.loads(line.decode())
    except (ValueError, RecursionError):
      raise ValueError('a line that is not JSON') from None
    if not isinstance(message, dict):
      raise ValueError('JSON that is not an object')
    return message

  def _check_length(self, length: int) -> None:
    if length > self.max_bytes:
      raise ValueError(f'a line of more than {self.max_bytes} bytes')

  def peer(self) -> str:
    """The address of the other side."""
    name = self._writer.get_extra_info('peername')
    address = str(name[0]).removeprefix('::ffff:') if name else 'an unknown address'
    return one_line(address, MAX_NAME)

  def detach(self) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """Gives up the connection: the bytes read ahead, its reader and its writer."""
    buffered, self._buffer = bytes(self._buffer), bytearray()
    return buffered, self._reader, self._writer

  def close(self) -> None:
    """Closes the connection after all queued messages are sent."""
    self._writer.close()

  def abort(self) -> None:
    """Closes the connection at once."""
    self._writer.transport.abort()


# --- the side of a process ------------------------------------------------------


async def connect(address: tuple[str, int], timeout: float,
                  find_secret: Callable[..., bytes | None], **hello) -> Connection:
  """Connects to the coordinator; both sides prove that they know the secret.

  Args:
    address: host and port.
    timeout: seconds.
    find_secret: (location, last=whether no time for another try is left) -> the secret,
      or None if it cannot be seen yet; as `secret.find`.
    **hello: rank, count, host and relay.

  Raises:
    UserError: if this fails within `timeout`, or the coordinator refuses the process.
  """
  end, grace = time.monotonic() + timeout, None
  while True:
    connection = await _open(address, end, timeout)
    try:
      challenge = await asyncio.wait_for(connection.read(), end - time.monotonic())
      if challenge is not None:
        grace = grace or min(end - 1, time.monotonic() + _FILE_DELAY)
        last = time.monotonic() > grace
        proven = _authenticate(connection, '{}:{}'.format(*address), challenge, hello,
                               functools.partial(find_secret, last=last))
        if await asyncio.wait_for(proven, end - time.monotonic()):
          return connection
      connection.abort()  # closed by the other side, or the secret is not visible yet
    except (TimeoutError, ValueError):
      connection.abort()
      raise UserError(_not_a_coordinator(address)) from None
    except OSError:
      connection.abort()
    except BaseException:
      connection.close()
      raise
    await asyncio.sleep(0.2)


async def register(address: tuple[str, int], timeout: float,
                   find_secret: Callable[..., bytes | None], *, rank: int,
                   count: int, host: str) -> tuple[Connection, list[str]]:
  """Connects to the coordinator and waits until all processes have.

  Args:
    address: host and port.
    timeout: seconds.
    find_secret: as in `connect`.
    rank: of this process.
    count: of processes.
    host: name of this machine.

  Returns:
    The connection, and the hosts of all processes.

  Raises:
    UserError: as `connect`; or if the other processes do not connect.
  """
  connection = await connect(address, timeout, find_secret, rank=rank, count=count,
                             host=host[:MAX_NAME], relay=False)
  connection.max_bytes = 2 * MAX_MESSAGE + 2**12 * count
  welcome = {}
  while not welcome:  # empty messages are heartbeats, while others are missing
    try:
      welcome = await asyncio.wait_for(connection.read(), timeout)
    except (OSError, ValueError):
      welcome = None
    if welcome is None:
      raise UserError(_not_a_coordinator(address))
  if 'refused' in welcome:
    raise UserError(one_line(str(welcome['refused']), MAX_REASON))
  return connection, [one_line(str(host), MAX_NAME) for host in welcome['hosts']]


def _not_a_coordinator(address: tuple[str, int]) -> str:
  return ('what is at {}:{} does not answer as process 0 of a run does: another '
          'program, or it was stopped'.format(*address))


async def _open(address: tuple[str, int], end: float, timeout: float) -> Connection:
  """Opens a connection, with new attempts until the time `end`."""
  reason = None
  while True:
    try:
      reader, writer = await asyncio.wait_for(
        asyncio.open_connection(*address), end - time.monotonic())
      if len(set(map(writer.get_extra_info, ('sockname', 'peername')))) == 2:
        return Connection(reader, writer)
      writer.close()  # a socket can connect to itself while nobody listens
    except OSError as error:
      known = (error.errno or 0) > 0
      reason = (os.strerror(error.errno) if known else error.strerror) or reason
      if time.monotonic() > end:
        raise UserError(
          'process 0 cannot be reached at {}:{} within '.format(*address) +
          f'{timeout:g} s ({reason or "no answer"}): is it running, and is this its '
          'address?') from None
    await asyncio.sleep(0.2)


async def _authenticate(connection: Connection, address: str, challenge: dict,
                        hello: dict, find_secret: Callable[[str], bytes | None]
                        ) -> bool:
  """Proves this side and checks the other.

  Returns:
    Whether both are proven. If not, another attempt may succeed.

  Raises:
    ValueError: if the other side is not a coordinator.
    UserError: if it is that of another run or version, or refuses this process.
  """
  location, nonce = challenge.get('secret'), challenge.get('nonce')
  if not isinstance(location, str) or not is_hex(nonce):
    raise ValueError('not a challenge')
  if challenge.get('protocol') != PROTOCOL:
    raise UserError(f'process 0 at {address} runs another version of bigmodels')
  hello = {**hello, 'nonce': secrets.token_hex(32)}
  try:
    key = find_secret(location)
  except UserError:
    connection.send({**hello, 'proof': '0' * 64})  # for the error of process 0
    raise
  if key is None:
    return False
  proofs = Proofs(key, nonce, hello)
  connection.send({**hello, 'proof': proofs.process})
  answer = await connection.read()
  if answer is None:
    return False
  if not is_proof(answer.get('proof'), proofs.coordinator):
    raise UserError(
      f'what is at {address} does not know the secret of this run: it belongs to '
      f'another run, or {secret.VARIABLE} is not the same for all processes')
  if 'refused' in answer:
    raise UserError(one_line(str(answer['refused']), MAX_REASON))
  connection.key = key
  return True


class Proofs:
  """The proofs of both sides of a connection, which need the secret to compute.

  Attributes:
    process: the proof of the process.
    coordinator: that of the coordinator.
  """

  def __init__(self, key: bytes, nonce: str, hello: dict):
    """Computes both.

    Args:
      key: the secret.
      nonce: of the coordinator.
      hello: what the process sends, with its own nonce.
    """
    fields = [hello[name] for name in ('nonce', 'rank', 'count', 'host', 'relay')]

    def proof(side):
      text = json.dumps([PROTOCOL, side, nonce, *fields])
      return hmac.digest(key, text.encode(), 'sha256').hex()

    self.process, self.coordinator = proof('process'), proof('coordinator')


def is_hex(text: Any) -> bool:
  """Whether a value has the form of a nonce or proof: 64 hexadecimal digits."""
  return isinstance(text, str) and bool(re.fullmatch('[0-9a-f]{64}', text))


def is_proof(proof: Any, expected: str) -> bool:
  """Whether a value is the expected proof, compared in constant time."""
  return is_hex(proof) and hmac.compare_digest(proof, expected)


class Relay:
  """A local port that forwards to JAX's service, for the lifetime of this process.

  JAX ends a process as soon as its connection to process 0 closes, with a stack dump.
  A connection to this port never closes, so that `ConnectedProcesses` reports what
  happened instead. It is forwarded through the coordinator, which authenticates this
  process.
  """

  def __init__(self, address: tuple[str, int], key: bytes, **hello):
    """Forwards to the service behind a coordinator.

    Args:
      address: host and port of the coordinator.
      key: the secret.
      **hello: rank, count and host of this process.
    """
    self._address, self._key, self._hello = address, key, hello
    self._writers = []  # without a reference they would be closed

  async def open(self) -> int:
    """Starts to listen, and returns the port."""
    self._server = await asyncio.start_server(self._serve, '127.0.0.1', 0)
    return self._server.sockets[0].getsockname()[1]

  async def _serve(self, reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> None:
    while True:
      try:
        connection = await connect(self._address, 60, lambda location, last: self._key,
                                   **self._hello, relay=True)
        break
      except UserError:
        await asyncio.sleep(0.05)  # if process 0 is gone, this process soon ends
    buffered, remote_reader, remote_writer = connection.detach()
    self._writers += [writer, remote_writer]
    writer.write(buffered)
    await asyncio.gather(pump(reader, remote_writer), pump(remote_reader, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  """Copies everything from a reader to a writer, until the end."""
  with contextlib.suppress(OSError):
    while data := await reader.read(2**16):
      writer.write(data)
      await writer.drain()
