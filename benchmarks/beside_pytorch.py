"""Compares training and inference with PyTorch, and with Keras on JAX.

  python benchmarks/beside_pytorch.py --out=FILE
  python benchmarks/beside_pytorch.py --networks=cifar_cnn,gpt --rounds=7 --out=FILE
  python benchmarks/beside_pytorch.py --sides=eager --precisions=float32 --out=FILE
  python benchmarks/beside_pytorch.py --pytorch=PYTHON --keras=PYTHON --out=FILE

Network, parameters, loss, optimizer (Adam), batch and machine are the same; each side
works in its own process. They take turns: the others wait while one is timed, and the
order rotates. Our step is the one that a run compiles, which gathers the data and sums
the metrics; PyTorch's is forward, loss, backward and the fused Adam on a batch that
exists already, eagerly and with `torch.compile`. Inputs are random. Inference is the
forward pass in evaluation mode, of 1 and of 256 examples.

`--precisions` are those of our experiments: float32 is compared with float32, every
other one with bfloat16 by `torch.autocast`, in Keras with `mixed_bfloat16`, and with
eager PyTorch in float32.

- `lstm`: PyTorch reads packed sequences, which skips the padding; ours are padded.
  PyTorch drops features anew at every token, ours for a whole sequence.
- `translation`: pairs are padded, not packed in rows; 'decode' is greedy decoding of 32
  tokens with a cache, in `transformers` by `generate`, which is not compiled.
- `dcgan`: a step updates both parts. PyTorch's generates images once for both, ours
  twice; inference is the generator.
- `cifar_input`: a small network, and images that are read, cropped and flipped, by
  PyTorch in 2 processes of a `DataLoader`.
- Keras: `fit` on arrays in memory, `predict_on_batch`.

Prints the ratios, the other side's time over ours, and the time that each part took.
`--out` keeps them as JSON, with the machine: milliseconds of every round, and the
median, least and most of the ratios. What is measured again replaces only its own rows
there. `--pytorch` and `--keras` name the Python of another environment; without
`--keras` Keras is left out. Nothing else should run on the machine: PyTorch's threads
wait for each other.
"""

import argparse
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from in_turn import Worker, in_turn, serve  # noqa: E402
from machine import earlier, machine, save  # noqa: E402
from networks import NETWORKS, Side  # noqa: E402

SIDES = ('eager', 'compiled', 'float32', 'keras')  # besides ours
PRECISIONS = ('float32', 'bfloat16_products')  # of ours


def side_of(side: str, network: str, precision: str) -> Side:
  """A network on one side, in the process that works there."""
  if side == 'ours':
    import side_ours

    return side_ours.side(network, precision)
  if side == 'keras':
    import side_keras

    return side_keras.side(network, precision)
  import side_pytorch

  return side_pytorch.side(network, 'float32' if side == 'float32' else precision,
                           compiled=side == 'compiled')


def command(python: str, side: str, network: str, precision: str = 'float32'
            ) -> list[str]:
  """The command of a process for one side of a network."""
  return [python, __file__, f'--serve={side}', f'--networks={network}',
          f'--precisions={precision}']


def compare(network: str, precision: str, pythons: dict[str, str], rounds: int
            ) -> dict[str, dict]:
  """Compares a network in a precision.

  Args:
    network: its name.
    precision: of ours.
    pythons: side -> its Python; the first is ours.
    rounds: of the measurement.

  Returns:
    Side -> name of what was timed -> `ours_ms`, and its `ms` and ratios.
  """
  workers = {}
  for side, python in pythons.items():
    if (side == 'keras' and side not in NETWORKS[network].other) or side == precision:
      continue
    worker = Worker(command(python, side, network, precision))
    for what, why in worker.failed.items():
      print(f'{network}, {precision}, {side}: no {what}: {why}', flush=True)
    if not worker.timed:
      worker.close()
      if side == 'ours':
        return {}
      continue
    workers[side] = worker
  counts = {side: worker.parameters for side, worker in workers.items()}
  if len({*counts.values()}) > 1:
    sys.exit(f'{network}: the networks differ in parameters: {counts}')
  found: dict[str, dict] = {side: {} for side in workers if side != 'ours'}
  timed = NETWORKS[network].timed
  for name, times in in_turn(workers, timed, rounds).items():
    for side in found:
      if side in times:
        found[side][name] = {'ours_ms': times['ours_ms'], **times[side]}
  return found


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  for name, known in (('networks', NETWORKS), ('sides', SIDES)):
    parser.add_argument(f'--{name}', default=','.join(known))
  parser.add_argument('--precisions', default=','.join(PRECISIONS))
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  parser.add_argument('--pytorch', metavar='PYTHON', default=sys.executable)
  parser.add_argument('--keras', metavar='PYTHON')
  parser.add_argument('--serve', choices=('ours', *SIDES), help=argparse.SUPPRESS)
  flags = parser.parse_args()
  networks, sides, precisions = (
    getattr(flags, name).split(',') for name in ('networks', 'sides', 'precisions'))
  for name, given, known in (('networks', networks, NETWORKS), ('sides', sides, SIDES)):
    if unknown := [each for each in given if each not in known]:
      parser.error(f'--{name}: choose from {", ".join(known)}; got {unknown[0]}')
  if flags.serve:
    serve(lambda: side_of(flags.serve, networks[0], precisions[0]),
          optional=flags.serve != 'ours' or precisions[0] != 'float32')
    return
  pythons = {'ours': sys.executable} | {
    side: flags.keras if side == 'keras' else flags.pytorch
    for side in sides if side != 'keras' or flags.keras}
  if len(pythons) == 1:
    parser.error('--sides: no side to compare with; keras needs --keras=PYTHON')
  results, here = earlier(flags.out, machine(**{
    'keras' if side == 'keras' else 'torch': pythons[side] for side in sides
    if side in pythons}))
  for network in networks:
    for precision in precisions:
      begun = time.perf_counter()
      found = compare(network, precision, pythons, flags.rounds)
      for side, each in found.items():
        ratios = [f'{name} {x["ratio"]} ({x["least"]} to {x["most"]})'
                  for name, x in each.items()]
        print(f'{network}, {precision}, {side} over ours: {", ".join(ratios)}',
              flush=True)
      print(f'{network}, {precision}: {time.perf_counter() - begun:.0f} s', flush=True)
      if flags.out and found:
        results.setdefault(network, {}).setdefault(precision, {}).update(found)
        save(flags.out, f'beside_pytorch.py --rounds={flags.rounds} --out=FILE',
             results, found=here)


if __name__ == '__main__':
  main()
