"""The coordinator in process 0, which detects lost processes and gathers texts.

A process registers, and then reports every tick how far its main thread has come. A
text that all processes are to know is sent here by each, and all of them are sent back
once they are complete. Before a connection has proven itself (see `connection`), its
bytes and its time are limited; later messages are checked too.
"""

import asyncio
import contextlib
import dataclasses
import secrets
import socket
from typing import Any

from bigmodels.core.errors import one_line
from bigmodels.distributed.connection import (
  MAX_MESSAGE,
  MAX_NAME,
  MAX_REASON,
  MAX_TEXT,
  PROTOCOL,
  Connection,
  Proofs,
  is_hex,
  is_proof,
  pump,
)

RESTART = ('restart all processes with the same command: the run resumes from its last '
           'checkpoint')
_MAX_UNPROVEN = 128  # connections at a time that have not proven the secret
_HELLO_TIMEOUT = 10.0  # seconds until one of these is closed


def gone_message(processes: str) -> str:
  """The error after processes closed their connection without an error."""
  return f'{processes} is gone: killed, crashed or disconnected; {RESTART}'


def silent_message(processes: str, seconds: float) -> str:
  """The error after processes stopped sending."""
  return f'{processes} has not responded for {seconds:g} s; {RESTART}'


@dataclasses.dataclass
class Peer:
  """The state of a process in the coordinator.

  Attributes:
    host: name of its machine.
    connection: to it.
    progress: how far its main thread has come.
    round: the number of the last gathering that it sent a text for.
    failed: whether it waits, after an error, for a report of a lost process.
    silent: ticks since its last message.
    behind: ticks that others have been ahead of it since its last progress.
  """

  host: str
  connection: Connection
  progress: int = 0
  round: int = 0
  failed: bool = False
  silent: int = 0
  behind: int = 0


class Coordinator:
  """Serves all processes, also process 0, and reports lost ones to the others.

  Attributes:
    main_key: a secret known to process 0 only, which proves that a process is it.
  """

  def __init__(self, count: int, hang_timeout: float, tick: float, *, location: str,
               key: bytes):
    """Creates the coordinator of a run.

    Args:
      count: of processes.
      hang_timeout: seconds until a silent or hanging process is lost.
      tick: seconds between two checks.
      location: of the secret, for the processes.
      key: the secret.
    """
    self._count, self._hang_timeout, self._tick = count, hang_timeout, tick
    self._location, self._key = location, key
    self.main_key = secrets.token_bytes(32)
    self._peers: dict[int, Peer] = {}
    self._texts: dict[int, dict[int, list]] = {}  # round -> rank -> name, text
    self._unproven: dict[Connection, None] = {}
    self._rejected: dict[int, str] = {}  # rank -> address that had another secret
    self._complete = self._ended = False

  async def open(self, listening: list[socket.socket], jax_port: int) -> None:
    """Starts to serve.

    Args:
      listening: sockets at the address of the coordinator.
      jax_port: of JAX's own service, on the loopback interface.
    """
    self._jax_port = jax_port
    self._servers = [await asyncio.start_server(self._serve, sock=each)
                     for each in listening]
    self._monitoring = asyncio.create_task(self._monitor())

  def _name(self, rank: int) -> str:
    host = self._peers[rank].host if rank in self._peers else socket.gethostname()
    return f'process {rank} of {self._count} ({host})'

  def _send_all(self, message: dict, except_for: int | None = None) -> None:
    for rank, peer in self._peers.items():
      if rank != except_for:
        peer.connection.send(message)

  def _fail(self, text: str, grace: float = 0, except_for: int | None = None) -> None:
    if not self._ended:
      self._ended = True
      self._send_all({'failure': text, 'grace': grace}, except_for)

  async def _serve(self, reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> None:
    """Serves one connection until it ends."""
    connection = Connection(reader, writer)
    if len(self._unproven) >= _MAX_UNPROVEN:
      oldest = next(iter(self._unproven))  # processes of the run prove themselves fast
      del self._unproven[oldest]
      oldest.abort()
    self._unproven[connection] = None
    try:
      nonce = secrets.token_hex(32)
      connection.send({'protocol': PROTOCOL, 'secret': self._location, 'nonce': nonce})
      hello = await asyncio.wait_for(connection.read(), _HELLO_TIMEOUT)
      # From here until a process is among the peers nothing may be awaited.
      if hello is not None and self._authenticate(connection, hello, nonce):
        self._unproven.pop(connection, None)
        await (self._serve_relay(connection) if hello['relay'] else
               self._serve_process(connection, hello))
    except ValueError as error:
      connection.send({'refused': str(error)})
    except OSError:
      pass  # disconnected, or too slow
    finally:
      self._unproven.pop(connection, None)
      connection.close()

  def _authenticate(self, connection: Connection, hello: dict, nonce: str) -> bool:
    """Returns whether to accept the process that sent `hello`.

    Raises:
      ValueError: if it has not proven that it knows the secret, with the reason.
    """
    _check_hello(hello)
    for key in (self._key, self.main_key):
      proofs = Proofs(key, nonce, hello)
      if is_proof(hello['proof'], proofs.process):
        break
    else:
      if 0 <= hello['rank'] < self._count:
        self._rejected[hello['rank']] = connection.peer()
      raise ValueError('it does not know the secret of this run')
    refused = self._refusal(hello, key)
    connection.key, connection.max_bytes = key, MAX_MESSAGE
    connection.send(
      {'proof': proofs.coordinator, **({'refused': refused} if refused else {})})
    return not refused

  def _refusal(self, hello: dict, key: bytes) -> str | None:
    rank, count = hello['rank'], hello['count']
    if count != self._count:
      return (f'--num_processes={count}: process 0 was started with '
              f'--num_processes={self._count}')
    if not 0 <= rank < count:
      return (f'--process_id={rank}: must be 0 to {count - 1}, of '
              f'--num_processes={count}')
    if hello['relay']:
      return None if self._complete else 'not all processes have connected'
    if rank in self._peers or (rank == 0) != (key is self.main_key):
      return (f'--process_id={rank}: {self._name(rank)} has already connected; this '
              f'one was started on {one_line(hello["host"], MAX_NAME)}')
    return None

  async def _serve_process(self, connection: Connection, hello: dict) -> None:
    rank, reason = hello['rank'], None
    peer = self._peers[rank] = Peer(one_line(hello['host'], MAX_NAME), connection)
    if len(self._peers) == self._count:
      self._complete = True
      self._send_all({'hosts': [self._peers[i].host for i in range(self._count)]})
    with contextlib.suppress(OSError):
      try:
        while (message := await connection.read()) is not None:
          self._handle(rank, peer, message)
      except ValueError as error:
        reason = f'{self._name(rank)} sent {error}'
    if self._complete:
      self._fail(f'{reason}; {RESTART}' if reason else gone_message(self._name(rank)))
      return
    del self._peers[rank]  # it may connect again
    if reason:
      connection.send({'refused': reason})

  async def _serve_relay(self, connection: Connection) -> None:
    """Forwards a connection to JAX's service, which listens on loopback only."""
    buffered, reader, writer = connection.detach()
    jax_reader, jax_writer = await _open_when_ready('127.0.0.1', self._jax_port)
    jax_writer.write(buffered)
    try:
      await asyncio.gather(pump(reader, jax_writer), pump(jax_reader, writer))
    finally:
      jax_writer.close()

  def _handle(self, rank: int, peer: Peer, message: dict) -> None:
    """Handles a message of a process.

    Raises:
      ValueError: if it is invalid.
    """
    if not self._complete:
      raise ValueError('a message before all processes had connected')
    peer.silent = 0
    match message:
      case {'progress': progress, 'failed': bool(failed), **rest} if (
        not rest and _is_int(progress, peer.progress, 2**53)):
        peer.failed = failed
        if progress != peer.progress:
          peer.progress, peer.behind = progress, 0
      case {'error': error, 'round': 0, **rest} if not rest and _is_text(
        error, MAX_TEXT):
        error = one_line(error, MAX_REASON)
        self._fail(f'{self._name(rank)} stopped: {error}', grace=1, except_for=rank)
        peer.connection.send({'round': 0, 'gathered': []})
      case {'name': name, 'text': text, 'round': number, **rest} if (
        not rest and _is_text(name, MAX_NAME)
        and (text is None or _is_text(text, MAX_TEXT))
        and _is_int(number, peer.round + 1, peer.round + 1)
        and peer.round not in self._texts):  # one at a time
        peer.round = number
        self._gather(rank, number, [name, text])
      case _:
        keys = ', '.join(one_line(key, 20) for key in list(message)[:5])
        raise ValueError(f'an invalid message, of the keys {keys}')

  def _gather(self, rank: int, number: int, text: list) -> None:
    texts = self._texts.setdefault(number, {})
    texts[rank] = text
    if len(texts) == self._count:
      del self._texts[number]
      texts = [texts[i] for i in range(self._count)]
      self._ended |= all(name == 'leave' for name, _ in texts)
      self._send_all({'round': number, 'gathered': texts})

  async def _monitor(self) -> None:
    """Detects lost processes; in ticks, since a suspended machine loses nobody."""
    waited, limit = 0, self._hang_timeout / self._tick
    while not self._ended:
      await asyncio.sleep(self._tick)
      self._send_all({})
      if not self._complete:
        waited += 1
        if waited > limit:
          self._send_all({'refused': self._missing()})
          self._ended = True
        continue
      most = max(peer.progress for peer in self._peers.values())
      for peer in self._peers.values():
        peer.silent += 1
        waits = peer.progress == most or peer.failed
        peer.behind = 0 if waits else peer.behind + 1
      silent = [r for r, peer in self._peers.items() if peer.silent > limit]
      hanging = [r for r, peer in self._peers.items() if peer.behind > limit]
      if silent:
        self._fail(silent_message(
          ', '.join(map(self._name, silent)), self._hang_timeout))
      elif hanging:
        names = ', '.join(map(self._name, hanging))
        self._fail(f'{names} hangs: the others have waited for it for '
                   f'{self._hang_timeout:g} s; {RESTART}')

  def _missing(self) -> str:
    missing = [i for i in range(self._count) if i not in self._peers]
    rejected = [f'{i} from {self._rejected[i]}' for i in missing if i in self._rejected]
    return (f'of {self._count} processes, {", ".join(map(str, missing))} did not '
            f'connect within {self._hang_timeout:g} s' + (
              f'; what connected as {", ".join(rejected[:3])} does not know the secret '
              'of this run' if rejected else ''))


def _check_hello(hello: dict) -> None:
  """Raises ValueError unless the fields of a hello have valid values."""
  rules = {
    'rank': lambda x: _is_int(x, -2**31, 2**31),
    'count': lambda x: _is_int(x, -2**31, 2**31),
    'host': lambda x: _is_text(x, MAX_NAME),
    'relay': lambda x: isinstance(x, bool),
    'nonce': is_hex,
    'proof': is_hex}
  if hello.keys() != rules.keys():
    raise ValueError(f'the fields must be {", ".join(rules)}')
  for name, rule in rules.items():
    if not rule(hello[name]):
      raise ValueError(f'{name}: not a valid value')


def _is_int(value: Any, low: int, high: int) -> bool:
  return type(value) is int and low <= value <= high  # not a bool


def _is_text(value: Any, most: int) -> bool:
  return isinstance(value, str) and len(value) <= most


async def _open_when_ready(host: str, port: int) -> tuple[
    asyncio.StreamReader, asyncio.StreamWriter]:
  """Opens a connection to a port that is about to listen."""
  while True:
    try:
      return await asyncio.open_connection(host, port)
    except OSError:
      await asyncio.sleep(0.05)
