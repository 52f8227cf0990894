"""Several processes of a run: they connect, agree on texts, and detect lost ones.

Process 0 contains a `Coordinator`, which listens at the address of the run. Every
process has one connection to it, and reports once a second how far its main thread has
come. The coordinator detects lost processes; then all others end with the same line,
from a thread, since their main threads wait in a collective. JAX's own service is kept
from detecting it: it would end them with a stack dump that does not name the process.

The coordinator listens at that address only, and accepts who knows the secret of the
run (see `secret`); JAX's service is reached through it. Only the ports of the
collectives themselves remain open to others on the network: Gloo and NCCL have neither
authentication nor encryption. The network should be trusted.
"""

import asyncio
import atexit
import collections
import contextlib
import functools
import inspect
import itertools
import multiprocessing
import os
import pathlib
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import jax

from bigmodels.core import digests
from bigmodels.core.errors import UserError, one_line
from bigmodels.distributed import cluster, secret
from bigmodels.distributed.cluster import Address
from bigmodels.distributed.connection import MAX_REASON, MAX_TEXT, Relay, register
from bigmodels.distributed.coordinator import Coordinator, gone_message, silent_message
from bigmodels.distributed.group import ProcessGroup

_CHUNK = MAX_TEXT - 100  # characters of a longer text in a message
# In the errors of JAX, Gloo and NCCL after another process has failed.
_OF_PEERS = re.compile('gloo|nccl|peer|socket|connection|unavailable|deadline|timeout',
                       re.IGNORECASE)


class ConnectedProcesses(ProcessGroup):
  """The processes of a run of several."""

  def __init__(self, address: Address, hang_timeout: float,
               devices: Sequence[int] | None, shared: pathlib.Path | None = None):
    """Connects to all others.

    Args:
      address, hang_timeout, shared: see `processes.join`.
      devices: local devices of this process, from `cluster.find`; None for all.
    """
    self.rank, self.count = address.process_id, address.num_processes
    self.main = self.rank == 0
    self._hang_timeout, self._tick = hang_timeout, min(1.0, hang_timeout / 10)
    self._progress = self._silent = self._round = 0
    self._failed = self._failure_received = self._left = False
    self._gathering: dict[int, asyncio.Future] = {}  # by round
    self._ending = threading.Lock()  # its holder says why this process ends
    self._loop = asyncio.new_event_loop()
    self._loop.set_exception_handler(lambda *_: None)  # of tasks pending at the exit
    threading.Thread(
      target=self._loop.run_forever, name='processes', daemon=True).start()
    self._connect(address, devices, shared)

  def mark_progress(self) -> None:
    """See `ProcessGroup.mark_progress`."""
    self._progress += 1

  def announce(self) -> None:
    """See `ProcessGroup.announce`."""
    devices = jax.local_devices()
    ids = sorted(d.id for d in devices)
    in_row = ids == list(range(ids[0], ids[-1] + 1)) and len(ids) > 1
    shown = f'{ids[0]}-{ids[-1]}' if in_row else ', '.join(map(str, ids))
    print(f'process {self.rank} of {self.count} on {self._hosts[self.rank]}: '
          f'{len(devices)} x {devices[0].device_kind} (ids {shown})', flush=True)

  def broadcast(self, text: str | None) -> str:
    """See `ProcessGroup.broadcast`."""
    text = text or ''
    chunks = [text[i:i + _CHUNK] for i in range(0, len(text), _CHUNK)] or ['']
    first = f'{len(chunks)} {chunks[0]}' if self.main else None
    count, _, received = self._all_gather('broadcast', first)[0].partition(' ')
    for i in range(1, int(count)):
      received += self._all_gather(
        'broadcast, continued', chunks[i] if self.main else None)[0]
    return received

  def barrier(self, name: str) -> None:
    """See `ProcessGroup.barrier`."""
    self._all_gather(f'barrier {name}', None)

  def agree(self, what: str, text: str) -> None:
    """See `ProcessGroup.agree`."""
    found = self._all_gather(f'agree {what}', digests.of_bytes(text.encode()))
    if len(set(found)) == 1:
      return
    counts = collections.Counter(found)  # by rank: the first wins a tie
    usual = found.index(max(counts, key=counts.__getitem__))
    odd = [rank for rank, each in enumerate(found) if each != found[usual]]
    texts = self._all_gather(f'compare {what}',
                             text[:MAX_TEXT] if self.rank in (usual, odd[0]) else None)
    raise UserError(
      f'{what} is not the same in all processes: {", ".join(map(self._name, odd))} '
      f'{"differs" if len(odd) == 1 else "differ"} from {self._name(usual)}'
      + _difference(texts[usual], texts[odd[0]], usual, odd[0]))

  def await_report(self, error: BaseException) -> None:
    """See `ProcessGroup.await_report`."""
    if isinstance(error, jax.errors.JaxRuntimeError) and _OF_PEERS.search(str(error)):
      self._failed = True
      time.sleep(self._hang_timeout + 3 * self._tick)

  def leave(self, error: str | None = None, code: int = 2) -> None:
    """See `ProcessGroup.leave`."""
    if self._left:
      return
    if error is None:
      jax.block_until_ready(jax.live_arrays())  # collectives that others wait for
      self._all_gather('leave', None)
      jax.distributed.shutdown()
      return
    self._ending.acquire()
    self._left = True
    with contextlib.suppress(OSError):
      reason = one_line(error.partition('\n')[0], MAX_REASON)
      self._run(self._exchange({'error': reason}, 0), timeout=3)
    atexit.register(_exit, code)  # runs before JAX's, which would wait for the others
    forced = threading.Timer(10, _exit, (code,))  # if another thread waits for them
    forced.daemon = True
    forced.start()

  def _name(self, rank: int) -> str:
    return f'process {rank} of {self.count} ({self._hosts[rank]})'

  def _run(self, coroutine: Coroutine, timeout: float | None = None) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

  def _connect(self, address: Address, devices: Sequence[int] | None,
               shared: pathlib.Path | None) -> None:
    target = cluster.split(address.coordinator)
    hello = {'rank': self.rank, 'count': self.count, 'host': socket.gethostname()}
    find_secret, jax_port = functools.partial(secret.find, shared), None
    with contextlib.ExitStack() as stack:  # until all have connected
      if self.main:
        listening, warning = cluster.listen(*target)
        location, key = stack.enter_context(secret.published(shared))
        if warning:
          print(warning, file=sys.stderr, flush=True)
        target, jax_port = cluster.own_address(listening), cluster.free_port()
        self._coordinator = Coordinator(
          self.count, self._hang_timeout, self._tick, location=location, key=key)
        self._run(self._coordinator.open(listening, jax_port))
        find_secret = lambda location, last: self._coordinator.main_key  # noqa: E731
      self._connection, self._hosts = self._run(
        register(target, self._hang_timeout, find_secret, **hello))
    self._tasks = [asyncio.run_coroutine_threadsafe(task, self._loop)
                   for task in (self._send_progress(), self._receive())]
    if not self.main:
      self._relay = Relay(target, self._connection.key, **hello)
      jax_port = self._run(self._relay.open())
    self._initialize_jax(jax_port, devices)

  def _initialize_jax(self, port: int, devices: Sequence[int] | None) -> None:
    # Longer than until the coordinator detects a lost process.
    timeout = int(min(10 * self._hang_timeout, 1e6)) + 60
    options = dict(
      local_device_ids=devices, cluster_detection_method='deactivate',
      coordinator_bind_address=f'127.0.0.1:{port}', initialization_timeout=timeout,
      heartbeat_timeout_seconds=timeout, shutdown_timeout_seconds=timeout)
    supported = inspect.signature(jax.distributed.initialize).parameters
    os.environ.update(no_grpc_proxy='127.0.0.1')
    jax.config.update('jax_check_proxy_envs', False)
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    handler = signal.getsignal(signal.SIGTERM)
    jax.distributed.initialize(f'127.0.0.1:{port}', self.count, self.rank, **{
      k: v for k, v in options.items() if k in supported})
    if threading.current_thread() is threading.main_thread():
      signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)  # JAX replaces it

  async def _send_progress(self) -> None:
    while self._silent * self._tick <= self._hang_timeout:
      if self._left or self._failure_received:
        return
      self._connection.send({'progress': self._progress, 'failed': self._failed})
      await asyncio.sleep(self._tick)
      self._silent += 1
    self._fail(silent_message(self._name(0), self._hang_timeout))

  async def _receive(self) -> None:
    with contextlib.suppress(OSError, ValueError, KeyError):
      while (message := await self._connection.read()) is not None:
        self._silent = 0
        if 'gathered' in message:
          self._gathering.pop(message['round']).set_result(message['gathered'])
        if 'failure' in message:
          self._failure_received = True
          delay = message['grace'] + 0.3 * self.main  # until the others received it
          self._loop.call_later(
            delay, self._fail, one_line(str(message['failure']), MAX_REASON))
    if leaving := self._gathering.pop(0, None):
      leaving.set_exception(ConnectionError())
    if not self._failure_received:
      self._fail(gone_message(self._name(0)))

  def _fail(self, text: str) -> None:
    """Ends this process with an error, unless it is ending already."""
    if self._left or not self._ending.acquire(blocking=False):
      return
    clear = '\r\033[K' if sys.stderr.isatty() else ''
    os.write(2, f'{clear}error: {text}\n'.encode())
    threading.Timer(1, os._exit, (2,)).start()  # if the main thread holds stdout
    _exit(2)

  def _all_gather(self, name: str, text: str | None) -> list:
    """Returns the texts of all processes, by rank; all must call it in one order."""
    self.mark_progress()
    self._round += 1
    gathered = self._run(self._exchange({'name': name, 'text': text}, self._round))
    names = [name for name, _ in gathered]
    if len(set(names)) > 1:
      raise RuntimeError(f'processes are at different points: {names}')
    return [text for _, text in gathered]

  async def _exchange(self, message: dict, number: int) -> list:
    future = self._gathering[number] = self._loop.create_future()
    self._connection.send({**message, 'round': number})
    gathered = await future
    self._left |= all(name == 'leave' for name, _ in gathered)
    return gathered


def _difference(usual: str, odd: str, usual_rank: int, odd_rank: int) -> str:
  """The first lines that differ."""
  pairs = itertools.zip_longest(usual.splitlines(), odd.splitlines(), fillvalue='')
  found = [(i, *pair) for i, pair in enumerate(pairs, 1) if pair[0] != pair[1]]
  return ''.join(f'\n  line {i}: {a[:1000]!r} in process {usual_rank}, {b[:1000]!r} in '
                 f'process {odd_rank}' for i, a, b in found[:3])


def _exit(code: int) -> None:
  """Ends this process without exit handlers; what it has printed is flushed."""
  for child in multiprocessing.active_children():
    child.terminate()
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):
      stream.flush()
  os._exit(code)
