"""A multi-layer perceptron on any CSV file, or on a bundled table.

  python run.py --experiment=tabular_mlp --config.path=housing.csv \\
    --config.label=median_house_value --config.threshold=median

The file is CSV, Parquet or JSON lines, also compressed; or several: 'data/*.csv'.
All changes to the data are printed. Names of columns are separated by commas:

  --config.columns=a,b     the features, not all        --config.drop=c    not used
  --config.categories=a,b  numbers that are categories  --config.id=name   not a feature
  --config.types=a:text,b:numbers                       --config.weight=w  of each row

Splits are random. --config.stratified=True keeps the fraction of each class,
--config.group=patient keeps the rows of a patient together, --config.time=date tests on
the latest rows, --config.split=set names a column with the split of each row,
--config.test=FILE tests on another file. --config.duplicates=keep, together or drop
sets the treatment of equal rows. The batch size is 128, or an eighth of the training
split if that is smaller.

--config.class_weights=balanced gives every class the same weight in the loss.
--config.bins=48 encodes numbers piecewise linearly, which fits steps and long tails,
and needs more dropout, --config.dropout=0.3.

Needs: no download, or any CSV; 1 s to 10 s on two cores.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import cleaning, transforms
from bigmodels.data.tables.settings import names_of, types_of
from bigmodels.optim import schedules

SPLITS = {'train': 0.8, 'validation': 0.1, 'test': 0.1}


def config(*, path: str | tuple[str, ...] | None = None, label: str | None = None,
           task: Literal['classification', 'regression'] = 'classification',
           threshold: float | str | None = None,
           columns: str | tuple[str, ...] = (), drop: str | tuple[str, ...] = (),
           id: str | tuple[str, ...] = (), types: str | Mapping[str, str] = '',
           categories: str | tuple[str, ...] = (), weight: str | None = None,
           duplicates: Literal['keep', 'together', 'drop'] | None = None,
           stratified: bool | None = None, group: str | None = None,
           time: str | None = None, split: str | None = None,
           test: str | tuple[str, ...] | None = None,
           delimiter: str | None = None, decimal: Literal['.', ','] | None = None,
           thousands: str | None = None, missing: tuple[str, ...] | str | None = None,
           encoding: str | None = None, bins: int | None = None,
           class_weights: Literal['balanced'] | Mapping[str | int, float] | None = None,
           epochs: float = 80, dropout: float = 0.1,
           batch_size: int | None = None, learning_rate: float = 2e-3,
           seed: int = 0) -> Experiment:
  kinds = types_of(types) | dict.fromkeys(names_of(categories), 'text')
  of_file = {'threshold': threshold, 'columns': columns or None, 'drop': drop or None,
             'id': id or None, 'types': kinds or None, 'weight': weight,
             'duplicates': duplicates, 'splits': split, 'stratified': stratified,
             'group': group, 'time': time, 'test': test, 'delimiter': delimiter,
             'decimal': decimal, 'thousands': thousands, 'missing': missing,
             'encoding': encoding}
  given = {name: value for name, value in of_file.items() if value is not None}
  if path is None:
    if label is not None or given:
      raise ValueError(f'{next(iter(given), "label")}: is for a file: set path as well')
    bundled = 'breast_cancer' if task == 'classification' else 'diabetes'
    table, clean = data.ScikitTable(bundled, splits=SPLITS), (transforms.standardize,)
  elif label is None:
    raise ValueError('label: set the column to predict, --config.label=COLUMN')
  else:
    table = data.Table(path, label, task=task, **{'splits': SPLITS, **given})
    clean = ()  # the table's default steps end with standardize

  if bins is not None:
    if path is None:
      raise ValueError('bins: is for a file: set path as well')
    table = dataclasses.replace(table, clean=(
      cleaning.drop_constant, cleaning.fill_missing,
      partial(data.piecewise_linear, bins=bins), cleaning.one_hot,
      cleaning.standardize))
  score = tasks.classification if task == 'classification' else tasks.regression
  if class_weights is not None:
    if task == 'regression':
      raise ValueError("class_weights: needs task='classification'")
    score = partial(score, class_weights=class_weights)

  def batches(split, size):
    return data.Batches(source=table.split(split), batch_size=size, transforms=clean)

  return Experiment(
    model=partial(models.Mlp, widths=(128, 128), dropout=dropout),
    task=score,
    optimizer=partial(optax.adamw, weight_decay=1e-4, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate)),
    train=batches('train', partial(
      data.at_most, examples=128) if batch_size is None else batch_size),
    evals={name: batches(name, 1024) for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=2),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/loss', goal='min', patience=10),
    seed=seed)
