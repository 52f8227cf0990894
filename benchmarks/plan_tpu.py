"""Plans experiments for TPUs of several generations, and reads what was compiled.

  JAX_PLATFORMS=cpu python benchmarks/plan_tpu.py --out=benchmarks/results/plan_tpu.json
  JAX_PLATFORMS=cpu python benchmarks/plan_tpu.py --only='gpt2_124m on v5e:2x2'

Nothing runs on a TPU: libtpu compiles each step on this machine, and the time of a step
is the least that the peaks of the device allow, all reached at once (`--mode=plan`).
Each plan takes a process and minutes. Prints them; `--out` adds them to a JSON file,
with the versions.
"""

import argparse
import fnmatch
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from machine import save  # noqa: E402

from bigmodels.hardware import overheads  # noqa: E402

_FOUR = ('v5e:2x2', 'v5p:2x2x1', 'v6e:2x2', 'tpu7x:2x2x1')  # chips of one host
# Experiment -> its flags, and slices with flags of their own. Four chips hold the first
# three, the fewest with collectives; gpt3_175b needs hundreds, each with a sequence. A
# chip of tpu7x is two devices.
CASES = {
  'gpt2_124m': (('--config.accumulate=30',), dict.fromkeys(_FOUR, ())),
  'imagenet_vit_s16': (('--config.batch_size=512',), dict.fromkeys(_FOUR, ())),
  'imagenet_resnet50': (('--config.batch_size=512',), dict.fromkeys(_FOUR, ())),
  'gpt3_175b': ((), {
    slice: (f'--mesh=fsdp:{devices}', f'--config.batch_size={devices}')
    for slice, devices in (('v5e:16x16', 256), ('v5p:8x8x8', 512), ('v6e:16x16', 256),
                           ('tpu7x:4x8x8', 512))}),
}


def planned(experiment: str, topology: str, flags: tuple[str, ...]) -> dict:
  """The numbers of a plan; only 'fits' and what was said if it does not fit."""
  with tempfile.TemporaryDirectory() as folder:
    process = subprocess.Popen(
      [sys.executable, str(ROOT / 'run.py'), f'--experiment={experiment}',
       '--mode=plan', f'--topology={topology}', f'--workdir={folder}/plan', *flags],
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout:
      lines.append(line)
      if line.startswith('trying '):  # other settings
        process.terminate()
    refused = [line.strip() for line in lines if 'does not fit' in line]
    if process.wait() and not refused:
      sys.exit(''.join(lines))
    if refused:
      return {'fits': False, 'said': refused[0]}
    found = json.loads(pathlib.Path(folder, 'plan/plan.json').read_text())
    program = pathlib.Path(folder, 'plan/program.txt').read_text()
  costs, roofline = found['costs'], found['roofline']
  return {
    'fits': True, 'devices': found['devices'], 'mesh': found['mesh'],
    'step_ms': roofline['step_s'] * 1e3, 'mfu': roofline['mfu'],
    'bound': roofline['bound'],
    **{f'{kind}_ms': roofline[f'{kind}_s'] * 1e3
       for kind in ('compute', 'memory', 'network')},
    'memory_gb': found['total_bytes'] / 1e9, 'moved_gb': costs['bytes_moved'] / 1e9,
    'flops': found['flops'], 'model_flops': found['model_flops'],
    'collectives': {kind: {'count': each['count'], 'gb': each['bytes'] / 1e9}
                    for kind, each in costs['collectives'].items()},
    'overheads': overheads.overheads(program)._asdict(),
    'compile_seconds': found['compile_seconds']}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--only', default='*', help='a pattern: gpt2_124m on v5*')
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  results = {}
  if flags.out and flags.out.exists():
    results = json.loads(flags.out.read_text())['results']
  for experiment, (shared, slices) in CASES.items():
    for topology, own in slices.items():
      name = f'{experiment} on {topology}'
      if not fnmatch.fnmatch(name, flags.only):
        continue
      found = planned(experiment, topology, shared + own)
      results[name] = {'flags': ' '.join(shared + own), **found, 'versions': {
        name: importlib.metadata.version(name) for name in ('jax', 'libtpu')}}
      print(f'{name}: {json.dumps(results[name])}', flush=True)
      if flags.out:
        save(flags.out, 'plan_tpu.py', results)


if __name__ == '__main__':
  main()
