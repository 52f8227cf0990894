"""Times a whole run of a small table, section by section, with full caches.

  python benchmarks/fixed_cost.py
  python benchmarks/fixed_cost.py --beside=OTHER/run.py    # in turns with another

The lines that a run prints delimit the sections: `start`, Python and imports;
`data`, the data is opened and the step is traced; `compile`; `train`, the loop with its
evaluations and checkpoints; `results`, the best checkpoint is evaluated and the report
drawn; `exit`. `fixed` is all but `compile` and `train`; `cpu` is the processor time
of the whole run, which other work on the machine changes less. Prints the median of the
rounds; `--out` writes everything as JSON, with the machine.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'benchmarks'))

from machine import save  # noqa: E402


def sections(script: pathlib.Path, experiment: str, cache: str) -> dict[str, float]:
  """Seconds of each section of a run."""
  with tempfile.TemporaryDirectory() as folder:
    times = {'begin': time.perf_counter()}
    process = subprocess.Popen(
      [sys.executable, str(script), f'--experiment={experiment}',
       f'--workdir={folder}/run', f'--cache_dir={cache}'],
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
      env=os.environ | {'PYTHONUNBUFFERED': '1', 'JAX_PLATFORMS': 'cpu'})
    lines = []
    for line in process.stdout:
      lines.append(line)
      for name, pattern in (('start', 'workdir: '), ('built', '.* parameters in '),
                            ('trained', r'step [\d,]+: '), ('done', 'report: ')):
        if re.match(pattern, line):
          times[name] = time.perf_counter()
    _, status, used = os.wait4(process.pid, 0)
    if status or 'done' not in times:
      sys.exit(''.join(lines))
    times['end'] = time.perf_counter()
    compiling = json.loads(
      pathlib.Path(folder, 'run', 'result.json').read_text())['compile_seconds']
  found = {
    'start': times['start'] - times['begin'],
    'data': times['built'] - times['start'] - compiling,
    'compile': compiling, 'train': times['trained'] - times['built'],
    'results': times['done'] - times['trained'], 'exit': times['end'] - times['done']}
  found['total'] = sum(found.values())
  found['cpu'] = used.ru_utime + used.ru_stime
  found['fixed'] = found['total'] - found['compile'] - found['train']
  return found


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--experiment', default='tabular_mlp')
  parser.add_argument('--beside', type=pathlib.Path, help='the run.py of another one')
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  scripts = {'here': ROOT / 'run.py'}
  if flags.beside:
    scripts['beside'] = flags.beside
  rounds: dict[str, list[dict]] = {name: [] for name in scripts}
  with tempfile.TemporaryDirectory() as cache:
    for index in range(flags.rounds + 1):
      for name, script in scripts.items():
        found = sections(script, flags.experiment, f'{cache}/{name}')
        if index:  # the first fills the caches
          rounds[name].append(found)
  medians = {name: {section: round(statistics.median(r[section] for r in each), 2)
                    for section in each[0]} for name, each in rounds.items()}
  for name, each in medians.items():
    print(f'{name}: ' + ', '.join(f'{k} {v:.2f} s' for k, v in each.items()))
  if flags.out:
    save(flags.out, f'fixed_cost.py --experiment={flags.experiment}', medians)


if __name__ == '__main__':
  main()
