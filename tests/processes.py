"""The environment of processes that tests start."""

import os


def of_devices(number: int) -> dict[str, str]:
  """An environment in which the CPU is this number of devices."""
  flags = (f'{os.environ.get("XLA_FLAGS", "")} '
           f'--xla_force_host_platform_device_count={number}')
  return os.environ | {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': flags}
