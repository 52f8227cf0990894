"""What the tests of networks that segment images share."""

import jax
import jax.numpy as jnp
import numpy as np


def random(model, channels=1, seed=0):
  """Parameters and statistics of NumPy's, which need no compilation."""
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(lambda: model.init(
    jax.random.key(0), jnp.zeros((1, 8, 8, channels)), train=False))
  found = jax.tree.map(lambda x: np.asarray(rng.normal(size=x.shape) * (
    2 / np.prod(x.shape[:-1]) if x.ndim > 1 else 0.01) ** 0.5, np.float32), shapes)
  found['params'] = {name: each | {'norm': {
    'scale': 1 + each['norm']['scale'], 'bias': 0.2 + each['norm']['bias']}}
    if 'norm' in each else each for name, each in found['params'].items()}
  return found | {'batch_stats': jax.tree.map(
    lambda x: 0.5 + abs(x), found['batch_stats'])}
