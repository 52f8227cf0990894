"""What process 0 keeps for all processes of a run: the one judge of who is lost.

A message is a line of JSON. A process introduces itself, and then says every tick how
far its main thread has come. What all processes are to know of each other is sent here
by each, and back to all when it is complete.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import socket
import time

from bigmodels.errors import UserError

LINE = 2**26  # bytes that one message may have
AGAIN = ('start all processes again with the same command: the run goes on from its '
         'last checkpoint')


def gone(who: str) -> str:
  """Says that processes closed their connection without a word."""
  return f'{who} is gone: killed, crashed or cut off; {AGAIN}'


def silent(who: str, seconds: float) -> str:
  """Says that nothing comes from processes any more."""
  return f'{who} has not been heard of for {seconds:g} s; {AGAIN}'


def send(writer: asyncio.StreamWriter, message: dict) -> None:
  """Sends a message without waiting for it to go."""
  writer.write(json.dumps(message).encode() + b'\n')


async def introduce(there: tuple[str, int], timeout: float, **hello) -> tuple[
    asyncio.StreamReader, asyncio.StreamWriter, dict]:
  """Connects to the hub and waits until all processes have.

  Args:
    there: host and port.
    timeout: seconds.
    **hello: rank, count and host.

  Returns:
    what comes from the hub, what goes to it, and what it said of all.

  Raises:
    UserError: if it is not there in time, or will not have this process.
  """
  end, reason, where = time.monotonic() + timeout, None, '{}:{}'.format(*there)
  while True:
    try:
      reader, writer = await asyncio.wait_for(
        asyncio.open_connection(*there, limit=LINE), end - time.monotonic())
      if len(set(map(writer.get_extra_info, ('sockname', 'peername')))) == 2:
        break
      writer.close()  # a socket may meet itself while nobody listens
    except OSError as error:
      known = (error.errno or 0) > 0
      reason = (os.strerror(error.errno) if known else error.strerror) or reason
      if time.monotonic() > end:
        raise UserError(
          f'process 0 cannot be reached at {where} within {timeout:g} s '
          f'({reason or "no answer"}): is it running, and is this its address?'
        ) from None
    await asyncio.sleep(0.2)
  send(writer, hello)
  welcome = {}
  while not welcome:  # the hub sends empty ones while it waits for the others
    try:
      welcome = json.loads(await asyncio.wait_for(reader.readline(), timeout))
    except (OSError, ValueError):
      raise UserError(f'what is at {where} does not answer as process 0 of a run does: '
                      'another program, or it was stopped') from None
  if 'refused' in welcome:
    raise UserError(welcome['refused'])
  return reader, writer, welcome


@dataclasses.dataclass
class Peer:
  """A process as the hub knows it.

  Attributes:
    host: name of its machine.
    writer: to it.
    mark: how far its main thread has come.
    failed: whether an error made it wait for word of who is lost.
    silent: ticks since it was heard.
    behind: ticks that others have been ahead of it since it came to its mark.
  """

  host: str
  writer: asyncio.StreamWriter
  mark: int = 0
  failed: bool = False
  silent: int = 0
  behind: int = 0


class Hub:
  """Hears every process, process 0 too, and tells all of them who is lost."""

  def __init__(self, count: int, hang_timeout: float, tick: float):
    """Args: how many processes; seconds until one is given up; seconds of a tick."""
    self._count, self._hang_timeout, self._tick = count, hang_timeout, tick
    self._peers: dict[int, Peer] = {}
    self._parts: dict[int, dict[int, list]] = {}
    self._whole = self._over = False

  async def open(self, port: int, jax_port: int) -> None:
    """Starts to listen.

    Args:
      port: of this machine, for the hub.
      jax_port: told to all, for JAX's own service.

    Raises:
      UserError: if the port cannot be had.
    """
    both = socket.has_dualstack_ipv6()
    try:
      listening = socket.create_server(
        ('', port), family=socket.AF_INET6 if both else socket.AF_INET,
        dualstack_ipv6=both, backlog=1024)
    except OSError as error:
      raise UserError(f'port {port} of this machine, where the processes are to meet, '
                      f'cannot be used: {os.strerror(error.errno)}') from None
    self._jax_port = jax_port
    self._server = await asyncio.start_server(self._serve, sock=listening, limit=LINE)
    self._judging = asyncio.create_task(self._judge())

  def _name(self, rank: int) -> str:
    return f'process {rank} of {self._count} ({self._peers[rank].host})'

  def _to_all(self, message: dict, but: int | None = None) -> None:
    for rank, peer in self._peers.items():
      if rank != but:
        send(peer.writer, message)

  def _lose(self, text: str, grace: float = 0, but: int | None = None) -> None:
    if not self._over:
      self._over = True
      self._to_all({'lost': text, 'grace': grace}, but)

  async def _serve(self, reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> None:
    """One connection, to its end."""
    peer = None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
      hello = json.loads(await reader.readline())
      rank, refused = hello['rank'], self._refuse(**hello)
      if refused:
        return send(writer, {'refused': refused})
      peer = self._peers[rank] = Peer(hello['host'], writer)
      if len(self._peers) == self._count:
        self._whole = True
        self._to_all({'hosts': [self._peers[i].host for i in range(self._count)],
                      'port': self._jax_port})
      while line := await reader.readline():
        self._hear(rank, peer, json.loads(line))
    if peer and self._whole:
      self._lose(gone(self._name(rank)))
    elif peer:
      del self._peers[rank]  # it may come back
    return None

  def _refuse(self, rank: int, count: int, host: str) -> str | None:
    if count != self._count:
      return (f'--num_processes={count}: process 0 was started with '
              f'--num_processes={self._count}')
    if rank in self._peers:
      return (f'--process_id={rank}: {self._name(rank)} is there already; this one was '
              f'started on {host}')
    return None

  def _hear(self, rank: int, peer: Peer, message: dict) -> None:
    peer.silent = 0
    peer.failed = message.get('failed', peer.failed)
    if message.get('mark', peer.mark) != peer.mark:
      peer.mark, peer.behind = message['mark'], 0
    if 'gone' in message:
      self._lose(f'{self._name(rank)} stopped: {message["gone"]}', grace=1, but=rank)
      send(peer.writer, {'turn': message['turn'], 'all': []})
    if 'name' in message:
      parts = self._parts.setdefault(message['turn'], {})
      parts[rank] = [message['name'], message['text']]
      if len(parts) == self._count:
        del self._parts[message['turn']]
        parts = [parts[i] for i in range(self._count)]
        self._over |= all(name == 'leave' for name, _ in parts)
        self._to_all({'turn': message['turn'], 'all': parts})

  async def _judge(self) -> None:
    """Counts ticks, not seconds: a machine that slept has lost nobody by that."""
    waited, patience = 0, self._hang_timeout / self._tick
    while not self._over:
      await asyncio.sleep(self._tick)
      self._to_all({})
      if not self._whole:
        waited += 1
        if waited > patience:
          missing = [str(i) for i in range(self._count) if i not in self._peers]
          self._to_all({'refused': f'of {self._count} processes, {", ".join(missing)} '
                        f'did not come within {self._hang_timeout:g} s'})
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


class Relay:
  """A port of this machine that stands for one of process 0, as long as this one lives.

  JAX ends a process as soon as its connection to process 0 closes, with a stack dump.
  This one never closes, which leaves it to the watch to say what happened.
  """

  def __init__(self, host: str, port: int):
    """Stands for that port of that host."""
    self._there, self._kept = (host, port), []

  async def open(self) -> int:
    """Starts to listen, and returns the port."""
    self._server = await asyncio.start_server(self._serve, '127.0.0.1', 0)
    return self._server.sockets[0].getsockname()[1]

  async def _serve(self, reader: asyncio.StreamReader,
                   writer: asyncio.StreamWriter) -> None:
    while True:
      try:
        there = await asyncio.open_connection(*self._there)
        break
      except OSError:
        await asyncio.sleep(0.05)  # JAX's service is about to start
    self._kept += [writer, there[1]]
    await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
  with contextlib.suppress(OSError):
    while data := await reader.read(2**16):
      writer.write(data)
      await writer.drain()
