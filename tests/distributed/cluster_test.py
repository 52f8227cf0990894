"""bigmodels.distributed.cluster: where process 0 listens; flags; clusters."""

import contextlib
import http.server
import importlib.util
import socket
import threading

import jax
import pytest
from jax._src.clusters import cloud_tpu_cluster

from bigmodels.core.errors import UserError
from bigmodels.distributed import cluster
from bigmodels.distributed.cluster import Address

FOUR, SIX = socket.AF_INET, socket.AF_INET6
ALL = '::' if socket.has_dualstack_ipv6() else '0.0.0.0'
six = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason='no IPv6 here')


@pytest.fixture
def names(monkeypatch):
  """Makes some host names resolve to chosen addresses, others to none."""
  real = socket.getaddrinfo
  known = {
    'node1': ['127.0.1.1'], 'node2': ['127.0.0.1', '::1'], 'node3': ['192.0.2.77'],
    'node4': ['192.0.2.77', '127.0.0.2'], 'localhost': ['127.0.0.1'],
    'ip6-localhost': ['::1'], 'job.localhost': ['127.0.0.3'],
    'localhost.localdomain': ['127.0.0.1'],
    'twice.localhost': ['127.0.0.2', '127.0.0.2']}

  def look_up(host, *args, **kwargs):
    if host in known:
      return [f for each in known[host] for f in real(each, *args, **kwargs)]
    if host[:1].isdigit() or ':' in host:
      return real(host, *args, **kwargs)
    raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

  monkeypatch.setattr(socket, 'getaddrinfo', look_up)


@pytest.mark.parametrize(('host', 'addresses', 'warned'), [
  ('127.0.0.1', ['127.0.0.1'], None),
  ('127.0.0.2', ['127.0.0.2'], None),
  ('localhost', ['127.0.0.1'], None),
  ('localhost.localdomain', ['127.0.0.1'], None),
  ('job.localhost', ['127.0.0.3'], None),
  pytest.param('::1', ['::1'], None, marks=six),
  pytest.param('ip6-localhost', ['::1'], None, marks=six),
  ('0.0.0.0', ['0.0.0.0'], None),  # as requested
  pytest.param('::', ['::'], None, marks=six),
  ('node1', [ALL], 'node1 is 127.0.1.1 on this machine'),
  pytest.param('node2', [ALL], 'node2 is 127.0.0.1 on this machine', marks=six),
  ('node3', [ALL], 'node3 is not an address of this machine'),
  ('node4', ['127.0.0.2'], None),  # the one that this machine has
  ('unknown', [ALL], 'unknown is not an address of this machine'),
  ('192.0.2.77', [ALL], '192.0.2.77 is not an address of this machine'),
  ('twice.localhost', ['127.0.0.2'], None),
])
def test_the_addresses_of_process_0(names, host, addresses, warned):
  port = cluster.free_port()
  with contextlib.ExitStack() as stack:
    sockets, warning = cluster.listen(host, port)
    for each in sockets:
      stack.enter_context(each)
    assert [s.getsockname()[:2] for s in sockets] == [(a, port) for a in addresses]
    assert warning.startswith(f'warning: {warned}: ' if warned else '')
    assert bool(warning) == bool(warned)
    socket.create_connection(cluster.own_address(sockets), 1).close()
    elsewhere = '127.0.0.9'
    if addresses[0] in ('0.0.0.0', '::'):  # :: includes IPv4
      socket.create_connection((elsewhere, port), 1).close()
    else:
      with pytest.raises(ConnectionRefusedError):
        socket.create_connection((elsewhere, port), 1)


@pytest.mark.parametrize('host', ['127.0.0.1', '0.0.0.0', 'node1', 'unknown'])
def test_a_port_in_use(names, host):
  with socket.create_server(('127.0.0.1', 0)) as other:
    port = other.getsockname()[1]
    with pytest.raises(UserError, match=f'^port {port} of this machine, .* cannot be '
                       'used: Address already in use$'):
      cluster.listen(host, port)


@pytest.mark.parametrize(('host', 'here'), [
  ('127.0.0.1', True), ('node1', True), ('node4', True), ('0.0.0.0', True),
  ('node3', False), ('unknown', False), ('192.0.2.77', False)])
def test_only_process_0_needs_a_local_address(names, host, here):
  """The coordinator listens in process 0."""
  cluster.check(Address(f'{host}:1234', 2, 1))
  if here:
    cluster.check(Address(f'{host}:1234', 2, 0))
  else:
    with pytest.raises(UserError, match='is not an address of this machine'):
      cluster.check(Address(f'{host}:1234', 2, 0))


@pytest.mark.parametrize(('address', 'message'), [
  (Address('localhost:1234', 2), 'missing: --process_id'),
  (Address(process_id=0), 'missing: --coordinator, --num_processes'),
  (Address('localhost', 2, 0), '--coordinator=localhost: must be HOST:PORT'),
  (Address(':1234', 2, 0), '--coordinator=:1234: must be HOST:PORT'),
  (Address('localhost:70000', 2, 0), 'must be HOST:PORT'),
  (Address('localhost:1234', 0, 0), '--num_processes=0: must be >= 1'),
  (Address('localhost:1234', 2, 2), '--process_id=2: must be 0 to 1'),
  (Address('localhost:1234', 2, -1), '--process_id=-1'),
  (Address('192.0.2.1:1234', 2, 0), '192.0.2.1.* is not an address of this machine'),
])
def test_wrong_flags(address, message):
  with pytest.raises(UserError, match=message):
    cluster.check(address)


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
  """The environment of a machine with a TPU."""
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
def test_the_hosts_of_a_tpu_from_its_metadata(tpu, workers, slices, several):
  """Without an answer, as on a machine without a network, it is one host."""
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


def test_a_tpu_without_metadata(tpu):
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
