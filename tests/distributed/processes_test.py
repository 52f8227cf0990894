"""Several processes of one run: real ones, on this machine, killed and stopped."""

import asyncio
import contextlib
import http.server
import importlib.util
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine

import jax
import pytest
from jax._src.clusters import cloud_tpu_cluster

from bigmodels.core.errors import UserError
from bigmodels.distributed import cluster, processes, secret
from bigmodels.distributed.coordinator import Hub
from bigmodels.distributed.processes import Address
from bigmodels.distributed.wire import introduce
from tests.processes import of_devices

ROOT = pathlib.Path(processes.__file__).parent.parent.parent
HOST = socket.gethostname()
START = '''
import multiprocessing, os, sys, time
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from bigmodels.core.errors import UserError
from bigmodels.distributed.processes import Address, joined

def collective():
  mesh = Mesh(np.array(jax.devices()), ('all',))
  ranks = jax.make_array_from_callback(
    (jax.device_count(),), NamedSharding(mesh, PartitionSpec('all')),
    lambda _: np.array([rank]))
  total = jax.jit(sum_, out_shardings=NamedSharding(mesh, PartitionSpec()))(ranks)
  return int(jax.block_until_ready(total))

def sum_(x):
  return x.sum()

def work(hosts):
  {body}

coordinator, count, rank, hang_timeout, shared = sys.argv[1:]
rank = int(rank)
try:
  with joined(Address(coordinator, int(count), rank), float(hang_timeout),
              shared=shared) as hosts:
    work(hosts)
except UserError as error:
  print('error:', error, file=sys.stderr)
  sys.exit(2)
'''
# Collectives without end; the process named in it does something else after some.
FOR_EVER = '''
  for step in range(10**9):
    if rank == {who} and step == 3:
      {what}
    processes.mark()
    collective()
    if step == 2:
      print('ready', flush=True)
'''


class Run:
  """Processes of one run, each a Python program."""

  def __init__(self, folder: pathlib.Path):
    self.folder, self.coordinator = folder, f'127.0.0.1:{cluster.free_port()}'
    self.processes: list[subprocess.Popen] = []

  def start(self, body: str, rank: int, count: int = 2, hang_timeout: float = 60):
    env = of_devices(2) | {'PYTHONPATH': str(ROOT)}
    number = len(self.processes)
    with (open(self.folder / f'{number}.out', 'w') as out,
          open(self.folder / f'{number}.err', 'w') as err):
      self.processes.append(subprocess.Popen(
        [sys.executable, '-c', START.format(body=body), self.coordinator, str(count),
         str(rank), str(hang_timeout), str(self.folder / 'shared')],
        stdout=out, stderr=err, env=env))

  def start_all(self, body: str, count: int = 2, hang_timeout: float = 60) -> None:
    for rank in range(count):
      self.start(body, rank, count, hang_timeout)

  def text(self, number: int, kind: str = 'out') -> str:
    return (self.folder / f'{number}.{kind}').read_text()

  def await_ready(self) -> None:
    until = time.monotonic() + 60
    while not all('ready\n' in self.text(i) for i in range(len(self.processes))):
      assert time.monotonic() < until and not any(p.poll() for p in self.processes), [
        self.text(i, 'err') for i in range(len(self.processes))]
      time.sleep(0.05)

  def code(self, number: int, timeout: float = 60) -> int:
    return self.processes[number].wait(timeout)

  def only_error(self, number: int, timeout: float = 60) -> str:
    """The one line with which a process has ended with code 2."""
    code, text = self.code(number, timeout), self.text(number, 'err')
    assert code == 2 and text.startswith('error: ') and text.count('\n') == 1, text
    return text


@pytest.fixture
def run(tmp_path):
  run = Run(tmp_path)
  yield run
  for process in run.processes:
    with contextlib.suppress(ProcessLookupError):
      process.kill()
    process.wait()


# --- several processes ----------------------------------------------------------


def test_together(run):
  run.start_all('''
  assert (processes.rank, processes.count, processes.main) == (rank, 2, rank == 0)
  processes.announce()
  processes.say('once')
  processes.agree('the number', 'one')
  processes.barrier('here')
  told = processes.tell('a word' if rank == 0 else None)
  whole = processes.tell('12\\U0001f600' * 40_000 if rank == 0 else None)
  assert whole == '12\\U0001f600' * 40_000  # more than goes into a message
  assert processes.tell('' if rank == 0 else None) == ''
  mine = {os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')
          if os.path.exists(f'/proc/self/fd/{n}')}
  for name in ('tcp', 'tcp6'):
    for line in open(f'/proc/net/{name}').readlines()[1:]:
      fields = line.split()
      if fields[3] == '0A' and f'socket:[{fields[9]}]' in mine:
        print('listens', fields[1].partition(':')[0])
  print('told', told, collective(), jax.device_count())
''')
  for rank, ids in enumerate(('0-1', r'\d+-\d+')):
    assert run.code(rank) == 0 and run.text(rank, 'err') == '', run.text(rank, 'err')
    out = run.text(rank)
    assert re.search(
      rf'^process {rank} of 2 on {re.escape(HOST)}: 2 x cpu \(ids {ids}\)$', out, re.M)
    assert 'told a word 2 4\n' in out  # 0 + 0 + 1 + 1
    assert out.count('once') == (rank == 0)
    listens = set(re.findall(r'^listens (.*)$', out, re.M))
    assert listens <= {'0100007F', '0' * 16 + 'FFFF00000100007F'}, (  # 127.0.0.1
      'before a collective', listens)
    assert listens
  assert list((run.folder / 'shared').iterdir()) == []


@pytest.mark.slow('run several processes')
def test_strangers_come_first(run):
  """They say rank 1 and rank 77, with escape codes, and lines that have no end."""
  long, kept = b'a' * 2**23, []
  run.start("print('memory', open('/proc/self/status').read().split('VmHWM:')[1]"
            ".split()[0], collective())", 0)
  there, until = cluster.split(run.coordinator), time.monotonic() + 60

  def say(data):
    while time.monotonic() < until:
      with contextlib.suppress(OSError):
        kept.append(socket.create_connection(there, 5))
        with contextlib.suppress(OSError):
          kept[-1].sendall(data)
        return
      time.sleep(0.1)

  hosts_ = ('stranger', '\x1b]0;mine\x07\x1b[31m\nerror: not so')
  say(b'')
  for rank, host in itertools.product((1, 77), hosts_):
    say(json.dumps({'rank': rank, 'count': 2, 'host': host}).encode() + b'\n')
  for data in [long] * 12 + [b'{'] * 200:
    say(data)
  run.start('collective()', 1)
  for number in range(2):
    assert run.code(number) == 0, run.text(number, 'err')
    assert 'stranger' not in run.text(number) + run.text(number, 'err')
    assert '\x1b' not in run.text(number) + run.text(number, 'err')
  megabytes = int(re.search(r'memory (\d+)', run.text(0))[1]) / 1024
  assert megabytes < 250, megabytes  # most of it is JAX
  for stranger in kept:
    stranger.close()


@pytest.mark.parametrize(('odd', 'count', 'usual'), [(1, 2, 0), (0, 3, 1)])
def test_the_odd_one_out_is_named_everywhere(run, odd, count, usual):
  run.start_all(f'''
  processes.agree('the config',
                  'a = 1\\nb = ' + ('3' if rank == {odd} else '2') + '\\n')
''', count)
  for rank in range(count):
    assert run.code(rank) == 2
    assert run.text(rank, 'err') == (
      f'error: the config is not the same in all processes: process {odd} of {count} '
      f'({HOST}) differs from process {usual} of {count} ({HOST})\n'
      f"  line 2: 'b = 2' in process {usual}, 'b = 3' in process {odd}\n")


def test_processes_at_different_points_do_not_wait_for_each_other(run):
  run.start_all("hosts.barrier('a' if rank == 0 else 'b')")
  for rank in range(2):
    assert run.code(rank) in (1, 2)
    assert 'barrier a' in run.text(rank, 'err') and 'barrier b' in run.text(rank, 'err')


@pytest.mark.parametrize('victim', [0, 1])
def test_killed(run, victim):
  """Known at once, in one line; a child of the survivor ends with it."""
  run.start_all('''
  child = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(600,))
  child.start()
  print('child', child.pid)''' + FOR_EVER.format(who=-1, what='pass'))
  run.await_ready()
  children = [int(re.search(r'child (\d+)', run.text(i))[1]) for i in range(2)]
  try:
    run.processes[victim].kill()
    error = run.only_error(1 - victim, timeout=20)
    assert f'process {victim} of 2 ({HOST}) is gone' in error
    assert 'start all processes again' in error
    until = time.monotonic() + 10
    while _alive(children[1 - victim]):
      assert time.monotonic() < until
      time.sleep(0.05)
  finally:
    for child in filter(_alive, children):
      os.kill(child, signal.SIGKILL)


def _alive(pid: int) -> bool:
  """Whether there is such a process, and not only what waits to be reaped."""
  with contextlib.suppress(OSError):
    state = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    return state != 'Z'
  return False


@pytest.mark.parametrize('victim', [0, 1])
def test_stopped(run, victim):
  run.start_all(FOR_EVER.format(who=-1, what='pass'), hang_timeout=4)
  run.await_ready()
  start = time.monotonic()
  run.processes[victim].send_signal(signal.SIGSTOP)
  error = run.only_error(1 - victim)
  assert time.monotonic() - start > 2
  assert f'process {victim} of 2 ({HOST}) has not been heard of for 4 s' in error


def test_a_main_thread_that_hangs(run):
  run.start_all(FOR_EVER.format(who=1, what='time.sleep(600)'), hang_timeout=4)
  for rank in range(2):
    error = run.only_error(rank)
    assert f'process 1 of 2 ({HOST}) hangs' in error and 'for 4 s' in error


@pytest.mark.parametrize('who', [0, 1])
def test_what_the_user_can_mend_ends_all_at_once(run, who):
  run.start_all(FOR_EVER.format(who=who, what="raise UserError('no such thing')"))
  assert run.only_error(who) == 'error: no such thing\n'
  assert run.only_error(1 - who, timeout=20) == (
    f'error: process {who} of 2 ({HOST}) stopped: no such thing\n')


@pytest.mark.parametrize('error', [
  ValueError('a bug'), jax.errors.JaxRuntimeError('Gloo: connection lost, it seems')])
def test_a_failure_of_ours_ends_all(run, error):
  """Also one that looks as if another process was lost: nobody is, after waiting."""
  name = 'jax.errors.' * (type(error) is not ValueError) + type(error).__name__
  run.start_all(FOR_EVER.format(who=1, what=f'raise {name}({str(error)!r})'),
                hang_timeout=4)
  assert f'process 1 of 2 ({HOST}) stopped: {type(error).__name__}: {error}' in (
    run.only_error(0))
  assert run.code(1) == 1
  assert run.text(1, 'err').startswith('Traceback') and str(error) in run.text(1, 'err')


# --- who does not come together -------------------------------------------------


def test_nobody_is_at_the_address(run):
  run.start('pass', rank=1, hang_timeout=2)
  error = run.only_error(0, timeout=30)
  assert run.coordinator in error and 'Connection refused' in error


def test_something_else_is_at_the_address(run):
  with socket.create_server(('127.0.0.1', 0)) as other:
    run.coordinator = f'127.0.0.1:{other.getsockname()[1]}'
    run.start('pass', rank=0)
    assert 'cannot be used: Address already in use' in run.only_error(0)
    run.start('pass', rank=1, hang_timeout=2)
    error = run.only_error(1)
    assert run.coordinator in error and 'does not answer as process 0' in error


KEY = b'a secret of this test'


async def _hub(count: int, timeout: float) -> tuple[Hub, tuple[str, int]]:
  """A hub that listens, and where."""
  hub = Hub(count, timeout, timeout / 10, where=secret.VARIABLE, key=KEY)
  listening, _ = cluster.listen('127.0.0.1', cluster.free_port())
  await hub.open(listening, 1234)
  return hub, cluster.own_address(listening)


def _come(hub: Hub, there: tuple[str, int], rank: int, count: int = 2,
          host: str = 'h') -> Coroutine:
  """A process that knows the secret comes to it."""
  def known(where, last):
    return KEY if rank else hub.own

  return introduce(there, 30, known, rank=rank, count=count, host=host)


async def _meet(count: int, timeout: float, *hellos: dict) -> list[list[str] | str]:
  """What a hub says to those who come, an error as its text."""
  hub, there = await _hub(count, timeout)
  found = await asyncio.gather(*(
    _come(hub, there, **{'count': count, **hello}) for hello in hellos),
    return_exceptions=True)
  return [str(f) if isinstance(f, UserError) else f[-1] for f in found]


def test_all_come():
  found = asyncio.run(_meet(2, 30, {'rank': 1, 'host': 'b'}, {'rank': 0, 'host': 'a'}))
  assert found == [['a', 'b']] * 2


def test_some_do_not_come():
  """Those who do not fit are told so; that does not disturb the others."""
  first, *both, other = asyncio.run(_meet(
    4, 1, {'rank': 0}, {'rank': 2}, {'rank': 2}, {'rank': 3, 'count': 5}))
  twice, second = sorted(both)
  assert twice.startswith('--process_id=2: process 2 of 4 (h) is there already')
  assert other == '--num_processes=5: process 0 was started with --num_processes=4'
  assert first == second == 'of 4 processes, 1, 3 did not come within 1 s'


def test_a_process_may_come_back_before_all_are_there():
  async def scenario():
    hub, there = await _hub(2, 30)
    first = asyncio.create_task(_come(hub, there, 1, host='before'))
    while 1 not in hub._peers:
      await asyncio.sleep(0.01)
    hub._peers[1].wire.abort()
    while 1 in hub._peers:
      await asyncio.sleep(0.01)
    with pytest.raises(UserError, match='does not answer'):
      await first
    return await asyncio.gather(*(_come(hub, there, rank) for rank in range(2)))

  for _, names in asyncio.run(asyncio.wait_for(scenario(), 30)):
    assert names == ['h', 'h']


@pytest.mark.parametrize(('address', 'message'), [
  (Address('localhost:1234', 2), 'missing: --process_id'),
  (Address(process_id=0), 'missing: --coordinator, --num_processes'),
  (Address('localhost', 2, 0), '--coordinator=localhost: wants HOST:PORT'),
  (Address(':1234', 2, 0), '--coordinator=:1234: wants HOST:PORT'),
  (Address('localhost:70000', 2, 0), 'wants HOST:PORT'),
  (Address('localhost:1234', 0, 0), '--num_processes=0'),
  (Address('localhost:1234', 2, 2), '--process_id=2: .* it is 0 to 1'),
  (Address('localhost:1234', 2, -1), '--process_id=-1'),
  (Address('192.0.2.1:1234', 2, 0), '192.0.2.1.* is not an address of this machine'),
])
def test_flags_that_cannot_be_meant(address, message):
  with pytest.raises(UserError, match=message):
    processes.join(address, 1)


# --- one process ----------------------------------------------------------------


LONE = {
  'nothing': {},
  'slurm job of one task': {
    'SLURM_JOB_ID': '7', 'SLURM_STEP_NODELIST': 'node1', 'SLURM_NTASKS': '1',
    'SLURM_PROCID': '0', 'SLURM_LOCALID': '0'},
  'slurm step of one task': {
    'SLURM_JOB_ID': '7', 'SLURM_STEP_NODELIST': 'node1', 'SLURM_NTASKS': '4',
    'SLURM_STEP_NUM_TASKS': '1', 'SLURM_PROCID': '0', 'SLURM_LOCALID': '0'},
  'slurm, outside of a step': {'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '4'},
  'open mpi, one': {'OMPI_MCA_orte_hnp_uri': '1.0;tcp://10.0.0.1:1',
                    'OMPI_COMM_WORLD_SIZE': '1', 'OMPI_COMM_WORLD_RANK': '0'},
  'any pod of kubernetes': {'KUBERNETES_SERVICE_HOST': '10.0.0.1'},
}


@pytest.fixture
def no_cluster(monkeypatch):
  for name in list(os.environ):
    if name.startswith(('SLURM_', 'OMPI_', 'KUBERNETES_', 'JOB_COMPLETION', 'TPU_',
                        'MEGASCALE_', 'JAX_COORDINATOR')):
      monkeypatch.delenv(name)
  return monkeypatch


@pytest.mark.parametrize('env', LONE.values(), ids=LONE)
@pytest.mark.filterwarnings('error::UserWarning')
def test_alone(env, no_cluster, capsys):
  for name, value in env.items():
    no_cluster.setenv(name, value)
  no_cluster.setattr(socket, 'socket', None)
  before = threading.enumerate()
  with processes.joined(Address(), 60) as alone:
    assert (alone.rank, alone.count, alone.main) == (0, 1, True)
    alone.mark()
    alone.announce()
    alone.say('hello')
    assert alone.tell('text') == 'text'
    alone.agree('the config', 'text')
    alone.barrier('here')
    alone.lost(jax.errors.JaxRuntimeError('connection'))
  with pytest.raises(UserError, match='mine'), processes.joined(Address(), 60):
    raise UserError('mine')
  assert threading.enumerate() == before and not jax.distributed.is_initialized()
  assert capsys.readouterr().out == 'hello\n'


def test_one_process_by_flag(no_cluster):
  no_cluster.setattr(cluster, 'find', None)
  assert processes.join(Address(num_processes=1), 60).count == 1
  assert processes.join(Address('localhost:1', 1, 0), 60).count == 1


# --- clusters -------------------------------------------------------------------


def test_slurm(no_cluster):
  for name, value in {
      'SLURM_JOB_ID': '5', 'SLURM_STEP_NODELIST': 'node[03-04]', 'SLURM_NTASKS': '2',
      'SLURM_PROCID': '1', 'SLURM_LOCALID': '0', 'SLURM_STEP_NUM_NODES': '2'}.items():
    no_cluster.setenv(name, value)
  assert cluster.find(1) == (Address('node03:61445', 2, 1), [0])


def test_several_processes_that_jax_cannot_find(no_cluster):
  no_cluster.setenv('OMPI_COMM_WORLD_SIZE', '2')
  with pytest.raises(UserError, match='give --coordinator'):
    cluster.find(1)


@pytest.fixture
def tpu(no_cluster):
  """As on a machine with a TPU."""
  no_cluster.setattr('jax._src.cloud_tpu_init.running_in_cloud_tpu_vm', True)
  no_cluster.setattr(cloud_tpu_cluster, 'running_in_cloud_tpu_vm', True)
  before = jax.config.jax_platforms
  jax.config.update('jax_platforms', 'tpu,cpu')
  yield no_cluster
  jax.config.update('jax_platforms', before)


def test_tpu_pod(tpu):
  tpu.setenv('TPU_WORKER_HOSTNAMES', 'localhost,other')
  tpu.setenv('TPU_WORKER_ID', '1')
  tpu.setenv('TPU_SKIP_MDS_QUERY', '1')
  tpu.setenv('MEGASCALE_NUM_SLICES', '1')
  tpu.setenv('MEGASCALE_SLICE_ID', '0')
  tpu.setenv('MEGASCALE_COORDINATOR_ADDRESS', 'localhost')
  port = cloud_tpu_cluster.coordinator_port
  assert cluster.find(1) == (Address(f'localhost:{port}', 2, 1), None)
  jax.config.update('jax_platforms', 'cpu')
  assert cluster.find(1) == (Address(), None)


@pytest.mark.parametrize(('workers', 'slices', 'several'), [
  ('10.0.0.1', '', False), ('a:0:10.0.0.1,a:1:10.0.0.2', '', True),
  ('10.0.0.1', "MEGASCALE_NUM_SLICES: '2'", True), (None, '', False)])
def test_tpu_asks_the_machine_itself(tpu, workers, slices, several):
  """No answer, as of a lone machine without a network, is one host."""
  class Metadata(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      key = self.path.rpartition('/')[2]
      self.send_response(200)
      self.end_headers()
      self.wfile.write(
        {'worker-network-endpoints': workers, 'tpu-env': slices}[key].encode())

    def log_message(self, *_):
      pass

  with http.server.HTTPServer(('127.0.0.1', 0), Metadata) as server:
    tpu.setenv('GCE_METADATA_IP', f'127.0.0.1:{server.server_port}')
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if workers is None:
      server.shutdown()
      server.server_close()
    assert (cluster._tpu_hosts() > 1) == several
    server.shutdown()


def test_tpu_that_is_told_not_to_ask(tpu):
  tpu.setenv('TPU_SKIP_MDS_QUERY', '1')
  tpu.setattr(socket, 'socket', None)
  assert cluster.find(1) == (Address(), None)


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_kubernetes_without_its_package(no_cluster):
  for name, value in {'KUBERNETES_SERVICE_HOST': '10.0.0.1',
                      'JOB_COMPLETION_INDEX': '0'}.items():
    no_cluster.setenv(name, value)
  no_cluster.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match=r'pip install "jax\[k8s\]"'):
    cluster.find(1)
