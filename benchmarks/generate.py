"""Generation with a cache compared with recomputing the whole text for every token.

Both take the most likely token, compiled as one program; they run in turn. Prints one
line of JSON: the times, the ratio of their medians, and how many tokens are the same.

    python benchmarks/generate.py
    python benchmarks/generate.py --depth=12 --width=768 --heads=12 --batch=8
"""

import argparse
import json
import pathlib
import statistics
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from bigmodels.models.gpt import Gpt
from bigmodels.parallel import precision
from bigmodels.tasks import decoding


def cached(model, count, params, prompt):
  """Generates with a cache: prompt int `[batch, n]` -> `[batch, count]`."""
  size = prompt.shape[1] + count

  def advance(cache, tokens, segments):
    return model.apply({'params': params, **(cache or {})}, tokens, segments=segments,
                       decode=size, train=False, mutable=['cache'])

  return decoding.generate(advance, prompt, jnp.ones_like(prompt),
                           jax.random.PRNGKey(0), count=count, temperature=0)[0]


def uncached(model, count, params, prompt):
  """Generates without a cache: prompt int `[batch, n]` -> `[batch, count]`."""
  length = prompt.shape[1]

  def step(i, text):
    logits = model.apply({'params': params}, text, train=False)
    logits = lax.dynamic_index_in_dim(logits, i - 1, 1, keepdims=False)
    return text.at[:, i].set(jnp.argmax(logits, -1).astype(text.dtype))

  text = jnp.pad(prompt, ((0, 0), (0, count)))
  return lax.fori_loop(length, length + count, step, text)[:, length:]


def compared(functions, inputs, repeats, unit, count):
  """Compiles functions of the same result, and times them in turn.

  Args:
    functions: {'cached': function, 'uncached': function}, both (*inputs) -> tokens.
    inputs: of both.
    repeats: number of times that each is run.
    unit: of what a function makes, such as 'tokens'.
    count: number of these.
  """
  found, times, compiling = {}, {method: [] for method in functions}, {}
  programs = {method: jax.jit(function) for method, function in functions.items()}
  for method, program in programs.items():
    start = time.perf_counter()
    programs[method] = program.lower(*inputs).compile()
    compiling[method] = round(time.perf_counter() - start, 2)
    found[method] = jax.device_get(programs[method](*inputs))
  for _ in range(repeats):
    for method, program in programs.items():
      start = time.perf_counter()
      jax.block_until_ready(program(*inputs))
      times[method].append(time.perf_counter() - start)
  median = {method: statistics.median(each) for method, each in times.items()}
  return {
    f'same_{unit}': float((found['cached'] == found['uncached']).mean()),
    'compile_seconds': compiling,
    'seconds': {method: [round(t, 4) for t in each] for method, each in times.items()},
    f'{unit}_per_second': {
      method: round(count / t, 1) for method, t in median.items()},
    'ratio': round(median['uncached'] / median['cached'], 2)}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  for name, value in (('depth', 4), ('width', 128), ('heads', 4), ('length', 320),
                      ('vocabulary', 65), ('batch', 1), ('prompt', 64), ('tokens', 256),
                      ('repeats', 5)):
    parser.add_argument(f'--{name}', type=int, default=value)
  given = parser.parse_args()
  if given.prompt + given.tokens > given.length:
    parser.error(f'--prompt and --tokens: {given.prompt + given.tokens} are more than '
                 f'--length={given.length}')
  arithmetic = precision.default(jax.default_backend())
  model = precision.in_precision(
    Gpt(given.vocabulary, length=given.length, depth=given.depth, width=given.width,
        heads=given.heads), arithmetic)
  prompt = jax.random.randint(jax.random.PRNGKey(1), (given.batch, given.prompt), 0,
                              given.vocabulary)
  params = jax.jit(partial(model.init, train=False))(
    jax.random.PRNGKey(0), prompt)['params']
  functions = {'cached': cached, 'uncached': uncached}
  print(json.dumps({
    'device': jax.devices()[0].device_kind, 'precision': arithmetic, **vars(given),
    **compared({method: partial(function, model, given.tokens)
                for method, function in functions.items()}, (params, prompt),
               given.repeats, 'tokens', given.batch * given.tokens)}))


if __name__ == '__main__':
  main()
