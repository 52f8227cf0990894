"""Measures `tabular_mlp` on unequal classes, beside logistic regression and trees.

  python benchmarks/imbalanced.py mammography --data=mammography.csv
  python benchmarks/imbalanced.py adult --data=DIR   # with train.csv and test.csv

mammography: average precision (PR-AUC) on five stratified folds. adult: ROC AUC and
accuracy on the official test file, three seeds. A tenth of the training rows is for
validation: the network stops early there, and chooses the threshold of F1. The others
are scikit-learn's with default settings, and train on all training rows: logistic
regression on standardized and one-hot columns, and histogram gradient boosting with
its own treatment of categories.

The file is also the experiment that is trained: `tabular_mlp`, tested on another file.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
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

from bigmodels.config import Experiment  # noqa: E402

PIECEWISE = {'bins': 48, 'dropout': 0.3}
BALANCED = {'class_weights': 'balanced'}
SETTINGS = {
  'mammography': {'tabular_mlp': {}, 'tabular_mlp, balanced': BALANCED,
                  'tabular_mlp, bins=48': PIECEWISE,
                  'tabular_mlp, bins=48, balanced': PIECEWISE | BALANCED},
  'adult': {'tabular_mlp': {}, 'tabular_mlp, bins=48': PIECEWISE}}
METRICS = {'mammography': ('average_precision', 'roc_auc', 'f1/1', 'f1_at_threshold'),
           'adult': ('roc_auc', 'accuracy', 'f1/1', 'f1_at_threshold')}
LABELS = {'mammography': 'anomaly', 'adult': 'income'}


def config(*, path: str, label: str, test: str, bins: int | None = None,
           class_weights: str | None = None, dropout: float = 0.1,
           seed: int = 0) -> Experiment:
  spec = importlib.util.spec_from_file_location(
    'tabular_mlp', ROOT / 'experiments' / 'tabular_mlp.py')
  experiment = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(experiment)
  made = experiment.config(path=path, label=label, bins=bins, dropout=dropout,
                           class_weights=class_weights, seed=seed)
  table = dataclasses.replace(
    made.train.source, duplicates='keep', splits={'train': 0.9, 'validation': 0.1})
  sources = {'validation': table.split('validation'), 'test': dataclasses.replace(
    table, path=test, splits={'test': 1.0}, selected='test')}
  return dataclasses.replace(
    made, train=dataclasses.replace(made.train, source=table.split('train')),
    evals={name: dataclasses.replace(batches, source=sources[name])
           for name, batches in made.evals.items()})


def network(train: pathlib.Path, test: pathlib.Path, label: str, seed: int,
            settings: dict[str, object]) -> dict[str, float]:
  """The metrics of a run on the rows of `test`."""
  from bigmodels.cli.request import Request
  from bigmodels.hardware import devices
  from bigmodels.modes import train as training

  cache = pathlib.Path('~/.cache/bigmodels').expanduser()
  devices.configure_jax(cache / 'xla')
  settings = {'path': train, 'test': test, 'label': label, 'seed': seed,
              'task.threshold': 'f1', **settings}
  with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
    training.run(Request(
      experiment=__file__, overrides={k: str(v) for k, v in settings.items()},
      workdir=f'{folder}/run', data_dir=None, cache_dir=cache, require_backend=None))
    found = json.loads(pathlib.Path(folder, 'run', 'result.json').read_text())
  return {name[5:]: value for name, value in found['metrics'].items()
          if name.startswith('test/')}


def others(train: pathlib.Path, test: pathlib.Path, label: str, seed: int
           ) -> dict[str, dict[str, float]]:
  """The metrics of scikit-learn's models on the rows of `test`."""
  import numpy as np
  import pandas as pd
  from sklearn import (
    compose,
    ensemble,
    impute,
    linear_model,
    pipeline,
    preprocessing,
  )

  from bigmodels import metrics

  frames = [pd.read_csv(path) for path in (train, test)]
  classes = sorted(frames[0][label].unique())
  targets = [frame.pop(label).map(classes.index).to_numpy() for frame in frames]
  texts = [c for c in frames[0] if not pd.api.types.is_numeric_dtype(frames[0][c])]
  for frame in frames:
    frame[texts] = frame[texts].fillna('missing')
  numbers = [c for c in frames[0] if c not in texts]
  columns = compose.make_column_transformer(
    (pipeline.make_pipeline(impute.SimpleImputer(strategy='median'),
                            preprocessing.StandardScaler()), numbers),
    (preprocessing.OneHotEncoder(handle_unknown='ignore'), texts))
  codes = compose.make_column_transformer(
    (preprocessing.OrdinalEncoder(handle_unknown='use_encoded_value',
                                  unknown_value=np.nan), texts),
    remainder='passthrough')
  models = {
    'logistic regression': pipeline.make_pipeline(
      columns, linear_model.LogisticRegression(max_iter=2000)),
    'logistic regression, balanced': pipeline.make_pipeline(
      columns, linear_model.LogisticRegression(max_iter=2000, class_weight='balanced')),
    'gradient boosting': pipeline.make_pipeline(
      codes, ensemble.HistGradientBoostingClassifier(
        categorical_features=[*range(len(texts))], random_state=seed)),
    'gradient boosting, balanced': pipeline.make_pipeline(
      codes, ensemble.HistGradientBoostingClassifier(
        categorical_features=[*range(len(texts))], random_state=seed,
        class_weight='balanced'))}
  found = {}
  for name, model in models.items():
    model.fit(frames[0], targets[0])
    probabilities = model.predict_proba(frames[1])
    found[name] = metrics.classification({
      'labels': targets[1], 'predictions': probabilities.argmax(1),
      'probabilities': probabilities})
  return found


def folds(path: pathlib.Path, label: str, folder: pathlib.Path):
  """Files of five stratified folds: the training rows and the others."""
  import pandas as pd
  from sklearn.model_selection import StratifiedKFold

  frame = pd.read_csv(path, dtype=str)
  cut = StratifiedKFold(5, shuffle=True, random_state=0)
  for index, rows in enumerate(cut.split(frame, frame[label])):
    files = [folder / f'{part}{index}.csv' for part in ('train', 'test')]
    for file, chosen in zip(files, rows, strict=True):
      frame.iloc[chosen].to_csv(file, index=False)
    yield files


def main() -> None:
  from machine import save

  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('table', choices=SETTINGS)
  parser.add_argument('--data', type=pathlib.Path, required=True)
  given = parser.parse_args()
  name, label, data = given.table, LABELS[given.table], given.data.resolve()
  found: dict[str, list[dict[str, float]]] = {}
  with tempfile.TemporaryDirectory() as folder:
    parts = [[data / 'train.csv', data / 'test.csv']] * 3 if name == 'adult' else (
      folds(data, label, pathlib.Path(folder)))
    for index, (train, test) in enumerate(parts):
      seed = index if name == 'adult' else 0
      each = {model: network(train, test, label, seed, settings)
              for model, settings in SETTINGS[name].items()}
      for model, measured in (each | others(train, test, label, seed)).items():
        found.setdefault(model, []).append(measured)
        print(model, {m: round(measured[m], 4) for m in METRICS[name] if m in measured},
              flush=True)
  results = {model: {m: [each[m] for each in measured] for m in METRICS[name]
                     if m in measured[0]} for model, measured in found.items()}
  for model, measured in results.items():
    print(model, {m: round(statistics.mean(v), 4) for m, v in measured.items()})
  save(ROOT / f'benchmarks/results/{name}_cpu.json',
       f'imbalanced.py {name} --data={data.name}', results)


if __name__ == '__main__':
  main()
