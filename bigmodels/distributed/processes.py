"""Several processes of one run: they find each other, agree, and notice who is lost.

Process 0 keeps a hub at the coordinator's address. Every process has one connection to
it, over which it says once a second that it lives and how far its main thread has come.
The hub judges who is lost, and all processes end with the same line, from a thread: the
main ones are stuck in a collective by then. JAX's own service is kept from noticing: it
would end the others with a stack dump that names nobody.

The hub listens at the coordinator's address only, and lets in who knows the secret of
the run (see `secret`); JAX's service is reached through it. What remains open to others
of the same network are the ports of the collectives themselves: Gloo and NCCL know no
secret and encrypt nothing. Strangers are to be kept from that network.
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
from collections.abc import Coroutine, Iterator
from typing import Any

import jax

from bigmodels.core import digests
from bigmodels.core.errors import UserError, one_line
from bigmodels.distributed import cluster, secret
from bigmodels.distributed.cluster import Address
from bigmodels.distributed.coordinator import Hub, gone, silent
from bigmodels.distributed.wire import TEXT, WHY, Relay, introduce

_PIECE = TEXT - 100  # characters of a longer text that are told at a time
# What JAX, Gloo and NCCL say if another process is at fault.
_OF_OTHERS = re.compile('gloo|nccl|peer|socket|connection|unavailable|deadline|timeout',
                        re.IGNORECASE)


@contextlib.contextmanager
def joined(address: Address, hang_timeout: float, *,
           shared: str | os.PathLike | None = None) -> Iterator['ProcessGroup']:
  """Joins, and leaves at the end: in order, or with word of what went wrong here.

  Args:
    address: of the run.
    hang_timeout: seconds, as of `join`.
    shared: folder, as of `join`.

  Raises:
    UserError: as of `join`.
  """
  hosts = join(address, hang_timeout, shared=shared)
  try:
    yield hosts
    hosts.leave()
  except BaseException as error:
    hosts.lost(error)
    if isinstance(error, UserError):
      hosts.leave(str(error))
    else:
      stopped = isinstance(error, KeyboardInterrupt)
      hosts.leave(f'{type(error).__name__}: {error}', 130 if stopped else 1)
    raise


def join(address: Address, hang_timeout: float, *,
         shared: str | os.PathLike | None = None) -> 'ProcessGroup':
  """Waits for all processes of the run; before anything else is asked of JAX.

  Args:
    address: from the flags. If it is empty, what JAX finds out about a cluster counts
      (TPU pod, SLURM step, Kubernetes, Open MPI), and otherwise this process is alone.
    hang_timeout: seconds after which a silent or hanging process is given up.
    shared: a folder that all processes see, for the secret of the run, where
      `BIGMODELS_SECRET` is not set. It is not touched if this process is alone.

  Raises:
    UserError: if the address is wrong, there is no secret in common, or not all come
      within `hang_timeout`.
  """
  devices = None
  if any(part is not None for part in address):
    cluster.check(address)
  else:
    address, devices = cluster.find(hang_timeout)
  if address.num_processes in (None, 1):
    return ProcessGroup(Address(None, 1, 0), hang_timeout, None)
  folder = None if shared is None else pathlib.Path(shared)
  return ProcessGroup(address, hang_timeout, devices, folder)


class ProcessGroup:
  """The processes of a run; with one process, everything here is done at once.

  Attributes:
    rank: of this process.
    count: of processes.
    main: whether this is process 0.
  """

  def __init__(self, address: Address, hang_timeout: float, devices: Any,
               shared: pathlib.Path | None = None):
    """Connects to all others; see `join`."""
    self.rank, self.count = address.process_id, address.num_processes
    self.main = self.rank == 0
    self._mark = 0
    if self.count == 1:
      return
    self._hang_timeout, self._tick = hang_timeout, min(1.0, hang_timeout / 10)
    self._silent = self._turn = 0
    self._failed = self._told = self._left = False
    self._waiting: dict[int, asyncio.Future] = {}
    self._last_word = threading.Lock()  # whoever has it says why this process ends
    self._loop = asyncio.new_event_loop()
    self._loop.set_exception_handler(lambda *_: None)  # what is pending at the exit
    threading.Thread(target=self._loop.run_forever, name='hosts', daemon=True).start()
    self._connect(address, devices, shared)

  def mark(self) -> None:
    """Notes that the main thread has come to the next point that all must reach."""
    self._mark += 1

  def announce(self) -> None:
    """Prints a line about this process and its devices, if there are several."""
    if self.count > 1:
      devices = jax.local_devices()
      ids = sorted(d.id for d in devices)
      in_row = ids == list(range(ids[0], ids[-1] + 1)) and len(ids) > 1
      shown = f'{ids[0]}-{ids[-1]}' if in_row else ', '.join(map(str, ids))
      print(f'process {self.rank} of {self.count} on {self._hosts[self.rank]}: '
            f'{len(devices)} x {devices[0].device_kind} (ids {shown})', flush=True)

  def say(self, text: str) -> None:
    """Prints a line, on process 0 only."""
    if self.main:
      print(text, flush=True)

  def tell(self, text: str | None) -> str:
    """Returns the text of process 0, in all processes."""
    whole = text or ''
    parts = [whole[i:i + _PIECE] for i in range(0, len(whole), _PIECE)] or ['']
    first = f'{len(parts)} {parts[0]}' if self.main else None
    count, _, told = self._gather('tell', first)[0].partition(' ')
    for i in range(1, int(count)):
      told += self._gather('tell on', parts[i] if self.main else None)[0]
    return told

  def barrier(self, name: str) -> None:
    """Returns when all processes have come here."""
    self._gather(f'barrier {name}', None)

  def agree(self, what: str, text: str) -> None:
    """Makes sure that all processes hold the same text.

    Args:
      what: the text is, such as 'the config'.
      text: any.

    Raises:
      UserError: in every process, naming those that differ from most, and the lines.
    """
    hashes = self._gather(f'agree {what}', digests.of_bytes(text.encode()))
    if len(set(hashes)) == 1:
      return
    counts = collections.Counter(hashes)  # in order of ranks: the first wins a tie
    usual = hashes.index(max(counts, key=counts.__getitem__))
    odd = [rank for rank, each in enumerate(hashes) if each != hashes[usual]]
    texts = self._gather(f'compare {what}',
                         text[:TEXT] if self.rank in (usual, odd[0]) else None)
    raise UserError(
      f'{what} is not the same in all processes: {", ".join(map(self._name, odd))} '
      f'{"differs" if len(odd) == 1 else "differ"} from {self._name(usual)}'
      + _difference(texts[usual], texts[odd[0]], usual, odd[0]))

  def lost(self, error: BaseException) -> None:
    """Returns unless the error came of a lost process: then this one ends, naming it.

    Args:
      error: of a collective or of JAX's service; others are none of this.
    """
    if (self.count > 1 and isinstance(error, jax.errors.JaxRuntimeError)
        and _OF_OTHERS.search(str(error))):
      self._failed = True
      time.sleep(self._hang_timeout + 3 * self._tick)  # the watch ends the process

  def leave(self, error: str | None = None, code: int = 2) -> None:
    """Parts from the others; the last thing to be called.

    Args:
      error: what went wrong here. The others end with it at once, and this process,
        which is to show it itself, exits without waiting for anybody.
      code: to exit with then.
    """
    if self.count == 1 or self._left:
      return
    if error is None:
      jax.block_until_ready(jax.live_arrays())  # collectives that others still need
      self._gather('leave', None)
      jax.distributed.shutdown()
      return
    self._last_word.acquire()
    self._left = True
    with contextlib.suppress(OSError):
      why = one_line(error.partition('\n')[0], WHY)
      self._run(self._exchange({'gone': why}, 0), timeout=3)
    atexit.register(_end, code)  # before that of JAX, which would wait for the others
    stuck = threading.Timer(10, _end, (code,))  # some thread may wait for them
    stuck.daemon = True
    stuck.start()

  # --- how it is done -----------------------------------------------------------

  def _name(self, rank: int) -> str:
    return f'process {rank} of {self.count} ({self._hosts[rank]})'

  def _run(self, what: Coroutine, timeout: float | None = None) -> Any:
    return asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout)

  def _connect(self, address: Address, devices: Any,
               shared: pathlib.Path | None) -> None:
    there = cluster.split(address.coordinator)
    me = {'rank': self.rank, 'count': self.count, 'host': socket.gethostname()}
    find, jax_port = functools.partial(secret.find, shared), None
    with contextlib.ExitStack() as stack:  # the secret is kept until all are there
      if self.main:
        listening, warning = cluster.listen(*there)
        where, key = stack.enter_context(secret.kept(shared))
        if warning:
          print(warning, file=sys.stderr, flush=True)
        there, jax_port = cluster.own_address(listening), cluster.free_port()
        hub = self._hub = Hub(
          self.count, self._hang_timeout, self._tick, where=where, key=key)
        self._run(hub.open(listening, jax_port))
        find = lambda where, last: hub.own  # noqa: E731
      self._wire, self._hosts = self._run(
        introduce(there, self._hang_timeout, find, **me))
    self._tasks = [asyncio.run_coroutine_threadsafe(task, self._loop)
                   for task in (self._beat(), self._listen())]
    if not self.main:
      self._relay = Relay(there, self._wire.key, **me)
      jax_port = self._run(self._relay.open())
    late = int(min(10 * self._hang_timeout, 1e6)) + 60  # never before the watch
    options = dict(
      local_device_ids=devices, cluster_detection_method='deactivate',
      coordinator_bind_address=f'127.0.0.1:{jax_port}', initialization_timeout=late,
      heartbeat_timeout_seconds=late, shutdown_timeout_seconds=late)
    known = inspect.signature(jax.distributed.initialize).parameters
    os.environ.update(no_grpc_proxy='127.0.0.1')
    jax.config.update('jax_check_proxy_envs', False)
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    before = signal.getsignal(signal.SIGTERM)
    jax.distributed.initialize(f'127.0.0.1:{jax_port}', self.count, self.rank, **{
      k: v for k, v in options.items() if k in known})
    if threading.current_thread() is threading.main_thread():
      signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # JAX has taken it

  async def _beat(self) -> None:
    while self._silent * self._tick <= self._hang_timeout:
      if self._left or self._told:
        return
      self._wire.send({'mark': self._mark, 'failed': self._failed})
      await asyncio.sleep(self._tick)
      self._silent += 1
    self._speak(silent(self._name(0), self._hang_timeout))

  async def _listen(self) -> None:
    with contextlib.suppress(OSError, ValueError, KeyError):
      while (message := await self._wire.read()) is not None:
        self._silent = 0
        if 'all' in message:
          self._waiting.pop(message['turn']).set_result(message['all'])
        if 'lost' in message:
          self._told, later = True, 0.3 * self.main  # until the hub's word has gone out
          self._loop.call_later(message['grace'] + later, self._speak,
                                one_line(str(message['lost']), WHY))
    if farewell := self._waiting.pop(0, None):
      farewell.set_exception(ConnectionError())
    if not self._told:
      self._speak(gone(self._name(0)))

  def _speak(self, text: str) -> None:
    """Ends this process with a line, unless it is about to end by itself."""
    if self._left or not self._last_word.acquire(blocking=False):
      return
    clear = '\r\033[K' if sys.stderr.isatty() else ''
    os.write(2, f'{clear}error: {text}\n'.encode())
    threading.Timer(1, os._exit, (2,)).start()  # the main thread may hold stdout
    _end(2)

  def _gather(self, name: str, text: str | None) -> list:
    """Returns the texts of all processes, by rank; all must call it in one order."""
    if self.count == 1:
      return [text]
    self.mark()
    self._turn += 1
    parts = self._run(self._exchange({'name': name, 'text': text}, self._turn))
    if len({n for n, _ in parts}) > 1:
      raise RuntimeError(f'processes are at different points: {[n for n, _ in parts]}')
    return [t for _, t in parts]

  async def _exchange(self, message: dict, turn: int) -> list:
    answer = self._waiting[turn] = self._loop.create_future()
    self._wire.send({**message, 'turn': turn})
    parts = await answer
    self._left |= all(name == 'leave' for name, _ in parts)
    return parts


def _difference(usual: str, odd: str, usual_rank: int, odd_rank: int) -> str:
  """The first lines that differ, shown."""
  pairs = itertools.zip_longest(usual.splitlines(), odd.splitlines(), fillvalue='')
  found = [(i, *pair) for i, pair in enumerate(pairs, 1) if pair[0] != pair[1]]
  return ''.join(f'\n  line {i}: {a[:1000]!r} in process {usual_rank}, {b[:1000]!r} in '
                 f'process {odd_rank}' for i, a, b in found[:3])


def _end(code: int) -> None:
  """Ends this process without any farewell but what it has printed."""
  for child in multiprocessing.active_children():
    child.terminate()
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):
      stream.flush()
  os._exit(code)
