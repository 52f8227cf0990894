"""Metrics of a language model."""

import numpy as np


def language(outputs: dict[str, np.ndarray]) -> dict[str, float]:
  """Computes perplexity, the exponential of the mean loss per token.

  Args:
    outputs: `nats`, the summed loss of each text, and `tokens`, its number of tokens;
      both `[n]`.

  Returns:
    Name -> number; empty if there are no tokens.
  """
  tokens = float(outputs['tokens'].sum(dtype=np.float64))
  if not tokens:
    return {}
  nats = float(outputs['nats'].sum(dtype=np.float64))
  with np.errstate(over='ignore'):
    return {'perplexity': float(np.exp(nats / tokens))}
