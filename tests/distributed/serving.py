"""A coordinator that serves in a test, and both valid and invalid clients of it."""

import asyncio
import contextlib
import functools
import hashlib
import hmac
import json
from collections.abc import Callable

from bigmodels.distributed import cluster, secret
from bigmodels.distributed.connection import Connection, register
from bigmodels.distributed.coordinator import Coordinator

KEY = b'a secret of these tests'
NONCE = 'ab' * 32
ESCAPES = '\x1b]0;mine\x07\x1b[31mred\r\nerror: not so\u202e'
ESCAPED = r'\x1b]0;mine\x07\x1b[31mred\r\nerror: not so\u202e'


def asynchronous(test: Callable) -> Callable:
  """Runs an `async def` test."""
  @functools.wraps(test)
  def run(*args, **kwargs):
    asyncio.run(test(*args, **kwargs))

  return run


def message(**values) -> bytes:
  return json.dumps(values).encode() + b'\n'


def proof(key: bytes, side: str, nonce: str, hello: dict) -> str:
  """As the protocol defines it, written independently."""
  text = json.dumps([2, side, nonce, hello['nonce'], hello['rank'], hello['count'],
                     hello['host'], hello['relay']])
  return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


async def answer(connection: Connection) -> dict:
  """The next message that is not a heartbeat."""
  while not (message := await asyncio.wait_for(connection.read(), 10)):
    assert message is not None, 'closed'
  return message


class Serving:
  """A coordinator, and clients of it; the context ends them.

  Attributes:
    coordinator: it.
    address: host and port.
  """

  def __init__(self, count: int = 2, timeout: float = 30):
    self._count, self._timeout, self._errors = count, timeout, []

  async def __aenter__(self) -> 'Serving':
    asyncio.get_running_loop().set_exception_handler(
      lambda _, context: self._errors.append(context))
    self.coordinator = Coordinator(self._count, self._timeout, self._timeout / 100,
                                   location=secret.VARIABLE, key=KEY)
    listening, warning = cluster.listen('127.0.0.1', cluster.free_port())
    assert warning == ''
    await self.coordinator.open(listening, cluster.free_port())
    self.address = cluster.own_address(listening)
    return self

  async def __aexit__(self, kind, *_):
    self.coordinator._monitoring.cancel()
    for server in self.coordinator._servers:
      server.close()
    for peer in self.coordinator._peers.values():
      peer.connection.abort()
    await asyncio.sleep(0.01)
    assert kind or not self._errors, self._errors

  def register(self, rank: int, host: str = 'h', count: int | None = None):
    """Registers a process that knows the secret: its connection, and all hosts."""
    return asyncio.wait_for(register(
      self.address, 20, lambda location, last: (
        KEY if rank else self.coordinator.main_key),
      rank=rank, count=count or self._count, host=host), 20)

  async def register_both(self) -> list[Connection]:
    """Registers two processes, which exchange a text."""
    pair = await asyncio.gather(self.register(0, 'a'), self.register(1, 'b'))
    assert [hosts for _, hosts in pair] == [['a', 'b']] * 2
    for rank, (connection, _) in enumerate(pair):
      connection.send({'name': 'barrier', 'text': str(rank), 'round': 1})
    for connection, _ in pair:
      assert await answer(connection) == {
        'round': 1, 'gathered': [['barrier', '0'], ['barrier', '1']]}
    assert not self.coordinator._ended
    self._pair = [connection for connection, _ in pair]  # open as long as this object
    return self._pair

  async def send_raw(self, data: bytes, end: bool = False) -> list[dict]:
    """Sends bytes from a new connection, and returns the answers to them."""
    reader, writer = await asyncio.open_connection(*self.address)
    challenge, answers = json.loads(await reader.readline()), []
    writer.write(data)
    if end:
      writer.write_eof()
    with contextlib.suppress(OSError):
      rest = await asyncio.wait_for(reader.read(), 10)
      answers = [json.loads(line) for line in rest.splitlines()]
    writer.close()
    assert challenge.keys() == {'protocol', 'secret', 'nonce'}
    return answers

  async def send_hello(self, changes: dict, key: bytes = KEY, side: str = 'process'
                       ) -> dict:
    """Sends a changed hello with its proof, and returns the answer."""
    reader, writer = await asyncio.open_connection(*self.address)
    nonce = json.loads(await reader.readline())['nonce']
    hello = {'rank': 1, 'count': 2, 'host': 'x', 'relay': False, 'nonce': NONCE}
    hello |= changes
    hello = {'proof': proof(key, side, nonce, hello), **hello}
    writer.write(message(**{k: v for k, v in hello.items() if v != 'left out'}))
    found = json.loads(await asyncio.wait_for(reader.readline(), 10))
    if 'proof' in found:
      assert found.pop('proof') == proof(key, 'coordinator', nonce, hello)
    writer.close()
    return found
