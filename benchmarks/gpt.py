"""The step of `shakespeare_gpt` beside a GPT in PyTorch written as nanoGPT is.

  python benchmarks/gpt.py --data_dir=DIR --rounds=3

Each round trains both for as many steps, one after the other, in processes of their
own; times are of training alone, without compiling, evaluating and saving. Prints one
JSON line: milliseconds a step of every round, and the ratio of their medians.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def ours(data_dir: str, steps: int, folder: pathlib.Path) -> float:
  """Milliseconds a step of run.py, as its `result.json` tells the time it trained."""
  environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
  subprocess.run(
    [sys.executable, str(ROOT / 'run.py'), '--experiment=shakespeare_gpt',
     f'--data_dir={data_dir}', f'--config.steps={steps}', f'--workdir={folder / "run"}',
     f'--config.evaluate.steps={steps}', f'--cache_dir={folder / "cache"}'],
    check=True, capture_output=True, env=environment)
  result = json.loads((folder / 'run' / 'result.json').read_text())
  return 1e3 * result['train_seconds'] / steps


def theirs(steps: int) -> float:
  """Milliseconds a step of `gpt_pytorch.py`, the median."""
  done = subprocess.run(
    [sys.executable, str(ROOT / 'benchmarks/gpt_pytorch.py'), f'--steps={steps}'],
    check=True, capture_output=True, text=True)
  return json.loads(done.stdout.strip().splitlines()[-1])['median_ms']


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir', required=True, help='where tiny_shakespeare is')
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--steps', type=int, default=400)
  flags = parser.parse_args()
  found: dict[str, list[float]] = {'bigmodels_ms': [], 'pytorch_ms': []}
  for _ in range(flags.rounds):
    with tempfile.TemporaryDirectory() as folder:
      found['bigmodels_ms'].append(
        ours(flags.data_dir, flags.steps, pathlib.Path(folder)))
    found['pytorch_ms'].append(theirs(flags.steps))
  medians = {name: statistics.median(times) for name, times in found.items()}
  ratio = medians['pytorch_ms'] / medians['bigmodels_ms']
  print(json.dumps({**found, 'pytorch_over_bigmodels': round(ratio, 3)}))


if __name__ == '__main__':
  main()
