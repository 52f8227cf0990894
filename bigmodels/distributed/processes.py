"""Joins the processes of a run, which may be a single one."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator

from bigmodels.core.errors import UserError
from bigmodels.distributed import cluster
from bigmodels.distributed.cluster import Address
from bigmodels.distributed.group import ProcessGroup


@contextlib.contextmanager
def joined(address: Address, hang_timeout: float, *,
           shared: str | os.PathLike | None = None,
           say: Callable[[str], None] | None = None) -> Iterator[ProcessGroup]:
  """Joins the run, and leaves it at the end, reporting an error in the context.

  Args:
    address: of the run, as in `join`.
    hang_timeout: seconds, as in `join`.
    shared: folder, as in `join`.
    say: prints a line, as in `join`.

  Yields:
    The processes.

  Raises:
    UserError: as `join`.
  """
  group = join(address, hang_timeout, shared=shared, say=say)
  try:
    yield group
    group.leave()
  except BaseException as error:
    group.await_report(error)
    if isinstance(error, UserError):
      group.leave(str(error))
    else:
      stopped = isinstance(error, KeyboardInterrupt)
      group.leave(f'{type(error).__name__}: {error}', 130 if stopped else 1)
    raise


def join(address: Address, hang_timeout: float, *,
         shared: str | os.PathLike | None = None,
         say: Callable[[str], None] | None = None) -> ProcessGroup:
  """Connects all processes of the run; to be called before JAX is initialized.

  Args:
    address: from flags. If it is empty, the cluster that JAX detects counts (TPU pod,
      SLURM step, Kubernetes, Open MPI); without one this is the only process.
    hang_timeout: seconds after which a silent or hanging process is lost.
    shared: a folder that all processes see, for the secret of the run if
      `BIGMODELS_SECRET` is not set. It is not touched by a single process.
    say: prints a line, if this is the only process; None for stdout.

  Returns:
    The processes.

  Raises:
    UserError: if the address is wrong, the processes have no secret in common, or not
      all connect within `hang_timeout`.
  """
  devices = None
  if any(part is not None for part in address):
    cluster.check(address)
  else:
    address, devices = cluster.find(hang_timeout)
  if address.num_processes in (None, 1):
    return ProcessGroup(say)
  from bigmodels.distributed import connected  # here, as most runs have one process

  folder = None if shared is None else pathlib.Path(shared)
  return connected.ConnectedProcesses(address, hang_timeout, devices, folder)
