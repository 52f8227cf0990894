"""Several processes of one run: they find each other, agree, and notice who is lost.

Process 0 keeps a hub at the coordinator's address. Every process has one connection to
it, over which it says once a second that it lives and how far its main thread has come.
The hub judges who is lost, and all processes end with the same line, from a thread: the
main ones are stuck in a collective by then. JAX's own service is kept from noticing: it
would end the others with a stack dump that names nobody.
"""

import asyncio
import atexit
import collections
import contextlib
import hashlib
import inspect
import itertools
import json
import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import jax

from bigmodels.errors import UserError
from bigmodels.parallel import cluster
from bigmodels.parallel.cluster import Address
from bigmodels.parallel.hub import Hub, Relay, gone, introduce, send, silent

_SHOWN = 20_000  # characters of a text that are sent around to find what differs
# What JAX, Gloo and NCCL say if another process is at fault.
_OF_OTHERS = re.compile('gloo|nccl|peer|socket|connection|unavailable|deadline|timeout',
                        re.IGNORECASE)


@contextlib.contextmanager
def joined(address: Address, hang_timeout: float) -> Iterator['Hosts']:
  """Joins, and leaves at the end: in order, or with word of what went wrong here.

  Args:
    address: of the run.
    hang_timeout: seconds, as of `join`.

  Raises:
    UserError: as of `join`.
  """
  hosts = join(address, hang_timeout)
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


def join(address: Address, hang_timeout: float) -> 'Hosts':
  """Waits for all processes of the run; before anything else is asked of JAX.

  Args:
    address: from the flags. If it is empty, what JAX finds out about a cluster counts
      (TPU pod, SLURM step, Kubernetes, Open MPI), and otherwise this process is alone.
    hang_timeout: seconds after which a silent or hanging process is given up.

  Raises:
    UserError: if the address is wrong, or not all come within `hang_timeout`.
  """
  devices = None
  if any(part is not None for part in address):
    cluster.check(address)
  else:
    address, devices = cluster.find(hang_timeout)
  if address.num_processes in (None, 1):
    return Hosts(Address(None, 1, 0), hang_timeout, None)
  return Hosts(address, hang_timeout, devices)


class Hosts:
  """The processes of a run; with one process, everything here is done at once.

  Attributes:
    rank: of this process.
    count: of processes.
    main: whether this is process 0.
  """

  def __init__(self, address: Address, hang_timeout: float, devices: Any):
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
    self._connect(address, devices)

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
    return self._gather('tell', text if self.main else None)[0]

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
    hashes = self._gather(f'agree {what}', hashlib.sha256(text.encode()).hexdigest())
    if len(set(hashes)) == 1:
      return
    texts = self._gather(f'compare {what}', text[:_SHOWN])
    counts = collections.Counter(hashes)  # in order of ranks: the first wins a tie
    usual = hashes.index(max(counts, key=counts.__getitem__))
    odd = [rank for rank, each in enumerate(hashes) if each != hashes[usual]]
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
      self._run(self._exchange({'gone': error.partition('\n')[0]}, 0), timeout=3)
    atexit.register(_end, code)  # before that of JAX, which would wait for the others
    stuck = threading.Timer(10, _end, (code,))  # some thread may wait for them
    stuck.daemon = True
    stuck.start()

  # --- how it is done -----------------------------------------------------------

  def _name(self, rank: int) -> str:
    return f'process {rank} of {self.count} ({self._hosts[rank]})'

  def _run(self, what: Coroutine, timeout: float | None = None) -> Any:
    return asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout)

  def _connect(self, address: Address, devices: Any) -> None:
    host, port = cluster.split(address.coordinator)
    if self.main:
      jax_port = cluster.free_port()
      self._hub = Hub(self.count, self._hang_timeout, self._tick)
      self._run(self._hub.open(port, jax_port))
    self._reader, self._writer, welcome = self._run(introduce(
      ('127.0.0.1' if self.main else host, port), self._hang_timeout, rank=self.rank,
      count=self.count, host=socket.gethostname()))
    self._hosts, jax_port = welcome['hosts'], welcome['port']
    self._tasks = [asyncio.run_coroutine_threadsafe(task, self._loop)
                   for task in (self._beat(), self._listen())]
    if not self.main:
      self._relay = Relay(host, jax_port)
      jax_port = self._run(self._relay.open())
    late = int(min(10 * self._hang_timeout, 1e6)) + 60  # never before the watch
    options = dict(
      local_device_ids=devices, cluster_detection_method='deactivate',
      coordinator_bind_address=f'[::]:{jax_port}', initialization_timeout=late,
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
      send(self._writer, {'mark': self._mark, 'failed': self._failed})
      await asyncio.sleep(self._tick)
      self._silent += 1
    self._speak(silent(self._name(0), self._hang_timeout))

  async def _listen(self) -> None:
    with contextlib.suppress(OSError, ValueError):
      while line := await self._reader.readline():
        self._silent, message = 0, json.loads(line)
        if 'all' in message:
          self._waiting.pop(message['turn']).set_result(message['all'])
        if 'lost' in message:
          self._told, later = True, 0.3 * self.main  # until the hub's word has gone out
          self._loop.call_later(message['grace'] + later, self._speak, message['lost'])
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
    send(self._writer, {**message, 'turn': turn})
    parts = await answer
    self._left |= all(name == 'leave' for name, _ in parts)
    return parts


def _difference(usual: str, odd: str, usual_rank: int, odd_rank: int) -> str:
  """The first lines that differ, shown."""
  pairs = itertools.zip_longest(usual.splitlines(), odd.splitlines(), fillvalue='')
  found = [(i, *pair) for i, pair in enumerate(pairs, 1) if pair[0] != pair[1]]
  return ''.join(f'\n  line {i}: {a!r} in process {usual_rank}, {b!r} in process '
                 f'{odd_rank}' for i, a, b in found[:3])


def _end(code: int) -> None:
  """Ends this process without any farewell but what it has printed."""
  for child in multiprocessing.active_children():
    child.terminate()
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):
      stream.flush()
  os._exit(code)
