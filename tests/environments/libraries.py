"""The libraries of agents, for the tests that need them."""

import pytest


def require(*names: str) -> None:
  """Skips a test, or the module being imported, where one is not installed."""
  for name in names:
    pytest.importorskip(name, reason=(
      f'{name} is not installed (gymnax, as of 1.0.1, needs JAX below 0.12): '
      'pip install -r requirements-agents.txt'))
