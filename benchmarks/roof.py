"""Measures what bounds a train step on a CPU: products, elementwise work, memory.

  python benchmarks/roof.py
  python benchmarks/roof.py --out=FILE

Products have the shapes of a dense layer of `vit_ti`, forward and both of its
gradients, and of a square. They are of float32; of operands that are rounded to
bfloat16 as in `precision=bfloat16_products`, on matrix units if the CPU has them; and
of float32 in PyTorch, if it is installed. Elementwise: GELU, softmax and a layer's
normalization. Memory: the sum of two arrays that no cache holds.

Prints a line for each, the best of the rounds; `--out` writes JSON, with the machine.
Nothing else should run on the machine.
"""

import argparse
import functools
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from machine import save  # noqa: E402

from bigmodels.core import rounding  # noqa: E402
from bigmodels.hardware import devices  # noqa: E402
from bigmodels.layers.activations import gelu  # noqa: E402
from bigmodels.parallel import products  # noqa: E402

ROWS, WIDTH, HIDDEN, SQUARE = 6304, 192, 768, 2048  # rows: 32 images of 197 tokens
PRODUCTS = {  # name -> shapes of the operands, and which one is transposed
  'forward': ((ROWS, WIDTH), (WIDTH, HIDDEN), None),
  'gradient of the input': ((ROWS, HIDDEN), (WIDTH, HIDDEN), 'right'),
  'gradient of the kernel': ((ROWS, WIDTH), (ROWS, HIDDEN), 'left'),
  'square': ((SQUARE, SQUARE), (SQUARE, SQUARE), None)}
ELEMENTWISE = {
  'gelu': gelu,
  'softmax': functools.partial(jax.nn.softmax, axis=-1),
  'normalization': functools.partial(jax.nn.standardize, axis=-1)}
MEMORY = 2**26  # numbers of each array: 256 MB


def seconds(function, *args, rounds: int = 15) -> float:
  """The least time of a call, which waits for its result."""
  function(*args)
  taken = []
  for _ in range(rounds):
    start = time.perf_counter()
    function(*args)
    taken.append(time.perf_counter() - start)
  return min(taken)


def compiled(function, *args):
  program = jax.jit(function, compiler_options=devices.compiler_options('cpu')).lower(
    *args).compile()
  return lambda *args: jax.block_until_ready(program(*args))


def multiply(left, right, transposed):
  return (left.T if transposed == 'left' else left) @ (
    right.T if transposed == 'right' else right)


def product_rates(name: str) -> dict[str, float]:
  """GFLOP/s of a product, by the form."""
  left_shape, right_shape, transposed = PRODUCTS[name]
  keys = jax.random.split(jax.random.PRNGKey(0))
  left, right = map(jax.random.normal, keys, (left_shape, right_shape))
  operations = 2e-9 * left.size * (
    right_shape[0] if transposed == 'right' else right_shape[1])

  def plain(left, right):
    return multiply(left, right, transposed)

  def marked(left, right):
    with rounding.marked():
      return plain(left, right)

  rounded = products.rounded(marked, native=devices.has_matrix_units(), in_order=True)
  found = {'float32': compiled(plain, left, right),
           'bfloat16_products': compiled(rounded, left, right)}
  rates = {form: operations / seconds(call, left, right)
           for form, call in found.items()}
  try:
    import torch
  except ImportError:
    return rates
  # Copies: NumPy's view of a JAX array cannot be written to.
  left, right = (torch.tensor(jax.device_get(x)) for x in (left, right))
  with torch.inference_mode():
    return {**rates, 'float32 in PyTorch': operations / seconds(plain, left, right)}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  jax.config.update('jax_platforms', 'cpu')
  devices.require_backend('cpu')
  results = {'matrix_units': devices.has_matrix_units(), 'gflops': {}}
  for name, (left, right, _) in PRODUCTS.items():
    found = {form: round(rate, 1) for form, rate in product_rates(name).items()}
    results['gflops'][name] = found
    print(f'{name}, {left} and {right}: '
          + ', '.join(f'{form} {rate} GFLOP/s' for form, rate in found.items()),
          flush=True)
  x = jax.random.normal(jax.random.PRNGKey(0), (ROWS, HIDDEN))
  results['elementwise_ms'] = {
    name: round(1e3 * seconds(compiled(function, x), x), 2)
    for name, function in ELEMENTWISE.items()}
  print(f'{[*x.shape]}: ' + ', '.join(
    f'{name} {ms} ms' for name, ms in results['elementwise_ms'].items()))
  a, b = (jnp.full(MEMORY, value, jnp.float32) for value in (1, 2))
  taken = seconds(compiled(jnp.add, a, b), a, b)
  results['gigabytes_per_second'] = round(3 * a.nbytes / taken / 1e9, 1)
  print(f'memory: {results["gigabytes_per_second"]} GB/s')
  if flags.out:
    save(flags.out, 'roof.py', results)


if __name__ == '__main__':
  main()
