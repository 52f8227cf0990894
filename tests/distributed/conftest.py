"""What several tests of processes share."""

import os

import pytest


@pytest.fixture
def no_cluster(monkeypatch):
  """An environment without the variables of clusters, to set some of them."""
  for name in list(os.environ):
    if name.startswith(('SLURM_', 'OMPI_', 'KUBERNETES_', 'JOB_COMPLETION', 'TPU_',
                        'MEGASCALE_', 'JAX_COORDINATOR')):
      monkeypatch.delenv(name)
  return monkeypatch
