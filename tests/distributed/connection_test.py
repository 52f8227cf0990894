"""bigmodels.distributed.connection: proofs, coordinators that are none, and relays."""

import asyncio
import contextlib
import json
import pathlib

import pytest

from bigmodels.core.errors import UserError
from bigmodels.distributed import secret
from bigmodels.distributed.connection import Relay, connect, pump, register
from tests.distributed.serving import (
  ESCAPED,
  ESCAPES,
  KEY,
  NONCE,
  Serving,
  asynchronous,
  message,
)


@asynchronous
async def test_a_proof_cannot_be_replayed():
  """The bytes of a process of the run, sent again."""
  async with Serving() as run:
    sent = bytearray()

    async def between(reader, writer):
      remote = await asyncio.open_connection(*run.address)

      async def up():
        while data := await reader.read(2**16):
          sent.extend(data)
          remote[1].write(data)

      task = asyncio.create_task(up())
      await pump(remote[0], writer)
      writer.close()
      await task

    server = await asyncio.start_server(between, '127.0.0.1', 0)
    process = asyncio.create_task(register(
      server.sockets[0].getsockname(), 20, lambda location, last: KEY, rank=1, count=2,
      host='h'))
    while 1 not in run.coordinator._peers:
      await asyncio.sleep(0.01)
    run.coordinator._peers[1].connection.abort()
    with pytest.raises(UserError):
      await process
    assert json.loads(sent)['rank'] == 1
    assert await run.send_raw(bytes(sent)) == [
      {'refused': 'it does not know the secret of this run'}]
    await run.register_both()
    server.close()


def challenge(**changes) -> bytes:
  return message(**{
    'protocol': 2, 'secret': secret.VARIABLE, 'nonce': NONCE, **changes})


NOT_A_COORDINATOR = 'does not answer as process 0 of a run does'
UNKNOWN = 'does not know the secret of this run'
FAKES = {
  'sends nothing': ([], NOT_A_COORDINATOR),
  'closes': ([None], '.'),
  'a banner': ([b'SSH-2.0-OpenSSH_9.6\r\n'], NOT_A_COORDINATOR),
  'a list': ([b'[]\n'], NOT_A_COORDINATOR),
  'nested': ([b'[' * 4000 + b'\n'], NOT_A_COORDINATOR),
  'a line without an end': ([b'a' * 10_000], NOT_A_COORDINATOR),
  'an empty object': ([b'{}\n'], NOT_A_COORDINATOR),
  'a welcome at once': ([b'{"hosts": ["a", "b"]}\n'], NOT_A_COORDINATOR),
  'an old coordinator': ([b'{"hosts": ["a", "b"], "port": 1}\n'], NOT_A_COORDINATOR),
  'another version': ([challenge(protocol=1)], 'another version of bigmodels'),
  'no nonce': ([challenge(nonce=None)], NOT_A_COORDINATOR),
  'a path': ([challenge(secret='../../etc/passwd')], NOT_A_COORDINATOR),
  'not a location': ([challenge(secret=7)], NOT_A_COORDINATOR),
  'no proof': ([challenge(), b'{}\n'], UNKNOWN),
  'a wrong proof': ([challenge(), message(proof=NONCE)], UNKNOWN),
  'a reason without a proof': ([challenge(), message(refused=ESCAPES)], UNKNOWN),
  'a proof of a number': ([challenge(), message(proof=1)], UNKNOWN),
  'no JSON': ([challenge(), b'nonsense\n'], NOT_A_COORDINATOR),
}


@pytest.mark.parametrize(('sent', 'expected'), FAKES.values(), ids=FAKES)
@asynchronous
async def test_what_is_not_a_coordinator(sent, expected, monkeypatch):
  """It receives no secret, and the process reports it in a line."""
  monkeypatch.delenv(secret.VARIABLE, raising=False)
  received = bytearray()

  async def fake(reader, writer):
    with contextlib.suppress(OSError):
      for line in sent:
        if line is None:
          writer.close()
          return
        writer.write(line)
        received.extend(await reader.read(2**16))
      await reader.read()

  def find_secret(location, last):
    if location == secret.VARIABLE:
      return KEY
    return secret.find(pathlib.Path('.'), location, last)

  server = await asyncio.start_server(fake, '127.0.0.1', 0)
  with pytest.raises(UserError, match=expected) as raised:
    await register(server.sockets[0].getsockname(), 0.5, find_secret, rank=1, count=2,
                   host='h')
  assert str(raised.value).isprintable() and ESCAPED not in str(raised.value)
  server.close()
  assert KEY not in received and b'root' not in received


@asynchronous
async def test_a_relay_forwards_to_the_service_behind_the_coordinator():
  """Any bytes in both directions, with the secret only."""
  async with Serving() as run:
    async def echo(reader, writer):
      writer.write(b'first\n')
      while data := await reader.read(2**16):
        writer.write(data[::-1])

    await run.register_both()
    hello = {'rank': 1, 'count': 2, 'host': 'h'}
    relay = Relay(run.address, KEY, **hello)
    reader, writer = await asyncio.open_connection('127.0.0.1', await relay.open())
    service = await asyncio.start_server(echo, '127.0.0.1', run.coordinator._jax_port)
    assert await reader.readline() == b'first\n'
    writer.write(b'\nabc')
    assert await reader.readline() == b'cba\n'
    with pytest.raises(UserError, match=UNKNOWN):
      await connect(run.address, 5, lambda location, last: b'x', **hello, relay=True)
    writer.close()
    service.close()
    relay._server.close()
