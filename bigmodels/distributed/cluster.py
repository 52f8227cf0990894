"""Where the processes of a run meet: from flags, or as JAX knows the cluster."""

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

import jax

from bigmodels.core.errors import UserError


class Address(NamedTuple):
  """Where the processes of a run meet; all None if the cluster knows, or there is one.

  Attributes:
    coordinator: HOST:PORT, of process 0.
    num_processes: how many there are.
    process_id: which one this is, from 0.
  """

  coordinator: str | None = None
  num_processes: int | None = None
  process_id: int | None = None


def split(coordinator: str) -> tuple[str, int]:
  """Returns host and port; (..., 0) if there is none."""
  host, _, port = coordinator.rpartition(':')
  return host.strip('[]'), int(port) if re.fullmatch('[0-9]{1,5}', port) else 0


def check(address: Address) -> None:
  """Refuses flags that cannot be meant.

  Raises:
    UserError: if one is missing or wrong, or process 0 is on another machine.
  """
  if address.num_processes == 1 and not address.process_id:
    return
  missing = [name for name, part in address._asdict().items() if part is None]
  if missing:
    raise UserError('--coordinator, --num_processes and --process_id go together: '
                    f'missing: --{", --".join(missing)}')
  coordinator, count, rank = address
  host, port = split(coordinator)
  if not host or not 0 < port < 2**16:
    raise UserError(f'--coordinator={coordinator}: wants HOST:PORT, of process 0')
  if count < 1:
    raise UserError(f'--num_processes={count}: there is at least one')
  if not 0 <= rank < count:
    raise UserError(f'--process_id={rank}: with --num_processes={count} it is '
                    f'0 to {count - 1}')
  if rank == 0:
    try:
      for each in _listening(_addresses(host), 0):
        each.close()
    except OSError as error:
      raise UserError(
        f'--coordinator={coordinator}: {host!r} is not an address of this machine, '
        f'where process 0 is started ({error.strerror})') from None


def find(timeout: float) -> tuple[Address, Sequence[int] | None]:
  """Asks JAX about a cluster, if something here points to one of several processes.

  JAX's own search is not begun without that: it can take to the network and warn.

  Args:
    timeout: seconds to wait for the name of process 0 to be known.

  Returns:
    the address, empty if this process is alone; and which local devices are for it,
    None for all.

  Raises:
    UserError: if there is a cluster, but JAX cannot make out how to join it.
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
      # What the environment says of devices is read by JAX itself.
      said = 'JAX_LOCAL_DEVICE_IDS' in env
      return Address(*address), None if said else devices
    reason = 'it finds no cluster'
    if kubernetes and not importlib.util.find_spec('kubernetes'):
      reason = 'on Kubernetes it asks the cluster: pip install "jax[k8s]"'
    elif kubernetes and not (slurm or mpi or tpu):
      return Address(), None  # a job of one pod looks the same, and JAX has warned
  except Exception as error:  # of whatever asks for the cluster there
    reason = str(error) or type(error).__name__
  raise UserError(
    f'this is one of several processes, but JAX cannot make out the others ({reason}): '
    'give --coordinator, --num_processes and --process_id, or --num_processes=1 to run '
    'alone')


def _number(text: str | None) -> int:
  return int(text) if text and text.isdigit() else 1


def _tpu_hosts() -> int:
  """Of the TPU of this machine, in all its slices; 0 if there is none, or not used."""
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
  """What Google Cloud tells a machine about itself, at an address inside of it."""
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
  """Listens where the other processes look for process 0, and nowhere else.

  Args:
    host: of the coordinator: a name or an address. 0.0.0.0 and :: are all addresses of
      this machine.
    port: of the coordinator.

  Returns:
    the sockets, and a warning if they are at all addresses and that was not asked for;
    '' if there is none.

  Raises:
    UserError: if the port cannot be had.
  """
  try:
    try:
      here = _addresses(host)
      # A name of this machine that leads nowhere but back: the others know it by
      # another address, as /etc/hosts of Debian has 127.0.1.1 for it.
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
      f'warning: {found}: the processes meet on all of its addresses, protected by the '
      'secret of the run; --coordinator=ADDRESS:PORT selects one')
  except OSError as error:
    raise UserError(f'port {port} of this machine, where the processes are to meet, '
                    f'cannot be used: {os.strerror(error.errno)}') from None


def own_address(listening: list[socket.socket]) -> tuple[str, int]:
  """Where this machine reaches what `listen` returned."""
  host, port, *_ = listening[0].getsockname()
  return {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host), port


_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _addresses(host: str) -> list[tuple[int, tuple]]:
  """Families and socket addresses that a name stands for, each once."""
  found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
  return list(dict.fromkeys((family, address) for family, *_, address in found))


def _listening(addresses: list[tuple[int, tuple]], port: int) -> list[socket.socket]:
  """Sockets at those of the addresses that this machine has; at least one."""
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
  """Whether a host is meant to be seen by this machine only."""
  try:
    return _ip((host,)).is_loopback
  except ValueError:
    return host.partition('.')[0].rpartition('-')[2].lower() == 'localhost' or (
      host.lower().endswith('.localhost'))


def free_port() -> int:
  """A TCP port that nobody listens on.

  It is below those that Linux gives to connections that go out, one of which could
  take it before somebody listens there.

  Raises:
    UserError: if none is found.
  """
  for port in random.SystemRandom().sample(range(2**14, 2**15), 64):
    with contextlib.suppress(OSError), socket.create_server(('', port)):
      return port
  raise UserError('no TCP port from 16384 to 32767 is free')
