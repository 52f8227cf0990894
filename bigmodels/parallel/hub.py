"""What process 0 keeps for all processes of a run: the one judge of who is lost.

A message is a line of JSON. A process introduces itself, and then says every tick how
far its main thread has come. What all processes are to know of each other is sent here
by each, and back to all when it is complete.

Anybody may connect, so both sides first prove that they know the secret of the run: the
hub sends a nonce, the process answers with who it is and an HMAC over both, and the hub
with one over the process's own nonce. The secret itself is never sent, and no proof is
of use twice. Before that a connection has few bytes and seconds; after it every message
is checked too. What is sent is not encrypted: whoever can read and alter the traffic
between the machines is not kept out.

JAX's own service knows no secret. It listens on the loopback interface of process 0,
and the others reach it through the hub (see `Relay`). The collectives themselves (Gloo,
NCCL) open ports of their own, without a secret.
"""

import asyncio
import contextlib
import dataclasses
import functools
import hmac
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from bigmodels.errors import UserError, in_a_line
from bigmodels.parallel import secret

TEXT = 20_000  # characters that a message may hold
AGAIN = ('start all processes again with the same command: the run goes on from its '
         'last checkpoint')
_PROTOCOL = 1
_STRANGER = 2**12  # bytes of a line before the secret is proven
_STRANGERS = 128  # of such connections at a time; the oldest goes first
_HELLO = 10.0  # seconds until such a connection is closed
_GRACE = 20.0  # seconds that a file may need to be seen on another machine
_MESSAGE = 12 * TEXT + 2**10  # bytes; a character takes up to 12 in JSON
_NAME = 200  # characters of the name of a machine that are shown
WHY = 2000  # of the reason why a process stopped


def gone(who: str) -> str:
  """Says that processes closed their connection without a word."""
  return f'{who} is gone: killed, crashed or cut off; {AGAIN}'


def silent(who: str, seconds: float) -> str:
  """Says that nothing comes from processes any more."""
  return f'{who} has not been heard of for {seconds:g} s; {AGAIN}'


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
    return in_a_line(address, _NAME)

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
    there, timeout, known, rank=rank, count=count, host=host[:_NAME], relay=False)
  wire.most = 2 * _MESSAGE + 2**12 * count
  welcome = {}
  while not welcome:  # the hub sends empty ones while it waits for the others
    try:
      welcome = await asyncio.wait_for(wire.read(), timeout)
    except (OSError, ValueError):
      welcome = None
    if welcome is None:
      raise UserError(_no_hub(there))
  if 'refused' in welcome:
    raise UserError(in_a_line(str(welcome['refused']), WHY))
  return wire, [in_a_line(str(host), _NAME) for host in welcome['hosts']]


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
  if not isinstance(where, str) or not _is_hex(theirs):
    raise ValueError('no challenge')
  if challenge.get('protocol') != _PROTOCOL:
    raise UserError(f'process 0 at {there} runs another version of bigmodels')
  hello = {**hello, 'nonce': secrets.token_hex(32)}
  try:
    key = known(where)
  except UserError:
    wire.send({**hello, 'proof': '0' * 64})  # process 0 is to know that this one came
    raise
  if key is None:
    return False
  proofs = _Proofs(key, theirs, hello)
  wire.send({**hello, 'proof': proofs.process})
  answer = await wire.read()
  if answer is None:
    return False
  if not _same(answer.get('proof'), proofs.hub):
    raise UserError(
      f'what is at {there} does not know the secret of this run: it belongs to another '
      f'run, or {secret.VARIABLE} is not the same for all processes')
  if 'refused' in answer:
    raise UserError(in_a_line(str(answer['refused']), WHY))
  wire.key = key
  return True


class _Proofs:
  """What only those can say who know the secret, of one connection."""

  def __init__(self, key: bytes, nonce: str, hello: dict):
    """Args: the secret; the nonce of the hub; what the process says, with its own."""
    said = [hello[name] for name in ('nonce', 'rank', 'count', 'host', 'relay')]

    def proof(who):
      text = json.dumps([_PROTOCOL, who, nonce, *said])
      return hmac.digest(key, text.encode(), 'sha256').hex()

    self.process, self.hub = proof('process'), proof('hub')


def _is_hex(text: Any) -> bool:
  return isinstance(text, str) and bool(re.fullmatch('[0-9a-f]{64}', text))


def _same(proof: Any, expected: str) -> bool:
  return _is_hex(proof) and hmac.compare_digest(proof, expected)


def _is_int(value: Any, low: int, high: int) -> bool:
  return type(value) is int and low <= value <= high  # a bool is not one


def _is_text(value: Any, most: int) -> bool:
  return isinstance(value, str) and len(value) <= most


# --- the hub --------------------------------------------------------------------


@dataclasses.dataclass
class Peer:
  """A process as the hub knows it.

  Attributes:
    host: name of its machine.
    wire: to it.
    mark: how far its main thread has come.
    turn: the number of the last text that it sent to all.
    failed: whether an error made it wait for word of who is lost.
    silent: ticks since it was heard.
    behind: ticks that others have been ahead of it since it came to its mark.
  """

  host: str
  wire: Wire
  mark: int = 0
  turn: int = 0
  failed: bool = False
  silent: int = 0
  behind: int = 0


class Hub:
  """Hears every process, process 0 too, and says to all of them who is lost.

  Attributes:
    own: a secret that process 0 alone has: who knows it is process 0.
  """

  def __init__(self, count: int, hang_timeout: float, tick: float, *, where: str,
               key: bytes):
    """Keeps a run together.

    Args:
      count: of processes.
      hang_timeout: seconds until one is given up.
      tick: seconds.
      where: the secret is, for those that look for it.
      key: the secret.
    """
    self._count, self._hang_timeout, self._tick = count, hang_timeout, tick
    self._where, self._key, self.own = where, key, secrets.token_bytes(32)
    self._peers: dict[int, Peer] = {}
    self._parts: dict[int, dict[int, list]] = {}
    self._strangers: dict[Wire, None] = {}
    self._unproven: dict[int, str] = {}
    self._whole = self._over = False

  async def open(self, listening: list[socket.socket], jax_port: int) -> None:
    """Starts to serve.

    Args:
      listening: sockets of the address where the processes meet.
      jax_port: of JAX's own service, on the loopback interface.
    """
    self._jax_port = jax_port
    self._servers = [await asyncio.start_server(self._serve, sock=each)
                     for each in listening]
    self._judging = asyncio.create_task(self._judge())

  def _name(self, rank: int) -> str:
    host = self._peers[rank].host if rank in self._peers else socket.gethostname()
    return f'process {rank} of {self._count} ({host})'

  def _to_all(self, message: dict, but: int | None = None) -> None:
    for rank, peer in self._peers.items():
      if rank != but:
        peer.wire.send(message)

  def _lose(self, text: str, grace: float = 0, but: int | None = None) -> None:
    if not self._over:
      self._over = True
      self._to_all({'lost': text, 'grace': grace}, but)

  async def _serve(self, reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> None:
    """One connection, to its end."""
    wire = Wire(reader, writer)
    if len(self._strangers) >= _STRANGERS:
      oldest = next(iter(self._strangers))  # a process of the run needs no time
      del self._strangers[oldest]
      oldest.abort()
    self._strangers[wire] = None
    try:
      nonce = secrets.token_hex(32)
      wire.send({'protocol': _PROTOCOL, 'secret': self._where, 'nonce': nonce})
      hello = await asyncio.wait_for(wire.read(), _HELLO)
      # From here until a process is among the peers nothing else may run.
      if hello is not None and self._prove(wire, hello, nonce):
        self._strangers.pop(wire, None)
        await (self._forward(wire) if hello['relay'] else self._keep(wire, hello))
    except ValueError as error:
      wire.send({'refused': str(error)})
    except OSError:
      pass  # cut off, or too slow
    finally:
      self._strangers.pop(wire, None)
      wire.close()

  def _prove(self, wire: Wire, hello: dict, nonce: str) -> bool:
    """Returns whether a process of the run may come in.

    Raises:
      ValueError: if it is not known to be one, saying why.
    """
    _check_hello(hello)
    for key in (self._key, self.own):
      proofs = _Proofs(key, nonce, hello)
      if _same(hello['proof'], proofs.process):
        break
    else:
      if 0 <= hello['rank'] < self._count:
        self._unproven[hello['rank']] = wire.peer()
      raise ValueError('it does not know the secret of this run')
    refused = self._refuse(hello, key)
    wire.key, wire.most = key, _MESSAGE
    wire.send({'proof': proofs.hub, **({'refused': refused} if refused else {})})
    return not refused

  def _refuse(self, hello: dict, key: bytes) -> str | None:
    rank, count = hello['rank'], hello['count']
    if count != self._count:
      return (f'--num_processes={count}: process 0 was started with '
              f'--num_processes={self._count}')
    if not 0 <= rank < count:
      return f'--process_id={rank}: with --num_processes={count} it is 0 to {count - 1}'
    if hello['relay']:
      return None if self._whole else 'not all processes are there'
    if rank in self._peers or (rank == 0) != (key is self.own):
      return (f'--process_id={rank}: {self._name(rank)} is there already; this one was '
              f'started on {in_a_line(hello["host"], _NAME)}')
    return None

  async def _keep(self, wire: Wire, hello: dict) -> None:
    """A process, as long as it is there."""
    rank, reason = hello['rank'], None
    peer = self._peers[rank] = Peer(in_a_line(hello['host'], _NAME), wire)
    if len(self._peers) == self._count:
      self._whole = True
      self._to_all({'hosts': [self._peers[i].host for i in range(self._count)]})
    with contextlib.suppress(OSError):
      try:
        while (message := await wire.read()) is not None:
          self._hear(rank, peer, message)
      except ValueError as error:
        reason = f'{self._name(rank)} is not understood: it sent {error}'
    if self._whole:
      self._lose(f'{reason}; {AGAIN}' if reason else gone(self._name(rank)))
      return
    del self._peers[rank]  # it may come back
    if reason:
      wire.send({'refused': reason})

  async def _forward(self, wire: Wire) -> None:
    """A connection to JAX's service, which has no other way from outside."""
    held, reader, writer = wire.raw()
    there = await _patiently('127.0.0.1', self._jax_port)
    there[1].write(held)
    try:
      await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
    finally:
      there[1].close()

  def _hear(self, rank: int, peer: Peer, message: dict) -> None:
    """Takes what a process says.

    Raises:
      ValueError: if it cannot be meant.
    """
    if not self._whole:
      raise ValueError('a message before all processes were there')
    peer.silent = 0
    match message:
      case {'mark': mark, 'failed': bool(failed), **rest} if not rest and _is_int(
        mark, peer.mark, 2**53):
        peer.failed = failed
        if mark != peer.mark:
          peer.mark, peer.behind = mark, 0
      case {'gone': why, 'turn': 0, **rest} if not rest and _is_text(why, TEXT):
        why = in_a_line(why, WHY)
        self._lose(f'{self._name(rank)} stopped: {why}', grace=1, but=rank)
        peer.wire.send({'turn': 0, 'all': []})
      case {'name': name, 'text': text, 'turn': turn, **rest} if (
        not rest and _is_text(name, _NAME) and (text is None or _is_text(text, TEXT))
        and _is_int(turn, peer.turn + 1, peer.turn + 1)
        and peer.turn not in self._parts):  # one at a time
        peer.turn = turn
        self._take(rank, turn, [name, text])
      case _:
        keys = ', '.join(in_a_line(key, 20) for key in list(message)[:5])
        raise ValueError(f'a message of no known kind or value (of {keys})')

  def _take(self, rank: int, turn: int, part: list) -> None:
    parts = self._parts.setdefault(turn, {})
    parts[rank] = part
    if len(parts) == self._count:
      del self._parts[turn]
      parts = [parts[i] for i in range(self._count)]
      self._over |= all(name == 'leave' for name, _ in parts)
      self._to_all({'turn': turn, 'all': parts})

  async def _judge(self) -> None:
    """Counts ticks, not seconds: a machine that slept has lost nobody by that."""
    waited, patience = 0, self._hang_timeout / self._tick
    while not self._over:
      await asyncio.sleep(self._tick)
      self._to_all({})
      if not self._whole:
        waited += 1
        if waited > patience:
          self._to_all({'refused': self._missing()})
          self._over = True
        continue
      most = max(peer.mark for peer in self._peers.values())
      for peer in self._peers.values():
        peer.silent += 1
        waits = peer.mark == most or peer.failed
        peer.behind = 0 if waits else peer.behind + 1
      lost = [r for r, peer in self._peers.items() if peer.silent > patience]
      hanging = [r for r, peer in self._peers.items() if peer.behind > patience]
      if lost:
        self._lose(silent(', '.join(map(self._name, lost)), self._hang_timeout))
      elif hanging:
        who = ', '.join(map(self._name, hanging))
        self._lose(f'{who} hangs: the others have waited for it for '
                   f'{self._hang_timeout:g} s; {AGAIN}')

  def _missing(self) -> str:
    missing = [i for i in range(self._count) if i not in self._peers]
    strange = [f'{i} from {self._unproven[i]}' for i in missing if i in self._unproven]
    return (f'of {self._count} processes, {", ".join(map(str, missing))} did not come '
            f'within {self._hang_timeout:g} s' + (
              f'; what came as {", ".join(strange[:3])} does not know the secret of '
              'this run' if strange else ''))


def _check_hello(hello: dict) -> None:
  """Raises ValueError, saying what is wrong, unless it is one that can be proven."""
  rules = {
    'rank': lambda x: _is_int(x, -2**31, 2**31),
    'count': lambda x: _is_int(x, -2**31, 2**31),
    'host': lambda x: _is_text(x, _NAME),
    'relay': lambda x: isinstance(x, bool),
    'nonce': _is_hex,
    'proof': _is_hex}
  if hello.keys() != rules.keys():
    raise ValueError(f'it must say {", ".join(rules)}, and nothing else')
  for name, rule in rules.items():
    if not rule(hello[name]):
      raise ValueError(f'{name} is not as it must be')


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
    await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))


async def _patiently(host: str, port: int) -> tuple[
    asyncio.StreamReader, asyncio.StreamWriter]:
  """Connects to what is about to listen there."""
  while True:
    try:
      return await asyncio.open_connection(host, port)
    except OSError:
      await asyncio.sleep(0.05)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  with contextlib.suppress(OSError):
    while data := await reader.read(2**16):
      writer.write(data)
      await writer.drain()
