"""Marks matrix products whose operands may be rounded to bfloat16.

JAX's own precision is the mark; `parallel.products` rounds what has it.
"""

from contextlib import AbstractContextManager

import jax
from jax import lax

# The precision of a marked product; without a mark it is None.
MARK = (lax.Precision.DEFAULT, lax.Precision.DEFAULT)
_NAME = 'bfloat16'  # of this precision


def marked() -> AbstractContextManager:
  """A context: products that are traced in it, and their derivatives, are marked."""
  return jax.default_matmul_precision(_NAME)


def marks() -> bool:
  """Whether products that are traced here are marked."""
  return jax.config.jax_default_matmul_precision == _NAME
