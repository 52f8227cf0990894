"""Measures `anomaly_table` beside an isolation forest and distances from the middle.

  python benchmarks/anomalies.py --data=DIR   # of thyroid.csv, mammography.csv, ...

All rows of a table are fitted and scored; the column `anomaly` is used for the metrics
alone. Five seeds. The forest is scikit-learn's with default settings; a distance is the
mean square of the standardized columns, by mean and deviation, or by the median and the
mean distance from it, as the networks get them. Distances learn nothing.
"""

import argparse
import contextlib
import json
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bigmodels.cli import startup  # noqa: E402

if __name__ == '__main__':
  startup.prepare()  # before jaxlib is imported

TABLES = ('thyroid', 'mammography', 'cardio', 'satimage-2')
METHODS = {'autoencoder': 'autoencoder', 'Deep SVDD': 'deep_svdd'}
METRICS = ('roc_auc', 'average_precision')
SEEDS = 5


def network(path: pathlib.Path, method: str, seed: int) -> dict[str, float]:
  """The metrics of a run on all rows."""
  from bigmodels.cli.request import Request
  from bigmodels.hardware import devices
  from bigmodels.modes import train as training

  cache = pathlib.Path('~/.cache/bigmodels').expanduser()
  devices.configure_jax(cache / 'xla')
  settings = {'path': path, 'label': 'anomaly', 'method': method, 'seed': seed,
              'evaluate_every.epochs': 1000}
  with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
    training.run(Request(
      experiment='anomaly_table', overrides={k: str(v) for k, v in settings.items()},
      workdir=f'{folder}/run', data_dir=None, cache_dir=cache, require_backend=None))
    found = json.loads(pathlib.Path(folder, 'run', 'result.json').read_text())
  return {name: found['metrics'][f'train_again/{name}'] for name in METRICS}


def others(path: pathlib.Path, seed: int) -> dict[str, dict[str, float]]:
  """The metrics of scores that need no network."""
  import numpy as np
  import pandas as pd
  from sklearn.ensemble import IsolationForest

  from bigmodels import metrics

  frame = pd.read_csv(path)
  labels, inputs = frame.pop('anomaly').to_numpy(), frame.to_numpy()
  inputs = inputs[:, inputs.std(0) > 0]
  forest = IsolationForest(random_state=seed).fit(inputs)
  scores = {'isolation forest': -forest.score_samples(inputs)}
  for name in ('mean', 'median'):
    apart = inputs - getattr(np, name)(inputs, axis=0)
    spread = apart.std(0) if name == 'mean' else np.abs(apart).mean(0)
    scores[f'distance from the {name}'] = ((apart / spread)**2).mean(1)
  return {name: metrics.anomaly({'scores': each, 'labels': labels})
          for name, each in scores.items()}


def main() -> None:
  from machine import save

  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--data', type=pathlib.Path, required=True)
  data = parser.parse_args().data.resolve()
  results: dict[str, dict[str, dict[str, list[float]]]] = {}
  for name in TABLES:
    path, found = data / f'{name}.csv', results.setdefault(name, {})
    for seed in range(SEEDS):
      each = {model: network(path, method, seed) for model, method in METHODS.items()}
      for model, measured in (each | others(path, seed)).items():
        for metric, value in measured.items():
          found.setdefault(model, {}).setdefault(metric, []).append(value)
    for model, measured in found.items():
      print(name, model, {m: round(statistics.mean(v), 3) for m, v in measured.items()},
            flush=True)
  save(ROOT / 'benchmarks/results/anomalies_cpu.json', 'anomalies.py --data=DIR',
       results)


if __name__ == '__main__':
  main()
