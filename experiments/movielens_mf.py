"""Ratings of films by matrix factorization with biases, or any ratings.

  python run.py --experiment=movielens_mf --data_dir=DIR    # DIR holds ml-100k/
  python run.py --experiment=movielens_mf --config.path=ratings.csv \\
    --config.user=user --config.item=film --config.rating=stars --config.time=date

MovieLens 100K is trained on u1.base and tested on u1.test. Other files are split at
random; --config.split=leave_last_out tests on the last rating of each user,
--config.split=set names a column with the split of each row, and --config.test=FILE
tests on another file. --mode=predict --input=users.csv recommends items to the users of
a file, or predicts the ratings of its pairs of users and items.

Needs: MovieLens 100K (--data_dir, files), or any ratings; 10 s on two cores.
"""

from collections.abc import Mapping
from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data.sources import FRACTIONS
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | tuple[str, ...] | None = None, user: str = 'user',
           item: str = 'item', rating: str = 'rating', time: str | None = None,
           split: str | Mapping[str, float] | None = None,
           test: str | tuple[str, ...] | None = None,
           scale: tuple[float, float] | None = None,
           duplicates: Literal['last', 'keep'] | None = None,
           delimiter: str | None = None, width: int = 100, penalty: float = 0.12,
           bias_penalty: float = 0.02, epochs: float = 30, batch_size: int = 1000,
           learning_rate: float = 3e-3, seed: int = 0) -> Experiment:
  of_file = {'time': time, 'split': split, 'test': test, 'scale': scale,
             'duplicates': duplicates, 'delimiter': delimiter}
  if path is None:
    if given := [name for name, value in of_file.items() if value is not None]:
      raise ValueError(f'{given[0]}: is for a file: set path as well')
    ratings = data.Interactions(
      'ml-100k/u1.base', user, item, test='ml-100k/u1.test', rating=rating, time='time',
      splits={'train': 1.0}, scale=(1, 5), delimiter='tab',
      header=('user', 'item', 'rating', 'time'))
  else:
    splits = split or (FRACTIONS if test is None else {
      'train': 0.9, 'validation': 0.1})
    ratings = data.Interactions(
      path, user, item, rating=rating, time=time, splits=splits, test=test, scale=scale,
      duplicates=duplicates, delimiter=delimiter)
  return Experiment(
    model=partial(models.MatrixFactorization, width=width, penalty=penalty,
                  bias_penalty=bias_penalty),
    task=tasks.ratings,
    optimizer=partial(optax.adam, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0)),
    train=data.Batches(source=ratings.split('train'), batch_size=partial(
      data.at_most, examples=batch_size)),
    evals={name: data.Batches(source=ratings.split(name), batch_size=1000)
           for name in (('test',) if path is None else ('validation', 'test'))},
    evaluate_every=Duration(epochs=5),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.RECOMMENDER,
    seed=seed)
