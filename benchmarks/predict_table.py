"""Predicts a million rows of a table: the time and memory of `--mode=predict`.

  python benchmarks/predict_table.py --table FILE.csv COLUMN

Trains `tabular_mlp` on each table for one epoch, and writes a CSV file of a million
of its rows, drawn at random. Then, in turns:

- read: `pyarrow.csv.read_csv` of the file;
- model: the run's program for all rows, cleaned before, from memory;
- predict: what `--mode=predict` reports, from the first row to the finished file;
- command: the whole process, with its start.

Prints the median of each, of the ratio of `predict` to `read` plus `model`, and the
peak memory of the process; `--out` writes them as JSON, with the machine.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import numpy as np  # noqa: E402
from machine import save  # noqa: E402
from pyarrow import csv  # noqa: E402

import bigmodels  # noqa: E402


def seconds(function, *args) -> float:
  start = time.perf_counter()
  function(*args)
  return time.perf_counter() - start


# A process counts the memory of the one that starts it as its own, so a small one does.
_START = """
import resource, subprocess, sys, time
start = time.perf_counter()
status = subprocess.call(sys.argv[1:], stderr=subprocess.STDOUT)
print(time.perf_counter() - start,
      resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(status)
"""


def command(*flags: str) -> tuple[str, float, float]:
  """What a command prints, its seconds and its peak memory in MB."""
  process = subprocess.run(
    [sys.executable, '-S', '-c', _START, sys.executable, str(ROOT / 'run.py'), *flags],
    stdout=subprocess.PIPE, text=True)
  if process.returncode:
    sys.exit(process.stdout)
  whole, memory = process.stdout.splitlines()[-1].split()
  return process.stdout, float(whole), float(memory)


def measure(path: str, label: str, count: int, rounds: int) -> dict[str, float]:
  """The medians of the rounds, of a run of one table."""
  found = []
  with tempfile.TemporaryDirectory() as folder:
    run, file = f'{folder}/run', pathlib.Path(folder, 'rows.csv')
    command('--experiment=tabular_mlp', f'--config.path={path}',
            f'--config.label={label}', '--config.epochs=1', f'--workdir={run}')
    table = csv.read_csv(path)
    csv.write_csv(table.take(np.random.default_rng(0).integers(
      len(table), size=count)), file)
    opened = bigmodels.load(run)
    chunks = [*opened.examples([file]).chunks(0)]

    class Cleaned:
      length = count
      chunks = staticmethod(lambda first: iter(chunks))

    def model():
      for _ in opened.predictions(Cleaned):
        pass

    model()  # compiles
    for index in range(rounds):
      read, inference = seconds(csv.read_csv, file), seconds(model)
      printed, whole, memory = command(
        '--mode=predict', f'--workdir={run}', f'--input={file}',
        f'--output={folder}/{index}.csv')
      predict = float(re.search(r'predictions in ([0-9.]+) s', printed)[1])
      found.append({'read': read, 'model': inference, 'predict': predict,
                    'command': whole, 'ratio': predict / (read + inference),
                    'memory_mb': memory})
  features = next(iter(chunks)).columns['inputs'].shape[1]
  texts = sum(str(field.type) == 'string' for field in table.schema)
  return {'columns': table.num_columns, 'of_text': texts, 'features': features} | {
    name: round(statistics.median(each[name] for each in found), 2)
    for name in found[0]}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--table', nargs=2, required=True, action='append',
                      metavar=('FILE', 'LABEL'), help='a CSV file and its label')
  parser.add_argument('--rows', type=int, default=1_000_000)
  parser.add_argument('--rounds', type=int, default=9)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  results = {}
  for path, label in flags.table:
    results[label] = measure(path, label, flags.rows, flags.rounds)
    print(f'{label}: ' + ', '.join(f'{name} {x}' for name, x in results[label].items()))
  if flags.out:
    labels = ' '.join(f'--table FILE.csv {label}' for label in results)
    save(flags.out, f'predict_table.py {labels}', {'rows': flags.rows, **results})


if __name__ == '__main__':
  main()
