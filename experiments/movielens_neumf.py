"""What users choose or rate, by neural collaborative filtering or other models.

  python run.py --experiment=movielens_neumf --data_dir=DIR    # DIR holds ml-100k/
  python run.py --experiment=movielens_neumf --config.path=clicks.csv --config.time=date
  python run.py --experiment=movielens_neumf --data_dir=DIR --config.kind=explicit

--config.kind=implicit learns which films users rated, whatever the rating: the last
film of each user is the test, the one before it validates. explicit predicts ratings,
split at random. --config.model selects neumf, gmf, mlp, two_tower, or dlrm, which reads
features of users and films: for other files, --config.user_features and item_features
name tables that have the columns of user and item.

Needs: MovieLens 100K (--data_dir, files), or any interactions; 2 minutes on two cores.
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data.sources import FRACTIONS
from bigmodels.models import sharding_rules

GENRES = tuple(f'genre_{number}' for number in range(19))


def config(*, path: str | tuple[str, ...] | None = None, user: str = 'user',
           item: str = 'item', rating: str | None = None, time: str | None = None,
           delimiter: str | None = None, splits: str | None = None,
           user_features: str | None = None, item_features: str | None = None,
           kind: Literal['implicit', 'explicit'] = 'implicit',
           model: Literal['neumf', 'gmf', 'mlp', 'two_tower', 'dlrm'] = 'neumf',
           loss: Literal['binary', 'softmax', 'in_batch'] | None = None,
           negatives: int = 4, width: int = 32, dropout: float = 0.2,
           penalty: float = 0.01, epochs: float = 20, batch_size: int = 256,
           learning_rate: float = 1e-3, seed: int = 0) -> Experiment:
  explicit = kind == 'explicit'
  if explicit and path is not None and rating is None:
    raise ValueError('rating: set the column of ratings, --config.rating=COLUMN')
  if explicit and (model == 'two_tower' or loss is not None):
    raise ValueError("kind: 'explicit' is of ratings, which model=two_tower and loss "
                     'are not for')
  options = {'splits': splits or (FRACTIONS if explicit else 'leave_last_out')}
  if path is None:
    source = data.Interactions(
      'ml-100k/u.data', rating='rating' if explicit else None, time='time',
      header=('user', 'item', 'rating', 'time'), delimiter='tab', **options)
    features = (
      data.Features('ml-100k/u.user', 'user', ('age', 'sex', 'occupation'),
                    header=('user', 'age', 'sex', 'occupation', 'zip'), delimiter='|'),
      data.Features('ml-100k/u.item', 'item', GENRES, header=(
        'item', 'title', 'date', 'video', 'address', *GENRES), delimiter='|',
        encoding='latin-1'))
  else:
    source = data.Interactions(
      path, user, item, rating=rating if explicit else None, time=time,
      delimiter=delimiter, **options)
    features = tuple(table and data.Features(table, name) for table, name in (
      (user_features, user), (item_features, item)))
  if model == 'dlrm':
    source = data.Interactions(**{
      **vars(source), 'user_features': features[0], 'item_features': features[1]})
  hidden = (2 * width, width, width // 2)
  network = {
    'neumf': partial(models.NeuMf, width=width, hidden=hidden, dropout=dropout,
                     penalty=penalty),
    'gmf': partial(models.NeuMf, width=width, hidden=(), dropout=dropout,
                   penalty=penalty),
    'mlp': partial(models.NeuMf, width=0, hidden=hidden, dropout=dropout,
                   penalty=penalty),
    'two_tower': partial(models.TwoTower, width=width, hidden=(2 * width,),
                         dropout=dropout),
    'dlrm': partial(models.Dlrm, width=width, top=hidden, dropout=dropout,
                    penalty=penalty)}[model]
  if loss is None:
    loss = 'in_batch' if model == 'two_tower' else 'binary'
  return Experiment(
    model=network,
    task=tasks.ratings if explicit else partial(
      tasks.implicit, loss=loss, negatives=negatives),
    optimizer=partial(optax.adam, learning_rate),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=128)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/rmse', goal='min') if explicit else (
      Monitor(metric='validation/ndcg10', goal='max')),
    rules=sharding_rules.RECOMMENDER,
    seed=seed)
