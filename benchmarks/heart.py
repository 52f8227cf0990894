"""Measures `heart_mlp` on ten folds, beside logistic regression and the majority.

  python benchmarks/heart.py --data_dir=DIR   # DIR holds heart/cleveland.csv

The probabilities of the ten folds are pooled, so that each of the 303 patients is
tested once, and the metrics are of all of them; for five ways to cut the folds. The
temperature of a fold is fitted to the held-out probabilities of the nine others.
Logistic regression is scikit-learn's with default settings, on the same rows and
columns. With --plots=DIR the reliability and the decision curve of the first cut are
drawn there.
"""

import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bigmodels.cli import startup  # noqa: E402

if __name__ == '__main__':
  startup.prepare()  # before jaxlib is imported

FOLDS, SEEDS = 10, 5
METRICS = ('accuracy', 'roc_auc', 'log_loss', 'brier', 'calibration_error')


def network(data_dir: pathlib.Path, fold: int, seed: int) -> dict[str, dict]:
  """Split -> its inputs and labels, and what a run predicts, `[n, ...]`."""
  import bigmodels
  from bigmodels.cli.request import Request
  from bigmodels.hardware import devices
  from bigmodels.modes import train as training

  cache = pathlib.Path('~/.cache/bigmodels').expanduser()
  devices.configure_jax(cache / 'xla')
  settings = {'fold': fold, 'folds': FOLDS, 'fold_seed': seed, 'seed': seed}
  with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
    training.run(Request(
      experiment='heart_mlp', overrides={k: str(v) for k, v in settings.items()},
      workdir=f'{folder}/run', data_dir=str(data_dir), cache_dir=cache,
      require_backend=None))
    run = bigmodels.load(f'{folder}/run', cache_dir=cache)
    _, outputs, opened = run.evaluated()
    return {'train': opened.built.train.dataset.load(),
            'test': outputs['held_out'] | opened.built.evals['held_out'].dataset.load()}


def pooled(data_dir: pathlib.Path, seed: int) -> dict[str, dict]:
  """Model -> its outputs for the test rows of all folds, `[303, ...]`."""
  import numpy as np
  from sklearn.linear_model import LogisticRegression

  from bigmodels import metrics

  labels, found = [], {}
  for fold in range(FOLDS):
    splits = network(data_dir, fold, seed)
    train, test = splits['train'], splits['test']
    labels.append(test['labels'])
    regression = LogisticRegression(max_iter=2000).fit(train['inputs'], train['labels'])
    frequencies = np.bincount(train['labels']) / len(train['labels'])
    for model, probabilities in {
      'heart_mlp': test['probabilities'],
      'logistic regression': regression.predict_proba(test['inputs']),
      'frequency of the classes': np.tile(frequencies, (len(test['labels']), 1)),
    }.items():
      found.setdefault(model, []).append(probabilities)

  def calibrated(fold):
    others = [np.concatenate(parts[:fold] + parts[fold + 1:])
              for parts in (labels, found['heart_mlp'])]
    return metrics.at_temperature(
      found['heart_mlp'][fold], metrics.temperature(*others))

  found['heart_mlp, at the temperature'] = [calibrated(f) for f in range(FOLDS)]
  whole = {model: np.concatenate(parts) for model, parts in found.items()}
  return {model: {'labels': np.concatenate(labels), 'predictions': each.argmax(1),
                  'probabilities': each} for model, each in whole.items()}


def main() -> None:
  from machine import save

  from bigmodels import metrics, plots

  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--data_dir', type=pathlib.Path, required=True)
  parser.add_argument('--plots', type=pathlib.Path)
  arguments = parser.parse_args()
  results: dict[str, dict[str, list[float]]] = {}
  for seed in range(SEEDS):
    for model, outputs in pooled(arguments.data_dir.resolve(), seed).items():
      measured = metrics.classification(outputs)
      for name in METRICS:
        results.setdefault(model, {}).setdefault(name, []).append(measured[name])
      if arguments.plots and not seed:
        drawn = plots.classification(outputs, None, ('healthy', 'disease'))
        for title in ('Reliability', 'Decision curve'):
          drawn[title].savefig(arguments.plots / f'{model}, {title}.png')
  for model, measured in results.items():
    print(model, {m: round(statistics.mean(v), 3) for m, v in measured.items()})
  save(ROOT / 'benchmarks/results/heart_cpu.json', 'heart.py --data_dir=DIR', results)


if __name__ == '__main__':
  main()
