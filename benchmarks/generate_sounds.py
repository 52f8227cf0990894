"""WaveNet with queues compared with recomputing its receptive field for each sample.

Both draw samples with the same keys, compiled as one program; they run in turn. Prints
one line of JSON: the times, the ratio of their medians, and how many samples are the
same. The defaults are the model of `digits_wavenet`.

    python benchmarks/generate_sounds.py
    python benchmarks/generate_sounds.py --depth=10 --stacks=3 --skip=256 --samples=200
"""

import argparse
import json
import pathlib
import sys
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from generate import compared

from bigmodels.models import WaveNet
from bigmodels.tasks import decoding, waveforms

KEY = jax.random.key(0)


def cached(model, count, params):
  """Generates with queues: levels `[1, count]`."""
  def advance(cache, last):
    return model.apply({'params': params, **cache}, last[:, None], decode=True,
                       train=False, mutable=['cache'])

  return waveforms.generated(advance, 1, KEY, model.levels, count=count)


def uncached(model, count, params):
  """Generates by all layers over the receptive field: levels `[1, count]`."""
  field, silence = model.receptive_field, model.levels // 2

  def step(i, levels):  # levels[:, i] is predicted from those before it
    start = jnp.clip(i - field, 0, levels.shape[1] - field)
    logits = model.apply({'params': params}, lax.dynamic_slice_in_dim(
      levels, start, field, 1), train=False)
    logits = lax.dynamic_index_in_dim(logits, i - start - 1, 1, keepdims=False)
    chosen = decoding.choose(jax.random.fold_in(KEY, i - 1), logits)
    return lax.dynamic_update_slice_in_dim(levels, chosen[:, None], i, 1)

  levels = jnp.full((1, max(field, count + 1)), silence, jnp.int32)
  return lax.fori_loop(1, count + 1, step, levels)[:, 1 : count + 1]


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  for name, value in (('width', 32), ('skip', 64), ('depth', 8), ('stacks', 2),
                      ('samples', 1000), ('repeats', 5)):
    parser.add_argument(f'--{name}', type=int, default=value)
  given = parser.parse_args()
  model = WaveNet(width=given.width, skip=given.skip, depth=given.depth,
                  stacks=given.stacks)
  params = jax.jit(partial(model.init, train=False))(
    KEY, jnp.zeros((1, 2), jnp.int32))['params']
  functions = {'cached': cached, 'uncached': uncached}
  print(json.dumps({
    'device': jax.devices()[0].device_kind, **vars(given),
    'receptive_field': model.receptive_field,
    **compared({method: partial(function, model, given.samples)
                for method, function in functions.items()}, (params,), given.repeats,
               'samples', given.samples)}))


if __name__ == '__main__':
  main()
