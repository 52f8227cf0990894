"""Heart disease or not, of 303 patients: a small network on ten folds.

  python run.py --experiment=heart_mlp --data_dir=DIR   # DIR holds heart/cleveland.csv

The Cleveland data of the UCI repository (Detrano et al., 1989): 13 columns, and `num`,
0 for healthy and 1 to 4 for disease. It holds out the first of ten stratified folds;
--config.fold=3 another one, and --folds=10 trains on all of them and pools the results.
The network learns from all other rows, for a fixed time, as there are too few for a
validation split. The report has the reliability of the probabilities and the
decision curve; --config.task.temperature=1.2 makes the probabilities less sure. It
shows how such data is worked on, and is not for use: docs/medicine.md says why, and has
the figures of all folds.

Needs: the file (--data_dir, files); 2 s on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import cleaning
from bigmodels.optim import schedules

CODES = dict.fromkeys(('cp', 'restecg', 'slope', 'thal'), 'text')


def config(*, path: str = 'heart/cleveland.csv', fold: int | None = 0, folds: int = 10,
           fold_seed: int = 0, epochs: float = 30, width: int = 64,
           dropout: float = 0.5, weight_decay: float = 0.3,
           learning_rate: float = 2e-3, batch_size: int = 32,
           seed: int = 0) -> Experiment:
  table = data.Table(
    path, 'num', task='classification', threshold=0, types=CODES,
    clean=(cleaning.drop_constant, cleaning.fill_missing, cleaning.one_hot,
           cleaning.standardize),
    splits={'train': 1.0})
  return Experiment(
    model=partial(models.Mlp, widths=(width,), dropout=dropout),
    task=tasks.classification,
    optimizer=partial(optax.adamw, weight_decay=weight_decay, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate)),
    train=data.Batches(source=table, batch_size=batch_size),
    evals={},
    folds=folds,
    fold=fold,
    folding=partial(data.folds.shuffled, seed=fold_seed),
    evaluate_every=Duration(epochs=10),
    duration=Duration(epochs=epochs),
    seed=seed)
