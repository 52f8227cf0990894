"""The address of process 0: from flags, or as JAX finds it in a cluster."""

import contextlib
import errno
import importlib
import importlib.util
import ipaddress
import os
import random
import re
import socket
import urllib.request
from collections.abc import Sequence
from typing import NamedTuple

from bigmodels.core.errors import UserError


class Address(NamedTuple):
  """How the processes of a run connect; all None: as the cluster says, or one process.

  Attributes:
    coordinator: HOST:PORT of process 0.
    num_processes: of the run.
    process_id: of this process, from 0.
  """

  coordinator: str | None = None
  num_processes: int | None = None
  process_id: int | None = None


def split(coordinator: str) -> tuple[str, int]:
  """Returns the host and the port, which is 0 if there is none."""
  host, _, port = coordinator.rpartition(':')
  return host.strip('[]'), int(port) if re.fullmatch('[0-9]{1,5}', port) else 0


def check(address: Address) -> None:
  """Checks an address from flags.

  Raises:
    UserError: if a flag is missing or wrong, or the address of process 0, which this
      process is, is not one of this machine.
  """
  if address.num_processes == 1 and not address.process_id:
    return
  missing = [name for name, part in address._asdict().items() if part is None]
  if missing:
    raise UserError('--coordinator, --num_processes and --process_id must be given '
                    f'together; missing: --{", --".join(missing)}')
  coordinator, count, rank = address
  host, port = split(coordinator)
  if not host or not 0 < port < 2**16:
    raise UserError(f'--coordinator={coordinator}: must be HOST:PORT of process 0')
  if count < 1:
    raise UserError(f'--num_processes={count}: must be >= 1')
  if not 0 <= rank < count:
    raise UserError(f'--process_id={rank}: must be 0 to {count - 1}, of '
                    f'--num_processes={count}')
  if rank == 0:
    try:
      for each in _listening(_addresses(host), 0):
        each.close()
    except OSError as error:
      raise UserError(
        f'--coordinator={coordinator}: {host!r} is not an address of this machine, '
        f'as it must be for process 0 ({error.strerror})') from None


def find(timeout: float) -> tuple[Address, Sequence[int] | None]:
  """Detects a cluster through JAX, if the environment has signs of several processes.

  Without such signs JAX is not asked: its search may use the network and warn.

  Args:
    timeout: seconds to wait until the name of process 0 is known.

  Returns:
    The address, empty if this is the only process; and the local devices for this
    process, None for all.

  Raises:
    UserError: if there are signs, but JAX finds no cluster.
  """
  env = os.environ
  slurm = 'SLURM_STEP_NODELIST' in env and _number(
    env.get('SLURM_STEP_NUM_TASKS', env.get('SLURM_NTASKS'))) > 1
  mpi = _number(env.get('OMPI_COMM_WORLD_SIZE')) > 1
  kubernetes = {'KUBERNETES_SERVICE_HOST', 'JOB_COMPLETION_INDEX'} <= env.keys()
  tpu = _tpu_hosts() > 1
  if not (slurm or mpi or tpu or kubernetes):
    return Address(), None
  try:
    clusters = importlib.import_module('jax._src.clusters')
    *address, devices = clusters.ClusterEnv.auto_detect_unset_distributed_params(
      env.get('JAX_COORDINATOR_ADDRESS'), None, None, None, None, int(timeout))
    if None not in address:
      # JAX reads this variable when it is initialized.
      return Address(*address), None if 'JAX_LOCAL_DEVICE_IDS' in env else devices
    reason = 'it finds no cluster'
    if kubernetes and not importlib.util.find_spec('kubernetes'):
      reason = 'on Kubernetes it needs a package: pip install "jax[k8s]"'
    elif kubernetes and not (slurm or mpi or tpu):
      return Address(), None  # a job of one pod looks the same, and JAX has warned
  except Exception as error:  # each kind of cluster has its own
    reason = str(error) or type(error).__name__
  raise UserError(
    f'this is one of several processes, but JAX cannot find the others ({reason}): '
    'give --coordinator, --num_processes and --process_id, or --num_processes=1 to run '
    'alone')


def _number(text: str | None) -> int:
  return int(text) if text and text.isdigit() else 1


def _tpu_hosts() -> int:
  """The number of hosts of this machine's TPU, in all slices; 0 if JAX uses none."""
  import jax

  platforms = jax.config.jax_platforms
  here = importlib.import_module('jax._src.cloud_tpu_init').running_in_cloud_tpu_vm
  if not here or (platforms and 'tpu' not in platforms):
    return 0
  slices = os.environ.get('MEGASCALE_NUM_SLICES')
  gke = importlib.import_module('jax._src.clusters').GkeTpuCluster
  if gke.is_env_present():
    hosts = gke._get_worker_list_in_slice()
  elif 'TPU_SKIP_MDS_QUERY' in os.environ:
    return 1
  else:
    hosts = _metadata('worker-network-endpoints').split(',')
    found = re.search(r"MEGASCALE_NUM_SLICES:\s*'?(\d+)", _metadata('tpu-env'))
    slices = slices or (found and found[1])
  return len(hosts) * _number(slices)


def _metadata(key: str) -> str:
  """An attribute of this machine from Google Cloud's metadata server, or ''."""
  address = os.environ.get('GCE_METADATA_IP', '169.254.169.254')
  request = urllib.request.Request(
    f'http://{address}/computeMetadata/v1/instance/attributes/{key}',
    headers={'Metadata-Flavor': 'Google'})
  try:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=2) as answer:
      return answer.read().decode()
  except OSError:
    return ''


def listen(host: str, port: int) -> tuple[list[socket.socket], str]:
  """Listens at the address of the coordinator only, as far as this machine has it.

  Args:
    host: of the coordinator: a name or an address. 0.0.0.0 and :: are all addresses of
      this machine.
    port: of the coordinator.

  Returns:
    The sockets; and a warning if they listen at all addresses without a request, else
    ''.

  Raises:
    UserError: if the port cannot be used.
  """
  try:
    try:
      here = _addresses(host)
      # A host name may resolve to a loopback address on its own machine only, such as
      # 127.0.1.1 in /etc/hosts of Debian.
      if not all(_ip(a).is_loopback for _, a in here) or _is_loopback(host):
        return _listening(here, port), ''
      found = f'{host} is {here[0][1][0]} on this machine'
    except OSError as error:
      if error.errno not in _ABSENT and not isinstance(error, socket.gaierror):
        raise
      found = f'{host} is not an address of this machine'
    both = socket.has_dualstack_ipv6()
    family, all_ = (socket.AF_INET6, '::') if both else (socket.AF_INET, '0.0.0.0')
    return _listening([(family, (all_, 0))], port), (
      f'warning: {found}: process 0 listens on all of its addresses, protected by the '
      'secret of the run; --coordinator=ADDRESS:PORT selects one')
  except OSError as error:
    raise UserError(f'port {port} of this machine, for --coordinator, cannot be used: '
                    f'{os.strerror(error.errno)}') from None


def own_address(listening: list[socket.socket]) -> tuple[str, int]:
  """The address at which this machine reaches the sockets of `listen`."""
  host, port, *_ = listening[0].getsockname()
  return {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host), port


_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _addresses(host: str) -> list[tuple[int, tuple]]:
  """The families and socket addresses of a name, without duplicates."""
  found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
  return list(dict.fromkeys((family, address) for family, *_, address in found))


def _listening(addresses: list[tuple[int, tuple]], port: int) -> list[socket.socket]:
  """Sockets at the addresses that this machine has; OSError if it has none."""
  sockets, absent = [], None
  for family, (host, _, *rest) in addresses:
    both = host == '::' and socket.has_dualstack_ipv6()
    try:
      sockets.append(socket.create_server(
        (host, port, *rest), family=family, dualstack_ipv6=both, backlog=1024))
    except OSError as error:
      if error.errno not in _ABSENT:
        raise
      absent = error
  if not sockets:
    raise absent
  return sockets


def _ip(address: tuple) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
  return ipaddress.ip_address(address[0].partition('%')[0])


def _is_loopback(host: str) -> bool:
  """Whether a host is a loopback address or a name for one."""
  try:
    return _ip((host,)).is_loopback
  except ValueError:
    return host.partition('.')[0].rpartition('-')[2].lower() == 'localhost' or (
      host.lower().endswith('.localhost'))


def free_port() -> int:
  """A TCP port that is not in use.

  It is below the ports that Linux assigns to outgoing connections, one of which could
  otherwise use it before a process listens there.

  Raises:
    UserError: if none is found.
  """
  for port in random.SystemRandom().sample(range(2**14, 2**15), 64):
    with contextlib.suppress(OSError), socket.create_server(('', port)):
      return port
  raise UserError('no TCP port from 16384 to 32767 is free')
