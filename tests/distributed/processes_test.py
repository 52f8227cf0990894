"""bigmodels.distributed.processes: real processes, some killed or stopped."""

import contextlib
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

import jax
import pytest

from bigmodels.core.errors import UserError
from bigmodels.distributed import cluster, processes
from bigmodels.distributed.processes import Address
from tests.processes import of_devices

ROOT = pathlib.Path(processes.__file__).parent.parent.parent
HOST = socket.gethostname()
SLOW = pytest.mark.slow('run several processes')
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

def work(group):
  {body}

coordinator, count, rank, hang_timeout, shared = sys.argv[1:]
rank = int(rank)
try:
  with joined(Address(coordinator, int(count), rank), float(hang_timeout),
              shared=shared) as group:
    work(group)
except UserError as error:
  print('error:', error, file=sys.stderr)
  sys.exit(2)
'''
# Collectives without end; after some of them one process does something else.
FOR_EVER = '''
  for step in range(10**9):
    if rank == {who} and step == 3:
      {what}
    group.mark_progress()
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


def test_two_processes(run):
  run.start_all('''
  assert (group.rank, group.count, group.main) == (rank, 2, rank == 0)
  group.announce()
  group.say('once')
  group.agree('the number', 'one')
  group.barrier('here')
  received = group.broadcast('a text' if rank == 0 else None)
  long = group.broadcast('12\\U0001f600' * 40_000 if rank == 0 else None)
  assert long == '12\\U0001f600' * 40_000  # longer than a message
  assert group.broadcast('' if rank == 0 else None) == ''
  mine = {os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')
          if os.path.exists(f'/proc/self/fd/{n}')}
  for name in ('tcp', 'tcp6'):
    for line in open(f'/proc/net/{name}').readlines()[1:]:
      fields = line.split()
      if fields[3] == '0A' and f'socket:[{fields[9]}]' in mine:
        print('listens', fields[1].partition(':')[0])
  print('received', received, collective(), jax.device_count())
''')
  for rank, ids in enumerate(('0-1', r'\d+-\d+')):
    assert run.code(rank) == 0 and run.text(rank, 'err') == '', run.text(rank, 'err')
    out = run.text(rank)
    assert re.search(
      rf'^process {rank} of 2 on {re.escape(HOST)}: 2 x cpu \(ids {ids}\)$', out, re.M)
    assert 'received a text 2 4\n' in out  # 0 + 0 + 1 + 1
    assert out.count('once') == (rank == 0)
    listens = set(re.findall(r'^listens (.*)$', out, re.M))
    assert listens <= {'0100007F', '0' * 16 + 'FFFF00000100007F'}, (  # 127.0.0.1
      'before a collective', listens)
    assert listens
  assert list((run.folder / 'shared').iterdir()) == []


@SLOW
def test_other_clients_connect_first(run):
  """They claim rank 1 and rank 77, with escape codes, or send lines without an end."""
  long, clients = b'a' * 2**23, []
  run.start("print('memory', open('/proc/self/status').read().split('VmHWM:')[1]"
            ".split()[0], collective())", 0)
  address, until = cluster.split(run.coordinator), time.monotonic() + 60

  def send(data):
    while time.monotonic() < until:
      with contextlib.suppress(OSError):
        clients.append(socket.create_connection(address, 5))
        with contextlib.suppress(OSError):
          clients[-1].sendall(data)
        return
      time.sleep(0.1)

  send(b'')
  for rank, host in itertools.product(
      (1, 77), ('other', '\x1b]0;mine\x07\x1b[31m\nerror: not so')):
    send(json.dumps({'rank': rank, 'count': 2, 'host': host}).encode() + b'\n')
  for data in [long] * 12 + [b'{'] * 200:
    send(data)
  run.start('collective()', 1)
  for number in range(2):
    assert run.code(number) == 0, run.text(number, 'err')
    assert 'other' not in run.text(number) + run.text(number, 'err')
    assert '\x1b' not in run.text(number) + run.text(number, 'err')
  megabytes = int(re.search(r'memory (\d+)', run.text(0))[1]) / 1024
  assert megabytes < 250, megabytes  # most of it is JAX
  for client in clients:
    client.close()


@pytest.mark.parametrize(('odd', 'count', 'usual'), [
  pytest.param(1, 2, 0, marks=SLOW), (0, 3, 1)])
def test_the_process_that_differs_is_named_by_all(run, odd, count, usual):
  run.start_all(f'''
  group.agree('the config',
              'a = 1\\nb = ' + ('3' if rank == {odd} else '2') + '\\n')
''', count)
  for rank in range(count):
    assert run.code(rank) == 2
    assert run.text(rank, 'err') == (
      f'error: the config is not the same in all processes: process {odd} of {count} '
      f'({HOST}) differs from process {usual} of {count} ({HOST})\n'
      f"  line 2: 'b = 2' in process {usual}, 'b = 3' in process {odd}\n")


def test_processes_at_different_points_fail(run):
  run.start_all("group.barrier('a' if rank == 0 else 'b')")
  for rank in range(2):
    assert run.code(rank) in (1, 2)
    assert 'barrier a' in run.text(rank, 'err') and 'barrier b' in run.text(rank, 'err')


@pytest.mark.parametrize('victim', [0, 1])
def test_killed(run, victim):
  """The other process ends at once, with a line and with its child."""
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
    assert 'restart all processes' in error
    until = time.monotonic() + 10
    while _alive(children[1 - victim]):
      assert time.monotonic() < until
      time.sleep(0.05)
  finally:
    for child in filter(_alive, children):
      os.kill(child, signal.SIGKILL)


def _alive(pid: int) -> bool:
  """Whether a process exists, and is not a zombie."""
  with contextlib.suppress(OSError):
    state = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    return state != 'Z'
  return False


@pytest.mark.parametrize('victim', [0, pytest.param(1, marks=SLOW)])
def test_stopped(run, victim):
  run.start_all(FOR_EVER.format(who=-1, what='pass'), hang_timeout=4)
  run.await_ready()
  start = time.monotonic()
  run.processes[victim].send_signal(signal.SIGSTOP)
  error = run.only_error(1 - victim)
  assert time.monotonic() - start > 2
  assert f'process {victim} of 2 ({HOST}) has not responded for 4 s' in error


def test_a_main_thread_that_hangs(run):
  run.start_all(FOR_EVER.format(who=1, what='time.sleep(600)'), hang_timeout=4)
  for rank in range(2):
    error = run.only_error(rank)
    assert f'process 1 of 2 ({HOST}) hangs' in error and 'for 4 s' in error


@pytest.mark.parametrize('who', [pytest.param(0, marks=SLOW), 1])
def test_a_user_error_ends_all_at_once(run, who):
  run.start_all(FOR_EVER.format(who=who, what="raise UserError('no such thing')"))
  assert run.only_error(who) == 'error: no such thing\n'
  assert run.only_error(1 - who, timeout=20) == (
    f'error: process {who} of 2 ({HOST}) stopped: no such thing\n')


@pytest.mark.parametrize('error', [
  pytest.param(ValueError('a bug'), marks=SLOW),
  jax.errors.JaxRuntimeError('Gloo: connection lost, it seems')])
def test_an_exception_ends_all(run, error):
  """Also one like those of a lost process, after a time without a report."""
  name = 'jax.errors.' * (type(error) is not ValueError) + type(error).__name__
  run.start_all(FOR_EVER.format(who=1, what=f'raise {name}({str(error)!r})'),
                hang_timeout=4)
  assert f'process 1 of 2 ({HOST}) stopped: {type(error).__name__}: {error}' in (
    run.only_error(0))
  assert run.code(1) == 1
  assert run.text(1, 'err').startswith('Traceback') and str(error) in run.text(1, 'err')


# --- no connection --------------------------------------------------------------


def test_nothing_is_at_the_address(run):
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


# --- one process ----------------------------------------------------------------


SINGLE = {
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


@pytest.mark.parametrize('env', SINGLE.values(), ids=SINGLE)
@pytest.mark.filterwarnings('error::UserWarning')
def test_a_single_process(env, no_cluster, capsys):
  for name, value in env.items():
    no_cluster.setenv(name, value)
  no_cluster.setattr(socket, 'socket', None)
  before = threading.enumerate()
  with processes.joined(Address(), 60) as group:
    assert (group.rank, group.count, group.main) == (0, 1, True)
    group.mark_progress()
    group.announce()
    group.say('hello')
    assert group.broadcast('text') == 'text'
    group.agree('the config', 'text')
    group.barrier('here')
    group.await_report(jax.errors.JaxRuntimeError('connection'))
  with pytest.raises(UserError, match='mine'), processes.joined(Address(), 60):
    raise UserError('mine')
  assert threading.enumerate() == before and not jax.distributed.is_initialized()
  assert capsys.readouterr().out == 'hello\n'


def test_one_process_by_flag(no_cluster):
  no_cluster.setattr(cluster, 'find', None)
  assert processes.join(Address(num_processes=1), 60).count == 1
  assert processes.join(Address('localhost:1', 1, 0), 60).count == 1
