"""Strangers at the hub, and at its place: the processes of a run meet all the same."""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import socket
import threading

import pytest

from bigmodels.core.errors import UserError
from bigmodels.distributed import cluster, coordinator, secret
from bigmodels.distributed.coordinator import Hub
from bigmodels.distributed.wire import Relay, Wire, greet, introduce, pump

KEY = b'a secret of these tests'
ESCAPES = '\x1b]0;mine\x07\x1b[31mred\r\nerror: not so\u202e'
ESCAPED = r'\x1b]0;mine\x07\x1b[31mred\r\nerror: not so\u202e'
NONCE = 'ab' * 32


def proof(key, who, nonce, hello) -> str:
  """As the protocol has it, written down once more."""
  text = json.dumps([1, who, nonce, hello['nonce'], hello['rank'], hello['count'],
                     hello['host'], hello['relay']])
  return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Meeting:
  """A hub for two processes, and what happens to it."""

  def __init__(self, timeout: float = 30):
    self.timeout, self.errors = timeout, []

  async def __aenter__(self):
    asyncio.get_running_loop().set_exception_handler(
      lambda _, context: self.errors.append(context))
    self.hub = Hub(2, self.timeout, self.timeout / 100, where=secret.VARIABLE, key=KEY)
    listening, warning = cluster.listen('127.0.0.1', cluster.free_port())
    assert warning == ''
    await self.hub.open(listening, cluster.free_port())
    self.there = cluster.own_address(listening)
    return self

  async def __aexit__(self, kind, *_):
    self.hub._judging.cancel()
    for server in self.hub._servers:
      server.close()
    for peer in self.hub._peers.values():
      peer.wire.abort()
    await asyncio.sleep(0.01)
    assert kind or not self.errors, self.errors

  def come(self, rank: int, host: str = 'h'):
    """A process of the run: its connection, and the hosts of all."""
    return asyncio.wait_for(introduce(
      self.there, 20, lambda where, last: KEY if rank else self.hub.own, rank=rank,
      count=2, host=host), 20)

  async def go_well(self):
    """Both come, and learn of each other."""
    pair = await asyncio.gather(self.come(0, 'a'), self.come(1, 'b'))
    assert [names for _, names in pair] == [['a', 'b']] * 2
    for rank, (wire, _) in enumerate(pair):
      wire.send({'name': 'barrier', 'text': str(rank), 'turn': 1})
    for wire, _ in pair:
      assert await answer(wire) == {
        'turn': 1, 'all': [['barrier', '0'], ['barrier', '1']]}
    assert not self.hub._over
    self.pair = [wire for wire, _ in pair]  # open as long as this one
    return self.pair

  async def say(self, data: bytes, end: bool = False) -> list[dict]:
    """What the hub answers a stranger who says this."""
    reader, writer = await asyncio.open_connection(*self.there)
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

  async def shake(self, changes: dict, key: bytes = KEY, who: str = 'process') -> dict:
    """What it answers who says this of itself, and proves it."""
    reader, writer = await asyncio.open_connection(*self.there)
    nonce = json.loads(await reader.readline())['nonce']
    hello = {'rank': 1, 'count': 2, 'host': 'x', 'relay': False, 'nonce': NONCE}
    hello |= changes
    hello = {'proof': proof(key, who, nonce, hello), **hello}
    writer.write(message(**{k: v for k, v in hello.items() if v != 'left out'}))
    found = json.loads(await asyncio.wait_for(reader.readline(), 10))
    if 'proof' in found:
      assert found.pop('proof') == proof(key, 'hub', nonce, hello)
    writer.close()
    return found


async def answer(wire: Wire) -> dict:
  """The next message that is not only a sign of life."""
  while not (message := await asyncio.wait_for(wire.read(), 10)):
    assert message is not None, 'closed'
  return message


# --- who does not know the secret -----------------------------------------------


JSON, OBJECT = 'a line that is not JSON', 'JSON that is not an object'
LONG = 'a line of more than 4096 bytes'
FIELDS = 'it must say rank, count, host, relay, nonce, proof, and nothing else'
STRANGE = {
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
  'a message of later': (b'{"mark": 1, "failed": false}\n', FIELDS),
  'a long line': (b'"' + b'a' * 4096 + b'"\n', LONG),
  'a line without an end': (b'a' * 2**20, LONG),
}


@pytest.mark.parametrize(('data', 'refused'), STRANGE.values(), ids=STRANGE)
def test_what_is_no_process(data, refused):
  async def scenario():
    async with Meeting() as meeting:
      answers = await meeting.say(data, end=refused is None)
      if refused:  # what was sent too long may cut off the answer
        assert answers == [{'refused': refused}] or (refused == LONG and not answers)
      await meeting.go_well()
      await meeting.say(data, end=refused is None)
      assert not meeting.hub._over

  asyncio.run(scenario())


NOT_SO = '{} is not as it must be'
HELLOS = {
  'rank -1': ({'rank': -1}, '--process_id=-1: with --num_processes=2 it is 0 to 1'),
  'rank 2': ({'rank': 2}, '--process_id=2: with --num_processes=2 it is 0 to 1'),
  'rank 77': ({'rank': 77}, '--process_id=77: with --num_processes=2 it is 0 to 1'),
  'rank 1e30': ({'rank': 10**30}, NOT_SO.format('rank')),
  "rank '1'": ({'rank': '1'}, NOT_SO.format('rank')),
  'rank True': ({'rank': True}, NOT_SO.format('rank')),
  'rank 1.0': ({'rank': 1.0}, NOT_SO.format('rank')),
  'rank None': ({'rank': None}, NOT_SO.format('rank')),
  'rank NaN': ({'rank': float('nan')}, NOT_SO.format('rank')),
  'rank [1]': ({'rank': [1]}, NOT_SO.format('rank')),
  'rank 0 from elsewhere': (
    {'rank': 0}, f'--process_id=0: process 0 of 2 ({socket.gethostname()}) is there '
    'already; this one was started on x'),
  'count 3': ({'count': 3},
              '--num_processes=3: process 0 was started with --num_processes=2'),
  'count 0': ({'count': 0},
              '--num_processes=0: process 0 was started with --num_processes=2'),
  "count '2'": ({'count': '2'}, NOT_SO.format('count')),
  'count True': ({'count': True}, NOT_SO.format('count')),
  'host of a number': ({'host': 7}, NOT_SO.format('host')),
  'host without an end': ({'host': 'h' * 201}, NOT_SO.format('host')),
  'relay of a text': ({'relay': 'no'}, NOT_SO.format('relay')),
  'relay before all are there': ({'relay': True}, 'not all processes are there'),
  'a short nonce': ({'nonce': 'ab'}, NOT_SO.format('nonce')),
  'a nonce of others': ({'nonce': 'é' * 64}, NOT_SO.format('nonce')),
  'no proof': ({'proof': None}, NOT_SO.format('proof')),
  'a short proof': ({'proof': 'ab' * 31}, NOT_SO.format('proof')),
  'proof left out': ({'proof': 'left out'}, FIELDS),
  'more than is asked': ({'more': 1}, FIELDS),
  'another proof': ({'proof': NONCE}, 'it does not know the secret of this run'),
}


@pytest.mark.parametrize(('changes', 'refused'), HELLOS.values(), ids=HELLOS)
def test_what_cannot_be_one_of_the_run(changes, refused):
  """Even if it knows the secret."""
  async def scenario():
    async with Meeting() as meeting:
      assert await meeting.shake(changes) == {'refused': refused}
      assert meeting.hub._peers == {}
      await meeting.go_well()

  asyncio.run(scenario())


@pytest.mark.parametrize('options', [
  {'key': b''}, {'key': KEY[:-1]}, {'key': KEY + b' '}, {'key': b'\xff' * 32},
  {'who': 'hub'}, {'who': ''}], ids=str)
@pytest.mark.parametrize('changes', [{}, {'rank': 0}, {'relay': True}], ids=str)
def test_without_the_secret(options, changes):
  async def scenario():
    async with Meeting() as meeting:
      for _ in range(2):  # before all are there, and after
        assert await meeting.shake(changes, **options) == {
          'refused': 'it does not know the secret of this run'}
        assert len(meeting.hub._peers) == 2 * meeting.hub._whole
        if not meeting.hub._whole:
          await meeting.go_well()

  asyncio.run(scenario())


def test_a_duplicate_is_refused_by_name():
  async def scenario():
    async with Meeting() as meeting:
      first = asyncio.create_task(meeting.come(1, 'first' + ESCAPES))
      while 1 not in meeting.hub._peers:
        await asyncio.sleep(0.01)
      assert await meeting.shake({'host': 'second' + ESCAPES}) == {'refused': (
        f'--process_id=1: process 1 of 2 (first{ESCAPED}) is there already; this one '
        f'was started on second{ESCAPED}')}
      await meeting.come(0, 'zero')
      assert (await first)[1] == ['zero', f'first{ESCAPED}']

  asyncio.run(scenario())


def test_a_proof_is_of_use_once():
  """What was heard of a process of the run, said again."""
  async def scenario():
    async with Meeting() as meeting:
      heard = bytearray()

      async def between(reader, writer):
        there = await asyncio.open_connection(*meeting.there)

        async def up():
          while data := await reader.read(2**16):
            heard.extend(data)
            there[1].write(data)

        task = asyncio.create_task(up())
        await pump(there[0], writer)
        writer.close()
        await task

      server = await asyncio.start_server(between, '127.0.0.1', 0)
      come = asyncio.create_task(introduce(
        server.sockets[0].getsockname(), 20, lambda where, last: KEY, rank=1, count=2,
        host='h'))
      while 1 not in meeting.hub._peers:
        await asyncio.sleep(0.01)
      meeting.hub._peers[1].wire.abort()
      with pytest.raises(UserError):
        await come
      assert json.loads(heard)['rank'] == 1
      assert await meeting.say(bytes(heard)) == [
        {'refused': 'it does not know the secret of this run'}]
      await meeting.go_well()
      server.close()

  asyncio.run(scenario())


@pytest.mark.parametrize('count', [100, 400])
def test_who_only_keeps_connections_open(count):
  async def scenario():
    async with Meeting() as meeting:
      idle = [await asyncio.open_connection(*meeting.there) for _ in range(count)]
      for _, writer in idle:
        writer.write(b'{"rank": ')
      await meeting.go_well()
      assert len(meeting.hub._strangers) <= coordinator._STRANGERS
      for _, writer in idle:
        writer.close()

  asyncio.run(scenario())


def test_a_slow_one_is_closed(monkeypatch):
  """Though it goes on to say something."""
  monkeypatch.setattr(coordinator, '_HELLO', 0.2)

  async def scenario():
    async with Meeting() as meeting:
      reader, writer = await asyncio.open_connection(*meeting.there)
      await reader.readline()
      with pytest.raises(ConnectionError):
        for _ in range(100):
          writer.write(b' ')
          await writer.drain()
          await asyncio.sleep(0.02)
      await meeting.go_well()

  asyncio.run(scenario())


@pytest.mark.skipif(not pathlib.Path('/proc/self/statm').exists(), reason='of Linux')
def test_what_long_lines_cost():
  """100 connections that send 4 MB each, without an end of the line."""
  def memory() -> float:
    pages = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20

  def flood(there, number, data):
    for _ in range(number):
      with contextlib.suppress(OSError), socket.create_connection(there, 5) as stranger:
        stranger.sendall(data)

  async def scenario():
    async with Meeting() as meeting:
      data, most = b'a' * 2**22, 0.0
      before = memory()
      threads = [threading.Thread(target=flood, args=(meeting.there, 10, data))
                 for _ in range(10)]
      for thread in threads:
        thread.start()
      while any(thread.is_alive() for thread in threads):
        most = max(most, memory())
        await asyncio.sleep(0.001)
      assert most - before < 30
      await meeting.go_well()

  asyncio.run(scenario())


def test_what_came_without_the_secret_is_named_in_the_end():
  async def scenario():
    async with Meeting(timeout=1) as meeting:
      come = asyncio.create_task(meeting.come(0))
      await meeting.shake({}, key=b'another')
      await meeting.shake({'rank': 77}, key=b'another')
      with pytest.raises(UserError, match=(
        r'^of 2 processes, 1 did not come within 1 s; what came as 1 from 127\.0\.0\.1 '
        'does not know the secret of this run$')):
        await come

  asyncio.run(scenario())


# --- who knows it, and says what cannot be --------------------------------------


def message(**values) -> bytes:
  return json.dumps(values).encode() + b'\n'


def text(**values) -> bytes:
  return message(**{'name': 'barrier', 'text': 'x', 'turn': 2, **values})


KIND = 'a message of no known kind or value (of {})'
TEXT = KIND.format('name, text, turn')
MARK = KIND.format('mark, failed')
SAID = {
  'unknown kind': (message(shutdown=True), KIND.format('shutdown')),
  'escapes in a key': (message(**{'\x1b[2J': 1}), KIND.format(r'\x1b[2J')),
  'mark of a text': (message(mark='1', failed=False), MARK),
  'mark NaN': (b'{"mark": NaN, "failed": false}\n', MARK),
  'mark infinite': (b'{"mark": 1e999, "failed": false}\n', MARK),
  'mark True': (message(mark=True, failed=False), MARK),
  'mark -1': (message(mark=-1, failed=False), MARK),
  'mark too large': (message(mark=10**400, failed=False), MARK),
  'mark alone': (message(mark=1), KIND.format('mark')),
  'failed of a number': (message(mark=1, failed=1), MARK),
  'gone of a number': (message(gone=1, turn=0), KIND.format('gone, turn')),
  'gone in a turn': (message(gone='why', turn=2), KIND.format('gone, turn')),
  'a text of a list': (text(text=['x']), TEXT),
  'a text too long': (text(text='x' * 20_001), TEXT),
  'a name of a number': (text(name=1), TEXT),
  'a turn again': (text(turn=1), TEXT),
  'a turn left out': (text(turn=3), TEXT),
  'two turns at a time': (text() + text(turn=3), TEXT),
  'turn of a text': (text(turn='2'), TEXT),
  'turn 2.0': (text(turn=2.0), TEXT),
  'more than is known': (text(more=1), KIND.format('name, text, turn, more')),
  'a list': (b'[]\n', OBJECT),
  'not JSON': (b'nonsense\n', JSON),
  'not UTF-8': (b'"\xff"\n', JSON),
  'nested': (b'[' * 100_000 + b'\n', JSON),
  'too long': (b'"' + b'a' * 12 * 20_100 + b'"\n', 'a line of more than 241024 bytes'),
  'too long, without an end': (b'a' * 12 * 20_100, 'a line of more than 241024 bytes'),
}


@pytest.mark.parametrize(('data', 'sent'), SAID.values(), ids=SAID)
def test_a_message_that_cannot_be_meant_ends_the_run_in_a_line(data, sent):
  async def scenario():
    async with Meeting() as meeting:
      pair = await meeting.go_well()
      pair[1]._writer.write(data)
      for wire in pair:
        assert await answer(wire) == {'grace': 0, 'lost': (
          f'process 1 of 2 (b) is not understood: it sent {sent}; {coordinator.AGAIN}')}

  asyncio.run(scenario())


def test_the_longest_text_comes_through():
  """Each of its characters takes 12 bytes."""
  async def scenario():
    async with Meeting() as meeting:
      pair = await meeting.go_well()
      for wire in pair:
        wire.send({'name': 'n' * 200, 'text': '\U0001f600' * 20_000, 'turn': 2})
      for wire in pair:
        found = await answer(wire)
        assert found == {'turn': 2, 'all': [['n' * 200, '\U0001f600' * 20_000]] * 2}

  asyncio.run(scenario())


def test_a_message_before_all_are_there():
  async def scenario():
    async with Meeting() as meeting:
      reader, writer = await asyncio.open_connection(*meeting.there)
      nonce = json.loads(await reader.readline())['nonce']
      hello = {'rank': 1, 'count': 2, 'host': 'x', 'relay': False, 'nonce': NONCE}
      writer.write(message(**hello, proof=proof(KEY, 'process', nonce, hello)))
      writer.write(message(mark=1, failed=False))
      answers = [json.loads(line) for line in (await reader.read()).splitlines()]
      assert {'refused': 'process 1 of 2 (x) is not understood: it sent a message '
              'before all processes were there'} in answers
      await meeting.go_well()

  asyncio.run(scenario())


def test_what_a_process_says_in_the_end_is_shown_escaped():
  async def scenario():
    async with Meeting() as meeting:
      pair = await meeting.go_well()
      pair[1].send({'gone': ESCAPES, 'turn': 0})
      assert await answer(pair[1]) == {'turn': 0, 'all': []}
      assert await answer(pair[0]) == {
        'grace': 1, 'lost': f'process 1 of 2 (b) stopped: {ESCAPED}'}

  asyncio.run(scenario())


# --- strangers in its place -----------------------------------------------------


def challenge(**changes) -> bytes:
  return message(**{
    'protocol': 1, 'secret': secret.VARIABLE, 'nonce': NONCE, **changes})


NO_HUB = 'does not answer as process 0 of a run does'
UNKNOWN = 'does not know the secret of this run'
FAKES = {
  'says nothing': ([], NO_HUB),
  'closes': ([None], '.'),
  'a banner': ([b'SSH-2.0-OpenSSH_9.6\r\n'], NO_HUB),
  'a list': ([b'[]\n'], NO_HUB),
  'nested': ([b'[' * 4000 + b'\n'], NO_HUB),
  'a line without an end': ([b'a' * 10_000], NO_HUB),
  'an empty object': ([b'{}\n'], NO_HUB),
  'a welcome at once': ([b'{"hosts": ["a", "b"]}\n'], NO_HUB),
  'an old hub': ([b'{"hosts": ["a", "b"], "port": 1}\n'], NO_HUB),
  'another version': ([challenge(protocol=2)], 'another version of bigmodels'),
  'no nonce': ([challenge(nonce=None)], NO_HUB),
  'a path': ([challenge(secret='../../etc/passwd')], NO_HUB),
  'no place': ([challenge(secret=7)], NO_HUB),
  'no proof': ([challenge(), b'{}\n'], UNKNOWN),
  'a false proof': ([challenge(), message(proof=NONCE)], UNKNOWN),
  'its own words': ([challenge(), message(refused=ESCAPES)], UNKNOWN),
  'a proof of a number': ([challenge(), message(proof=1)], UNKNOWN),
  'no JSON': ([challenge(), b'nonsense\n'], NO_HUB),
}


@pytest.mark.parametrize(('said', 'expected'), FAKES.values(), ids=FAKES)
def test_what_is_no_hub(said, expected, monkeypatch):
  """It learns nothing, and a process says in a line what is there."""
  monkeypatch.delenv(secret.VARIABLE, raising=False)
  heard = bytearray()

  async def fake(reader, writer):
    with contextlib.suppress(OSError):
      for line in said:
        if line is None:
          writer.close()
          return
        writer.write(line)
        heard.extend(await reader.read(2**16))
      await reader.read()

  def known(where, last):
    if where == secret.VARIABLE:
      return KEY
    return secret.find(pathlib.Path('.'), where, last)

  async def scenario():
    server = await asyncio.start_server(fake, '127.0.0.1', 0)
    with pytest.raises(UserError, match=expected) as raised:
      await introduce(server.sockets[0].getsockname(), 0.5, known, rank=1, count=2,
                      host='h')
    assert str(raised.value).isprintable() and ESCAPED not in str(raised.value)
    server.close()

  asyncio.run(scenario())
  assert KEY not in heard and b'root' not in heard


def test_a_relay_leads_to_the_service_behind_the_hub():
  """Whatever is said there, in both directions; for who knows the secret."""
  async def scenario():
    async with Meeting() as meeting:
      async def echo(reader, writer):
        writer.write(b'first\n')
        while data := await reader.read(2**16):
          writer.write(data[::-1])

      await meeting.go_well()
      hello = {'rank': 1, 'count': 2, 'host': 'h'}
      relay = Relay(meeting.there, KEY, **hello)
      reader, writer = await asyncio.open_connection('127.0.0.1', await relay.open())
      service = await asyncio.start_server(echo, '127.0.0.1', meeting.hub._jax_port)
      assert await reader.readline() == b'first\n'
      writer.write(b'\nabc')
      assert await reader.readline() == b'cba\n'
      with pytest.raises(UserError, match=UNKNOWN):
        await greet(meeting.there, 5, lambda where, last: b'x', **hello, relay=True)
      writer.close()
      service.close()
      relay._server.close()

  asyncio.run(scenario())
