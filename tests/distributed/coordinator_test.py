"""bigmodels.distributed.coordinator: registration, invalid data, and messages."""

import asyncio
import contextlib
import gc
import json
import os
import pathlib
import socket
import threading

import pytest

from bigmodels.core.errors import UserError
from bigmodels.distributed import coordinator
from bigmodels.distributed.coordinator import RESTART
from tests.distributed.serving import (
  ESCAPED,
  ESCAPES,
  KEY,
  NONCE,
  Serving,
  answer,
  asynchronous,
  message,
  proof,
)

# --- registration ---------------------------------------------------------------


async def _registered(count: int, timeout: float, *hellos: dict) -> list:
  """What each process gets: the hosts of all, or the text of an error."""
  async with Serving(count, timeout) as run:
    found = await asyncio.gather(
      *(run.register(**hello) for hello in hellos), return_exceptions=True)
    return [str(f) if isinstance(f, UserError) else f[-1] for f in found]


@asynchronous
async def test_all_connect():
  found = await _registered(2, 30, {'rank': 1, 'host': 'b'}, {'rank': 0, 'host': 'a'})
  assert found == [['a', 'b']] * 2


@asynchronous
async def test_some_do_not_connect():
  """Wrong processes are refused with a reason, without an effect on the others."""
  first, *both, other = await _registered(
    4, 1, {'rank': 0}, {'rank': 2}, {'rank': 2}, {'rank': 3, 'count': 5})
  twice, second = sorted(both)
  assert twice.startswith('--process_id=2: process 2 of 4 (h) has already connected')
  assert other == '--num_processes=5: process 0 was started with --num_processes=4'
  assert first == second == 'of 4 processes, 1, 3 did not connect within 1 s'


@asynchronous
async def test_a_process_may_connect_again_before_all_have():
  async with Serving() as run:
    first = asyncio.create_task(run.register(1, host='before'))
    while 1 not in run.coordinator._peers:
      await asyncio.sleep(0.01)
    run.coordinator._peers[1].connection.abort()
    while 1 in run.coordinator._peers:
      await asyncio.sleep(0.01)
    with pytest.raises(UserError, match='does not answer'):
      await first
    await run.register_both()


# --- without the secret ---------------------------------------------------------


JSON, OBJECT = 'a line that is not JSON', 'JSON that is not an object'
LONG = 'a line of more than 4096 bytes'
FIELDS = 'the fields must be rank, count, host, relay, nonce, proof'
NOT_HELLOS = {
  'nothing': (b'', None),
  'half a line': (b'{"rank": 1, "cou', None),
  'an empty line': (b'\n', JSON),
  'HTTP': (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', JSON),
  'TLS': (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n', JSON),
  'zeros': (bytes(1000) + b'\n', JSON),
  'not UTF-8': (b'{"host": "\xff\xfe"}\n', JSON),
  'UTF-16': ('{"rank": 1}\n'.encode('utf-16-le'), JSON),
  'half an object': (b'{"rank": 1,\n', JSON),
  'two objects': (b'{} {}\n', JSON),
  'nested arrays': (b'[' * 4000 + b'\n', JSON),
  'nested objects': (b'{"a":' * 600 + b'1' + b'}' * 600 + b'\n', FIELDS),
  'a list': (b'[1, 2]\n', OBJECT),
  'null': (b'null\n', OBJECT),
  'a number': (b'1\n', OBJECT),
  'NaN': (b'NaN\n', OBJECT),
  'infinity': (b'1e999\n', OBJECT),
  'a text': (b'"rank"\n', OBJECT),
  'true': (b'true\n', OBJECT),
  'an empty object': (b'{}\n', FIELDS),
  'no proof': (b'{"rank": 1, "count": 2, "host": "h"}\n', FIELDS),
  'a later message': (b'{"progress": 1, "failed": false}\n', FIELDS),
  'a long line': (b'"' + b'a' * 4096 + b'"\n', LONG),
  'a line without an end': (b'a' * 2**20, LONG),
}


@pytest.mark.parametrize(('data', 'refused'), NOT_HELLOS.values(), ids=NOT_HELLOS)
@asynchronous
async def test_data_that_is_not_a_hello(data, refused):
  async with Serving() as run:
    answers = await run.send_raw(data, end=refused is None)
    if refused:  # too long data may end the connection before the answer
      assert answers == [{'refused': refused}] or (refused == LONG and not answers)
    await run.register_both()
    await run.send_raw(data, end=refused is None)
    assert not run.coordinator._ended


NOT_VALID = '{}: not a valid value'
HELLOS = {
  'rank -1': ({'rank': -1}, '--process_id=-1: must be 0 to 1, of --num_processes=2'),
  'rank 2': ({'rank': 2}, '--process_id=2: must be 0 to 1, of --num_processes=2'),
  'rank 77': ({'rank': 77}, '--process_id=77: must be 0 to 1, of --num_processes=2'),
  'rank 1e30': ({'rank': 10**30}, NOT_VALID.format('rank')),
  "rank '1'": ({'rank': '1'}, NOT_VALID.format('rank')),
  'rank True': ({'rank': True}, NOT_VALID.format('rank')),
  'rank 1.0': ({'rank': 1.0}, NOT_VALID.format('rank')),
  'rank None': ({'rank': None}, NOT_VALID.format('rank')),
  'rank NaN': ({'rank': float('nan')}, NOT_VALID.format('rank')),
  'rank [1]': ({'rank': [1]}, NOT_VALID.format('rank')),
  'rank 0 from elsewhere': (
    {'rank': 0}, f'--process_id=0: process 0 of 2 ({socket.gethostname()}) has already '
    'connected; this one was started on x'),
  'count 3': ({'count': 3},
              '--num_processes=3: process 0 was started with --num_processes=2'),
  'count 0': ({'count': 0},
              '--num_processes=0: process 0 was started with --num_processes=2'),
  "count '2'": ({'count': '2'}, NOT_VALID.format('count')),
  'count True': ({'count': True}, NOT_VALID.format('count')),
  'host of a number': ({'host': 7}, NOT_VALID.format('host')),
  'host without an end': ({'host': 'h' * 201}, NOT_VALID.format('host')),
  'relay of a text': ({'relay': 'no'}, NOT_VALID.format('relay')),
  'relay before all have connected': (
    {'relay': True}, 'not all processes have connected'),
  'a short nonce': ({'nonce': 'ab'}, NOT_VALID.format('nonce')),
  'a nonce of other letters': ({'nonce': 'é' * 64}, NOT_VALID.format('nonce')),
  'no proof': ({'proof': None}, NOT_VALID.format('proof')),
  'a short proof': ({'proof': 'ab' * 31}, NOT_VALID.format('proof')),
  'proof left out': ({'proof': 'left out'}, FIELDS),
  'an additional field': ({'more': 1}, FIELDS),
  'another proof': ({'proof': NONCE}, 'it does not know the secret of this run'),
}


@pytest.mark.parametrize(('changes', 'refused'), HELLOS.values(), ids=HELLOS)
@asynchronous
async def test_a_hello_that_is_refused(changes, refused):
  """Its proof is right."""
  async with Serving() as run:
    assert await run.send_hello(changes) == {'refused': refused}
    assert run.coordinator._peers == {}
    await run.register_both()


@pytest.mark.parametrize('options', [
  {'key': b''}, {'key': KEY[:-1]}, {'key': KEY + b' '}, {'key': b'\xff' * 32},
  {'side': 'coordinator'}, {'side': ''}], ids=str)
@pytest.mark.parametrize('changes', [{}, {'rank': 0}, {'relay': True}], ids=str)
@asynchronous
async def test_without_the_secret(options, changes):
  async with Serving() as run:
    for _ in range(2):  # before all have connected, and after
      assert await run.send_hello(changes, **options) == {
        'refused': 'it does not know the secret of this run'}
      assert len(run.coordinator._peers) == 2 * run.coordinator._complete
      if not run.coordinator._complete:
        await run.register_both()


@asynchronous
async def test_a_duplicate_is_refused_by_name():
  async with Serving() as run:
    first = asyncio.create_task(run.register(1, 'first' + ESCAPES))
    while 1 not in run.coordinator._peers:
      await asyncio.sleep(0.01)
    assert await run.send_hello({'host': 'second' + ESCAPES}) == {'refused': (
      f'--process_id=1: process 1 of 2 (first{ESCAPED}) has already connected; '
      f'this one was started on second{ESCAPED}')}
    await run.register(0, 'zero')
    assert (await first)[1] == ['zero', f'first{ESCAPED}']


@pytest.mark.parametrize('count', [100, 400])
@asynchronous
async def test_connections_that_stay_open(count):
  async with Serving() as run:
    idle = [await asyncio.open_connection(*run.address) for _ in range(count)]
    for _, writer in idle:
      writer.write(b'{"rank": ')
    await run.register_both()
    assert len(run.coordinator._unproven) <= coordinator._MAX_UNPROVEN
    for _, writer in idle:
      writer.close()


@asynchronous
async def test_a_slow_hello_ends_the_connection(monkeypatch):
  """Though bytes continue to come."""
  monkeypatch.setattr(coordinator, '_HELLO_TIMEOUT', 0.2)
  async with Serving() as run:
    reader, writer = await asyncio.open_connection(*run.address)
    await reader.readline()
    with pytest.raises(ConnectionError):
      for _ in range(100):
        writer.write(b' ')
        await writer.drain()
        await asyncio.sleep(0.02)
    await run.register_both()


@pytest.fixture
def usual_collection():
  """Garbage is collected as often as outside of tests, see `conftest.py`."""
  before = gc.get_threshold()
  gc.set_threshold(700, 10, 10)
  yield
  gc.set_threshold(*before)


@pytest.mark.skipif(not pathlib.Path('/proc/self/statm').exists(), reason='of Linux')
@pytest.mark.usefixtures('usual_collection')
@asynchronous
async def test_memory_of_long_lines():
  """100 connections that send 4 MB each, without an end of the line."""
  def memory() -> float:
    pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20

  def flood(address, number, data):
    for _ in range(number):
      with contextlib.suppress(OSError), socket.create_connection(address, 5) as client:
        client.sendall(data)

  async with Serving() as run:
    data, most = b'a' * 2**22, 0.0
    before = memory()
    threads = [threading.Thread(target=flood, args=(run.address, 10, data))
               for _ in range(10)]
    for thread in threads:
      thread.start()
    while any(thread.is_alive() for thread in threads):
      most = max(most, memory())
      await asyncio.sleep(0.001)
    assert most - before < 30
    await run.register_both()


@asynchronous
async def test_a_process_with_another_secret_is_in_the_last_error():
  async with Serving(timeout=1) as run:
    main = asyncio.create_task(run.register(0))
    await run.send_hello({}, key=b'another')
    await run.send_hello({'rank': 77}, key=b'another')
    with pytest.raises(UserError, match=(
      r'^of 2 processes, 1 did not connect within 1 s; what connected as 1 from '
      r'127\.0\.0\.1 does not know the secret of this run$')):
      await main


# --- invalid messages with the secret -------------------------------------------


def text(**values) -> bytes:
  return message(**{'name': 'barrier', 'text': 'x', 'round': 2, **values})


INVALID = 'an invalid message, of the keys {}'
TEXT = INVALID.format('name, text, round')
PROGRESS = INVALID.format('progress, failed')
MESSAGES = {
  'unknown kind': (message(shutdown=True), INVALID.format('shutdown')),
  'escapes in a key': (message(**{'\x1b[2J': 1}), INVALID.format(r'\x1b[2J')),
  'progress of a text': (message(progress='1', failed=False), PROGRESS),
  'progress NaN': (b'{"progress": NaN, "failed": false}\n', PROGRESS),
  'progress infinite': (b'{"progress": 1e999, "failed": false}\n', PROGRESS),
  'progress True': (message(progress=True, failed=False), PROGRESS),
  'progress -1': (message(progress=-1, failed=False), PROGRESS),
  'progress too large': (message(progress=10**400, failed=False), PROGRESS),
  'progress alone': (message(progress=1), INVALID.format('progress')),
  'failed of a number': (message(progress=1, failed=1), PROGRESS),
  'error of a number': (message(error=1, round=0), INVALID.format('error, round')),
  'error in a round': (message(error='why', round=2), INVALID.format('error, round')),
  'a text of a list': (text(text=['x']), TEXT),
  'a text too long': (text(text='x' * 20_001), TEXT),
  'a name of a number': (text(name=1), TEXT),
  'a round again': (text(round=1), TEXT),
  'a round left out': (text(round=3), TEXT),
  'two rounds at a time': (text() + text(round=3), TEXT),
  'round of a text': (text(round='2'), TEXT),
  'round 2.0': (text(round=2.0), TEXT),
  'an additional key': (text(more=1), INVALID.format('name, text, round, more')),
  'a list': (b'[]\n', OBJECT),
  'not JSON': (b'nonsense\n', JSON),
  'not UTF-8': (b'"\xff"\n', JSON),
  'nested': (b'[' * 100_000 + b'\n', JSON),
  'too long': (b'"' + b'a' * 12 * 20_100 + b'"\n', 'a line of more than 241024 bytes'),
  'too long, without an end': (b'a' * 12 * 20_100, 'a line of more than 241024 bytes'),
}


@pytest.mark.parametrize(('data', 'sent'), MESSAGES.values(), ids=MESSAGES)
@asynchronous
async def test_an_invalid_message_ends_the_run_with_a_line(data, sent):
  async with Serving() as run:
    pair = await run.register_both()
    pair[1]._writer.write(data)
    for connection in pair:
      assert await answer(connection) == {'grace': 0, 'failure': (
        f'process 1 of 2 (b) sent {sent}; {RESTART}')}


@asynchronous
async def test_the_longest_text():
  """Each of its characters takes 12 bytes."""
  async with Serving() as run:
    pair = await run.register_both()
    for connection in pair:
      connection.send({'name': 'n' * 200, 'text': '\U0001f600' * 20_000, 'round': 2})
    gathered = [['n' * 200, '\U0001f600' * 20_000]] * 2
    for connection in pair:
      assert await answer(connection) == {'round': 2, 'gathered': gathered}


@asynchronous
async def test_a_message_before_all_have_connected():
  async with Serving() as run:
    reader, writer = await asyncio.open_connection(*run.address)
    nonce = json.loads(await reader.readline())['nonce']
    hello = {'rank': 1, 'count': 2, 'host': 'x', 'relay': False, 'nonce': NONCE}
    writer.write(message(**hello, proof=proof(KEY, 'process', nonce, hello)))
    writer.write(message(progress=1, failed=False))
    answers = [json.loads(line) for line in (await reader.read()).splitlines()]
    assert {'refused': 'process 1 of 2 (x) sent a message before all processes had '
            'connected'} in answers
    await run.register_both()


@asynchronous
async def test_the_error_of_a_process_is_escaped():
  async with Serving() as run:
    pair = await run.register_both()
    pair[1].send({'error': ESCAPES, 'round': 0})
    assert await answer(pair[1]) == {'round': 0, 'gathered': []}
    assert await answer(pair[0]) == {
      'grace': 1, 'failure': f'process 1 of 2 (b) stopped: {ESCAPED}'}
