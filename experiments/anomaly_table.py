"""Anomalies or fraud in any CSV file, without labels, or in a bundled table.

  python run.py --experiment=anomaly_table --config.path=payments.csv --workdir=runs/a
  python run.py --workdir=runs/a --mode=predict --input=new.csv --output=scores.csv

Every row gets a score of how unusual it is, and is flagged if it is among the highest:
--config.contamination=0.01 sets the expected fraction of anomalies, by which the
threshold is chosen. The report shows the highest scores, and the columns that they are
due to. --config.method=deep_svdd learns a sphere around most rows in place of an
autoencoder, which must be narrower than a row: --config.model.widths="(4, 1)" for two
columns.

--config.label=fraud names a column of labels, which are never learned from: they are
compared with the scores. --config.normal=ok names the class of its normal rows.

All rows are learned from and scored. --config.held_out=0.2 keeps rows for a test, with
--config.time=date the latest; --config.split=set those that a column names,
--config.test=FILE those of another file. The columns and the format of the file have
the settings of `tabular_mlp`.

Needs: no download, or any CSV; 1 s to 20 s on two cores.
"""

from collections.abc import Mapping
from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import cleaning, transforms
from bigmodels.data.tables.settings import names_of, types_of
from bigmodels.optim import schedules

# No step clips outliers, or divides by a deviation that they make large: they are what
# is looked for.
CLEAN = (cleaning.drop_constant, cleaning.fill_missing, cleaning.one_hot,
         partial(cleaning.standardize, robust=True))


def config(*, path: str | tuple[str, ...] | None = None, label: str | None = None,
           normal: str | tuple[str, ...] | None = None,
           method: Literal['autoencoder', 'deep_svdd'] = 'autoencoder',
           contamination: float | None = 0.05, columns: str | tuple[str, ...] = (),
           drop: str | tuple[str, ...] = (), id: str | tuple[str, ...] = (),
           types: str | Mapping[str, str] = '', categories: str | tuple[str, ...] = (),
           weight: str | None = None,
           duplicates: Literal['keep', 'together', 'drop'] | None = None,
           held_out: float | None = None, group: str | None = None,
           time: str | None = None,
           split: str | None = None, test: str | tuple[str, ...] | None = None,
           delimiter: str | None = None, decimal: Literal['.', ','] | None = None,
           thousands: str | None = None, missing: tuple[str, ...] | str | None = None,
           encoding: str | None = None, epochs: float = 20,
           batch_size: int | None = None, learning_rate: float = 2e-3,
           weight_decay: float = 1.0, seed: int = 0) -> Experiment:
  kinds = types_of(types) | dict.fromkeys(names_of(categories), 'text')
  of_file = {'columns': columns or None, 'drop': drop or None, 'id': id or None,
             'types': kinds or None, 'weight': weight, 'duplicates': duplicates,
             'group': group, 'time': time, 'test': test, 'delimiter': delimiter,
             'decimal': decimal, 'thousands': thousands, 'missing': missing,
             'encoding': encoding}
  given = {name: value for name, value in of_file.items() if value is not None}
  if held_out is not None and not 0 < held_out < 1:
    raise ValueError(f'held_out: must be > 0 and < 1, got {held_out}')
  if held_out is not None and (split or test):
    raise ValueError(f'held_out: {"split" if split else "test"} says which rows are '
                     'held out')
  splits = split or ({'train': 1 - held_out, 'test': held_out} if held_out else (
    {'train': 1.0}))
  if path is None:
    if label is not None or normal is not None or split is not None or given:
      raise ValueError(f'{next(iter(given), "label")}: is for a file: set path as well')
    table, normal = data.ScikitTable('breast_cancer', splits=splits), 'benign'
    scaled = (transforms.standardize,)
  else:
    # Not stratified, so that labels do not even decide which rows are learned from.
    table = data.Table(path, label, task=label and 'classification', splits=splits,
                       clean=CLEAN, stratified=False, **given)
    scaled = ()  # by a step of the table

  def batches(name, size):
    return data.Batches(source=table.split(name), batch_size=size, transforms=scaled)

  evals = {'train_again': batches('train', 1024)}
  if held_out or split or test:
    evals['test'] = batches('test', 1024)
  return Experiment(
    model=partial(models.Autoencoder, noise=2.0) if method == 'autoencoder' else (
      partial(models.DeepSvdd)),
    task=partial(tasks.anomaly, contamination=contamination, normal=normal),
    optimizer=partial(optax.adamw, weight_decay=weight_decay, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate)),
    train=batches('train', partial(
      data.at_most, examples=128) if batch_size is None else batch_size),
    evals=evals,
    evaluate_every=Duration(epochs=5),
    duration=Duration(epochs=epochs),
    precision='float32',  # scores are small differences
    seed=seed)
