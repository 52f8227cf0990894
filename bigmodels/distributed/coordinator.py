"""What process 0 keeps for all processes of a run: the one judge of who is lost.

A process introduces itself, and then says every tick how far its main thread has come.
What all processes are to know of each other is sent here by each, and back to all when
it is complete. Until a connection has proven itself, see `wire`, it has few bytes and
seconds; after that every message is checked too.
"""

import asyncio
import contextlib
import dataclasses
import secrets
import socket
from typing import Any

from bigmodels.core.errors import one_line
from bigmodels.distributed.wire import (
  MESSAGE,
  NAME,
  PROTOCOL,
  TEXT,
  WHY,
  Proofs,
  Wire,
  is_hex,
  pump,
  same,
)

AGAIN = ('start all processes again with the same command: the run goes on from its '
         'last checkpoint')
_STRANGERS = 128  # connections at a time that have not proven the secret
_HELLO = 10.0  # seconds until one of these is closed


def gone(who: str) -> str:
  """Says that processes closed their connection without a word."""
  return f'{who} is gone: killed, crashed or cut off; {AGAIN}'


def silent(who: str, seconds: float) -> str:
  """Says that nothing comes from processes any more."""
  return f'{who} has not been heard of for {seconds:g} s; {AGAIN}'


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
      wire.send({'protocol': PROTOCOL, 'secret': self._where, 'nonce': nonce})
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
      proofs = Proofs(key, nonce, hello)
      if same(hello['proof'], proofs.process):
        break
    else:
      if 0 <= hello['rank'] < self._count:
        self._unproven[hello['rank']] = wire.peer()
      raise ValueError('it does not know the secret of this run')
    refused = self._refuse(hello, key)
    wire.key, wire.most = key, MESSAGE
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
              f'started on {one_line(hello["host"], NAME)}')
    return None

  async def _keep(self, wire: Wire, hello: dict) -> None:
    """A process, as long as it is there."""
    rank, reason = hello['rank'], None
    peer = self._peers[rank] = Peer(one_line(hello['host'], NAME), wire)
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
      await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
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
        why = one_line(why, WHY)
        self._lose(f'{self._name(rank)} stopped: {why}', grace=1, but=rank)
        peer.wire.send({'turn': 0, 'all': []})
      case {'name': name, 'text': text, 'turn': turn, **rest} if (
        not rest and _is_text(name, NAME) and (text is None or _is_text(text, TEXT))
        and _is_int(turn, peer.turn + 1, peer.turn + 1)
        and peer.turn not in self._parts):  # one at a time
        peer.turn = turn
        self._take(rank, turn, [name, text])
      case _:
        keys = ', '.join(one_line(key, 20) for key in list(message)[:5])
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
    'host': lambda x: _is_text(x, NAME),
    'relay': lambda x: isinstance(x, bool),
    'nonce': is_hex,
    'proof': is_hex}
  if hello.keys() != rules.keys():
    raise ValueError(f'it must say {", ".join(rules)}, and nothing else')
  for name, rule in rules.items():
    if not rule(hello[name]):
      raise ValueError(f'{name} is not as it must be')


def _is_int(value: Any, low: int, high: int) -> bool:
  return type(value) is int and low <= value <= high  # a bool is not one


def _is_text(value: Any, most: int) -> bool:
  return isinstance(value, str) and len(value) <= most


async def _patiently(host: str, port: int) -> tuple[
    asyncio.StreamReader, asyncio.StreamWriter]:
  """Connects to what is about to listen there."""
  while True:
    try:
      return await asyncio.open_connection(host, port)
    except OSError:
      await asyncio.sleep(0.05)
