"""The addresses at which process 0 listens: the one that is named, if it can be."""

import contextlib
import socket

import pytest

from bigmodels.core.errors import UserError
from bigmodels.distributed import cluster
from bigmodels.distributed.cluster import Address

FOUR, SIX = socket.AF_INET, socket.AF_INET6
ALL = '::' if socket.has_dualstack_ipv6() else '0.0.0.0'
six = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason='no IPv6 here')


@pytest.fixture
def names(monkeypatch):
  """Host names of a test -> their addresses; the real one answers for addresses."""
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
  ('0.0.0.0', ['0.0.0.0'], None),  # asked for
  pytest.param('::', ['::'], None, marks=six),
  ('node1', [ALL], 'node1 is 127.0.1.1 on this machine'),
  pytest.param('node2', [ALL], 'node2 is 127.0.0.1 on this machine', marks=six),
  ('node3', [ALL], 'node3 is not an address of this machine'),
  ('node4', ['127.0.0.2'], None),  # the one of both that is here
  ('unknown', [ALL], 'unknown is not an address of this machine'),
  ('192.0.2.77', [ALL], '192.0.2.77 is not an address of this machine'),
  ('twice.localhost', ['127.0.0.2'], None),
])
def test_where_process_0_listens(names, host, addresses, warned):
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
    if addresses[0] in ('0.0.0.0', '::'):  # :: takes IPv4 too
      socket.create_connection((elsewhere, port), 1).close()
    else:
      with pytest.raises(ConnectionRefusedError):
        socket.create_connection((elsewhere, port), 1)


@pytest.mark.parametrize('host', ['127.0.0.1', '0.0.0.0', 'node1', 'unknown'])
def test_a_port_that_is_taken(names, host):
  with socket.create_server(('127.0.0.1', 0)) as other:
    port = other.getsockname()[1]
    with pytest.raises(UserError, match=f'^port {port} of this machine, .* cannot be '
                       'used: Address already in use$'):
      cluster.listen(host, port)


@pytest.mark.parametrize(('host', 'here'), [
  ('127.0.0.1', True), ('node1', True), ('node4', True), ('0.0.0.0', True),
  ('node3', False), ('unknown', False), ('192.0.2.77', False)])
def test_whose_address_it_is(names, host, here):
  """Process 0 is at the address that the flags name; the others are anywhere."""
  cluster.check(Address(f'{host}:1234', 2, 1))
  if here:
    cluster.check(Address(f'{host}:1234', 2, 0))
  else:
    with pytest.raises(UserError, match='is not an address of this machine'):
      cluster.check(Address(f'{host}:1234', 2, 0))
