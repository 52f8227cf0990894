"""What a GPU does: the CIFAR-10 speedrun, GPT-2, ResNet-50, ViT-S/16 and others.

  python benchmarks/gpu.py --data_dir=DIR --out=FILE
  python benchmarks/gpu.py --parts=gpt2_124m,gpt_pytorch --pytorch=OTHER/bin/python

Each part runs in a process of its own and is stopped when its time is over, so that all
of them take at most eight minutes. A part that fails is reported with its error, and
the others follow. `--out` is written after each measurement, as JSON with the machine.

- cifar_speedrun: runs of ten seeds, one after the other through one compiled program:
  the test accuracies, how many reach 94 %, and the seconds of training and evaluation
  with the data on the device, without compilation and without the filters of the
  first layer, which are computed from the data before; then again with the options of
  the experiment that are off. Without `--data_dir` the images are random, and there
  are only times.
- muon: a step of Muon for the kernels of the speedrun, one by one and stacked.
- gpt2_124m: train steps in bfloat16 of several batch sizes: tokens per second and the
  model FLOPs utilization (MFU), as nanoGPT counts it.
- gpt_pytorch: the same in PyTorch, compiled, if `--pytorch` has it.
- resnet50, vit_s16: train steps in bfloat16 of random images of 224 x 224 pixels that
  are on the device, without augmentation, except for those named 'augmented'.
- generation: 256 tokens after a prompt of 128, by GPT-2 with a cache.
- population: small models trained together by `vmap`, and one after the other.

Times are medians of five rounds, with the shortest and the longest. `--tiny` measures
small models on any device, in one to two minutes on two cores: it tests this script.
"""

import argparse
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from machine import save  # noqa: E402
from timing import brief  # noqa: E402

PARTS = {  # part -> module, and seconds, 480 in all
  'cifar_speedrun': ('gpu_cifar', 120), 'gpt2_124m': ('gpu_models', 100),
  'gpt_pytorch': ('gpu_models', 80), 'resnet50': ('gpu_models', 45),
  'vit_s16': ('gpu_models', 50), 'generation': ('gpu_models', 30),
  'population': ('gpu_models', 35), 'muon': ('gpu_cifar', 20)}
# Of the GPU's memory; JAX takes three quarters by default.
MEMORY = {'XLA_PYTHON_CLIENT_MEM_FRACTION': '0.9'}


def run_part(command: Sequence[str], budget: float,
             report: Callable[[str, object], None]) -> None:
  """Runs a part in a process, and reports what it measures, its time, and its error.

  Args:
    command: prints a line of JSON, [name, value], for each measurement.
    budget: seconds after which it is killed.
    report: (name, value) -> None.
  """
  start, stopped, failed = time.perf_counter(), threading.Event(), False
  with tempfile.TemporaryFile('w+', errors='replace') as errors:
    process = subprocess.Popen(  # in its own group, to be killed with what it starts
      command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
      env=MEMORY | os.environ)

    def stop():
      stopped.set()
      os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(budget, stop)
    timer.start()
    try:
      for line in process.stdout:
        name, value = json.loads(line)
        failed |= name == 'error'
        report(name, value)
      process.wait()
    finally:
      timer.cancel()
      if process.poll() is None:
        stop()
    errors.seek(0)
    written = errors.read().strip().splitlines()
  if stopped.is_set():
    report('error', f'stopped after its {budget} s')
  elif process.returncode and not failed:
    report('error', written[-1] if written else f'exit code {process.returncode}')
  if process.returncode:
    print('\n'.join(written[-20:]), file=sys.stderr)
  report('seconds', round(time.perf_counter() - start, 1))


def serve(part: str, flags: argparse.Namespace) -> None:
  """Measures a part in this process, and prints a line of JSON for each measurement."""
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # what others print is no answer

  def report(name, value):
    print(json.dumps([name, value]), file=answers, flush=True)

  try:
    getattr(importlib.import_module(PARTS[part][0]), part)(report, flags)
  except Exception as error:
    traceback.print_exc()
    report('error', brief(error))
    sys.exit(1)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--parts', default=','.join(PARTS), help='names, with commas')
  parser.add_argument('--data_dir', help='where TFDS has CIFAR-10')
  parser.add_argument('--pytorch', metavar='PYTHON', default=sys.executable,
                      help='the Python for PyTorch')
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  parser.add_argument('--tiny', action='store_true', help='small models, any device')
  parser.add_argument('--serve', choices=PARTS, help=argparse.SUPPRESS)
  flags = parser.parse_args(given)
  flags.parts = flags.parts.split(',')
  if unknown := [part for part in flags.parts if part not in PARTS]:
    parser.error(f'--parts: choose from {", ".join(PARTS)}; got {unknown[0]!r}')
  if flags.out and not flags.out.absolute().parent.is_dir():
    parser.error(f'--out: there is no folder {flags.out.parent}')
  return flags


def main() -> None:
  flags = arguments()
  if flags.serve:
    serve(flags.serve, flags)
    return
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so ends the part, too
  command = f'gpu.py --parts={",".join(flags.parts)}' + ' --tiny' * flags.tiny + (
    ' --data_dir=DIR' if flags.data_dir else '')
  results: dict[str, dict] = {}
  for part in flags.parts:
    results[part] = {}

    def report(name, value, part=part):
      results[part][name] = value
      print(f'{part}, {name}: {json.dumps(value)}', flush=True)
      if flags.out:
        save(flags.out, command, results)

    run_part([sys.executable, __file__, *sys.argv[1:], f'--serve={part}'],
             PARTS[part][1] * (10 if flags.tiny else 1), report)
  sys.exit(any('error' in found for found in results.values()))


if __name__ == '__main__':
  main()
