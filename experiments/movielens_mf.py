"""Ratings of films by matrix factorization with biases, or any ratings.

  python run.py --experiment=movielens_mf --data_dir=DIR    # DIR holds ml-100k/
  python run.py --experiment=movielens_mf --config.path=ratings.csv \\
    --config.user=user --config.item=film --config.rating=stars --config.time=date

MovieLens 100K is trained on u1.base and tested on u1.test. Other files are split at
random, or by --config.splits=leave_last_out in time; --config.test=FILE is a test split
of its own. --mode=predict --input=users.csv recommends items to the users of a file,
or predicts the ratings of its pairs of users and items.

Needs: MovieLens 100K (--data_dir, files), or any ratings; 10 s on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data.sources import FRACTIONS
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | tuple[str, ...] | None = None, user: str = 'user',
           item: str = 'item', rating: str = 'rating', time: str | None = None,
           test: str | None = None, splits: str | None = None,
           scale: tuple[float, float] | None = None, delimiter: str | None = None,
           width: int = 100, penalty: float = 0.12, bias_penalty: float = 0.02,
           epochs: float = 30, batch_size: int = 1000, learning_rate: float = 3e-3,
           seed: int = 0) -> Experiment:
  if path is None:
    source = data.Interactions(
      'ml-100k/u1.base', test='ml-100k/u1.test', rating='rating', time='time',
      splits={'train': 1.0}, scale=(1, 5), delimiter='tab',
      header=('user', 'item', 'rating', 'time'))
  else:
    source = data.Interactions(
      path, user, item, rating=rating, time=time, test=test, scale=scale,
      splits=splits or (FRACTIONS if test is None else {
        'train': 0.9, 'validation': 0.1}), delimiter=delimiter)
  names = ('test',) if path is None else ('validation', 'test')
  return Experiment(
    model=partial(models.MatrixFactorization, width=width, penalty=penalty,
                  bias_penalty=bias_penalty),
    task=tasks.ratings,
    optimizer=partial(optax.adam, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0)),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=1000)
           for name in names},
    evaluate_every=Duration(epochs=5),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.RECOMMENDER,
    seed=seed)
