"""The connections of the processes of a run, on which both sides are known.

A message is a line of JSON. Anybody may connect to process 0, so both sides first prove
that they know the secret of the run: the hub sends a nonce, the process answers with
who it is and an HMAC over both, and the hub with one over the process's own nonce. The
secret itself is never sent, and no proof is of use twice. What is sent is not
encrypted: whoever can read and alter the traffic between the machines is not kept out.

JAX's own service knows no secret. It listens on the loopback interface of process 0,
and the others reach it through the hub (see `Relay`). The collectives themselves (Gloo,
NCCL) open ports of their own, without a secret.
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

TEXT = 20_000  # characters that a message may hold
WHY = 2000  # of the reason why a process stopped
NAME = 200  # characters of the name of a machine that are shown
PROTOCOL = 1
_STRANGER = 2**12  # bytes of a line before the secret is proven
_GRACE = 20.0  # seconds that a file may need to be seen on another machine
MESSAGE = 12 * TEXT + 2**10  # bytes; a character takes up to 12 in JSON


class Wire:
  """A connection, of which every message is a JSON object on a line.

  Attributes:
    most: bytes that a line may have which comes.
    key: the secret by which the other side is known.
  """

  def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    """Takes a connection on which nothing is proven yet."""
    self.most, self.key = _STRANGER, b''
    self._reader, self._writer, self._held = reader, writer, bytearray()

  def send(self, message: dict) -> None:
    """Sends a message without waiting for it to go."""
    self._writer.write(json.dumps(message).encode() + b'\n')

  async def read(self) -> dict | None:
    """Returns the next message, or None at the end.

    Raises:
      ValueError: if what comes is not one, saying why.
      OSError: if the connection breaks.
    """
    while (end := self._held.find(b'\n')) < 0:
      if len(self._held) > self.most:
        raise ValueError(f'a line of more than {self.most} bytes')
      data = await self._reader.read(2**16)
      if not data:
        return None
      self._held += data
    line = bytes(self._held[:end])
    del self._held[:end + 1]
    if len(line) > self.most:
      raise ValueError(f'a line of more than {self.most} bytes')
    try:
      message = json.loads(line.decode())
    except (ValueError, RecursionError):
      raise ValueError('a line that is not JSON') from None
    if not isinstance(message, dict):
      raise ValueError('JSON that is not an object')
    return message

  def peer(self) -> str:
    """The address of the other side."""
    name = self._writer.get_extra_info('peername')
    address = str(name[0]).removeprefix('::ffff:') if name else 'an unknown address'
    return one_line(address, NAME)

  def raw(self) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """Gives the connection away: what has come already, what comes, what goes."""
    held, self._held = bytes(self._held), bytearray()
    return held, self._reader, self._writer

  def close(self) -> None:
    """Closes when what was sent has gone."""
    self._writer.close()

  def abort(self) -> None:
    """Closes at once."""
    self._writer.transport.abort()


# --- the side of a process ------------------------------------------------------


async def greet(there: tuple[str, int], timeout: float,
                known: Callable[..., bytes | None], **hello) -> Wire:
  """Connects to the hub; both sides prove that they know the secret.

  Args:
    there: host and port.
    timeout: seconds.
    known: (where it is, last=whether there is no time to try again) -> the secret, or
      None if it is not there yet, as `secret.find`.
    **hello: rank, count, host and relay.

  Raises:
    UserError: if it is not there in time, or does not have this process.
  """
  end, grace = time.monotonic() + timeout, None
  while True:
    wire = await _reach(there, end, timeout)
    try:
      challenge = await asyncio.wait_for(wire.read(), end - time.monotonic())
      if challenge is not None:
        grace = grace or min(end - 1, time.monotonic() + _GRACE)
        last = time.monotonic() > grace
        proven = _prove(wire, '{}:{}'.format(*there), challenge, hello,
                        functools.partial(known, last=last))
        if await asyncio.wait_for(proven, end - time.monotonic()):
          return wire
      wire.abort()  # cut off, or the secret is not to be seen yet
    except (TimeoutError, ValueError):
      wire.abort()
      raise UserError(_no_hub(there)) from None
    except OSError:
      wire.abort()
    except BaseException:
      wire.close()
      raise
    await asyncio.sleep(0.2)


async def introduce(there: tuple[str, int], timeout: float,
                    known: Callable[..., bytes | None], *, rank: int,
                    count: int, host: str) -> tuple[Wire, list[str]]:
  """Connects to the hub and waits until all processes have.

  Args:
    there: host and port.
    timeout: seconds.
    known: as of `greet`.
    rank: of this process.
    count: of processes.
    host: name of this machine.

  Returns:
    the connection, and the hosts of all.

  Raises:
    UserError: if it is not there in time, or does not have this process.
  """
  wire = await greet(
    there, timeout, known, rank=rank, count=count, host=host[:NAME], relay=False)
  wire.most = 2 * MESSAGE + 2**12 * count
  welcome = {}
  while not welcome:  # the hub sends empty ones while it waits for the others
    try:
      welcome = await asyncio.wait_for(wire.read(), timeout)
    except (OSError, ValueError):
      welcome = None
    if welcome is None:
      raise UserError(_no_hub(there))
  if 'refused' in welcome:
    raise UserError(one_line(str(welcome['refused']), WHY))
  return wire, [one_line(str(host), NAME) for host in welcome['hosts']]


def _no_hub(there: tuple[str, int]) -> str:
  return ('what is at {}:{} does not answer as process 0 of a run does: another '
          'program, or it was stopped'.format(*there))


async def _reach(there: tuple[str, int], end: float, timeout: float) -> Wire:
  """Connects, again and again until the end."""
  reason = None
  while True:
    try:
      reader, writer = await asyncio.wait_for(
        asyncio.open_connection(*there), end - time.monotonic())
      if len(set(map(writer.get_extra_info, ('sockname', 'peername')))) == 2:
        return Wire(reader, writer)
      writer.close()  # a socket may meet itself while nobody listens
    except OSError as error:
      known = (error.errno or 0) > 0
      reason = (os.strerror(error.errno) if known else error.strerror) or reason
      if time.monotonic() > end:
        raise UserError(
          'process 0 cannot be reached at {}:{} within '.format(*there) +
          f'{timeout:g} s ({reason or "no answer"}): is it running, and is this its '
          'address?') from None
    await asyncio.sleep(0.2)


async def _prove(wire: Wire, there: str, challenge: dict, hello: dict,
                 known: Callable[[str], bytes | None]) -> bool:
  """Returns whether both sides are proven; if not, another try may do."""
  where, theirs = challenge.get('secret'), challenge.get('nonce')
  if not isinstance(where, str) or not is_hex(theirs):
    raise ValueError('no challenge')
  if challenge.get('protocol') != PROTOCOL:
    raise UserError(f'process 0 at {there} runs another version of bigmodels')
  hello = {**hello, 'nonce': secrets.token_hex(32)}
  try:
    key = known(where)
  except UserError:
    wire.send({**hello, 'proof': '0' * 64})  # process 0 is to know that this one came
    raise
  if key is None:
    return False
  proofs = Proofs(key, theirs, hello)
  wire.send({**hello, 'proof': proofs.process})
  answer = await wire.read()
  if answer is None:
    return False
  if not same(answer.get('proof'), proofs.hub):
    raise UserError(
      f'what is at {there} does not know the secret of this run: it belongs to another '
      f'run, or {secret.VARIABLE} is not the same for all processes')
  if 'refused' in answer:
    raise UserError(one_line(str(answer['refused']), WHY))
  wire.key = key
  return True


class Proofs:
  """What only those can say who know the secret, of one connection."""

  def __init__(self, key: bytes, nonce: str, hello: dict):
    """Args: the secret; the nonce of the hub; what the process says, with its own."""
    said = [hello[name] for name in ('nonce', 'rank', 'count', 'host', 'relay')]

    def proof(who):
      text = json.dumps([PROTOCOL, who, nonce, *said])
      return hmac.digest(key, text.encode(), 'sha256').hex()

    self.process, self.hub = proof('process'), proof('hub')


def is_hex(text: Any) -> bool:
  """Whether what came is a nonce or proof: 64 hexadecimal digits."""
  return isinstance(text, str) and bool(re.fullmatch('[0-9a-f]{64}', text))


def same(proof: Any, expected: str) -> bool:
  """Whether what came is the proof, in a time that does not depend on it."""
  return is_hex(proof) and hmac.compare_digest(proof, expected)


class Relay:
  """A port of this machine that stands for JAX's service, as long as this one lives.

  JAX ends a process as soon as its connection to process 0 closes, with a stack dump.
  This one never closes, which leaves it to the watch to say what happened. It leads to
  the service through the hub, which lets in who knows the secret.
  """

  def __init__(self, there: tuple[str, int], key: bytes, **hello):
    """Stands for the service behind that hub.

    Args:
      there: host and port of the hub.
      key: the secret.
      **hello: rank, count and host of this process.
    """
    self._there, self._key, self._hello, self._kept = there, key, hello, []

  async def open(self) -> int:
    """Starts to listen, and returns the port."""
    self._server = await asyncio.start_server(self._serve, '127.0.0.1', 0)
    return self._server.sockets[0].getsockname()[1]

  async def _serve(self, reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> None:
    while True:
      try:
        wire = await greet(
          self._there, 60, lambda where, last: self._key, **self._hello, relay=True)
        break
      except UserError:
        await asyncio.sleep(0.05)  # if process 0 is gone, the watch ends this one
    held, *there = wire.raw()
    self._kept += [writer, there[1]]
    writer.write(held)
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  """Hands on all that comes, to the end."""
  with contextlib.suppress(OSError):
    while data := await reader.read(2**16):
      writer.write(data)
      await writer.drain()
