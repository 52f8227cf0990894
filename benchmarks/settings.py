"""Compares settings of XLA, JAX and the system, each alone, with those of a run.

  python benchmarks/settings.py --networks=cifar_cnn,gpt
  python benchmarks/settings.py --settings='huge pages,one thread' --out=FILE

Each setting trains, and answers for 1 example, in its own process, in turn, as in
`beside_pytorch.py`. A ratio above 1 means that the run is faster without the setting.
'nothing' changes nothing: how far its ratio is from 1 is what a process adds by chance.
Settings that a release does not know are left out. Nothing else should run on the
machine.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from beside_pytorch import command  # noqa: E402
from in_turn import Worker, in_turn  # noqa: E402
from machine import earlier, machine, save  # noqa: E402
from networks import NETWORKS  # noqa: E402

_YNN = '--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_'


def _xla(flags: str) -> dict[str, str]:
  return {'XLA_FLAGS': flags}


SETTINGS: dict[str, dict[str, str]] = {  # name -> variables of the environment
  'nothing': {},
  'one thread': _xla('--xla_cpu_multi_thread_eigen=false'),
  'scheduled for memory': _xla(
    '--xla_cpu_enable_concurrency_optimized_scheduler=false'),
  'fast math': _xla('--xla_cpu_enable_fast_math'),
  'fast minima and maxima': _xla('--xla_cpu_enable_fast_min_max'),
  'vectors of 512 bits': _xla('--xla_cpu_prefer_vector_width=512'),
  'vectors of 256 bits': _xla('--xla_cpu_prefer_vector_width=256'),
  'no vectorizer of straight-line code': _xla('--xla_cpu_disable_slp_vectorizer'),
  'larger loops in one thread': _xla(
    '--xla_cpu_small_while_loop_byte_threshold=100000'),
  'synchronous dispatch': {'JAX_CPU_ENABLE_ASYNC_DISPATCH': 'false'},
  'huge pages': {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'},
}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--networks', default='cifar_cnn,resnet18,vit_ti,gpt,lstm')
  parser.add_argument('--settings', default=','.join(SETTINGS))
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  networks, settings = flags.networks.split(','), flags.settings.split(',')
  for name, given, known in (('networks', networks, NETWORKS),
                             ('settings', settings, SETTINGS)):
    if unknown := [each for each in given if each not in known]:
      parser.error(f'--{name}: choose from {", ".join(known)}; got {unknown[0]}')
  results, here = earlier(flags.out, machine())
  for network in networks:
    for setting in settings:
      ours = command(sys.executable, 'ours', network)
      workers = {'ours': Worker(ours)}
      try:
        workers[setting] = Worker(ours, SETTINGS[setting])
      except SystemExit as error:
        print(f'{network}, {setting}: {error}', flush=True)
        workers['ours'].close()
        continue
      timed = in_turn(workers, ('train', 'infer_1'), flags.rounds)
      found = {name: each[setting] for name, each in timed.items()}
      results.setdefault(network, {})[setting] = found
      print(f'{network}, {setting} over without: ' + ', '.join(
        f'{name} {each["ratio"]} ({each["least"]} to {each["most"]})'
        for name, each in found.items()), flush=True)
      if flags.out:
        save(flags.out, f'settings.py --rounds={flags.rounds} --out=FILE', results,
             found=here)


if __name__ == '__main__':
  main()
