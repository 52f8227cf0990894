"""What tests of published weights share: the library that publishes them, and loading.

Importing this skips the test module where PyTorch or transformers is absent.
"""

import pytest

from tests.models.loading import close, refusal, started

torch = pytest.importorskip('torch', reason='torch is not installed')
transformers = pytest.importorskip(
  'transformers', reason='transformers is not installed')

__all__ = ['close', 'perturbed', 'refusal', 'started', 'torch', 'transformers']


def perturbed(model):
  """Every parameter matters: no bias is 0 and no scale is 1, and attention is sharp."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for parameter in model.parameters():
      parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
  return model.eval()
