"""What users choose or rate, by neural collaborative filtering and similar models.

  python run.py --experiment=movielens_neumf --data_dir=DIR    # DIR holds ml-100k/
  python run.py --experiment=movielens_neumf --config.path=clicks.csv --config.time=date
  python run.py --experiment=movielens_neumf --data_dir=DIR --config.kind=explicit

--config.kind=implicit learns which films users rated, whatever the rating: the last
film of each user is the test, the one before it validates. --config.min_rating=4 with
--config.rating=COLUMN drops low ratings. explicit predicts ratings, split at random.

--config.model selects neumf, gmf, mlp, two_tower or dlrm. The last one reads features
of users and films; --config.user_features=FILE and item_features=FILE name tables with
the columns of users and items.

Needs: MovieLens 100K (--data_dir, files), or any interactions; 3 minutes on two cores.
"""

from collections.abc import Mapping
from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data.sources import FRACTIONS
from bigmodels.models import sharding_rules


def config(*, path: str | tuple[str, ...] | None = None, user: str = 'user',
           item: str = 'item', rating: str | None = None, time: str | None = None,
           split: str | Mapping[str, float] | None = None,
           min_rating: float | None = None,
           duplicates: Literal['last', 'keep'] | None = None,
           delimiter: str | None = None, user_features: str | None = None,
           item_features: str | None = None,
           kind: Literal['implicit', 'explicit'] = 'implicit',
           model: Literal['neumf', 'gmf', 'mlp', 'two_tower', 'dlrm'] = 'neumf',
           loss: Literal['binary', 'softmax', 'in_batch'] | None = None,
           negatives: int = 4, width: int = 32, dropout: float = 0.2,
           penalty: float = 0.01, epochs: float = 20, batch_size: int = 256,
           learning_rate: float = 1e-3, seed: int = 0) -> Experiment:
  explicit = kind == 'explicit'
  of_file = {'rating': rating, 'time': time, 'delimiter': delimiter,
             'user_features': user_features, 'item_features': item_features}
  given = [name for name, value in of_file.items() if value is not None]
  if path is None and given:
    raise ValueError(f'{given[0]}: is for a file: set path as well')
  if rating is not None and not explicit and min_rating is None:
    raise ValueError("rating: is for kind='explicit', or with min_rating")
  if explicit and path is not None and rating is None:
    raise ValueError('rating: set the column of ratings, --config.rating=COLUMN')
  if explicit and (model == 'two_tower' or loss is not None or min_rating is not None):
    raise ValueError("kind: 'explicit' is of ratings, which model=two_tower, loss and "
                     'min_rating are not for')
  if model != 'dlrm' and (user_features or item_features):
    raise ValueError(f'user_features, item_features: are for model=dlrm, got {model}')
  splits = split or (FRACTIONS if explicit else 'leave_last_out')
  if path is None:
    rating, time, delimiter = 'rating', 'time', 'tab'
    genres = tuple(f'genre_{number}' for number in range(19))
    features = {
      'user_features': data.Features(
        'ml-100k/u.user', 'user', ('age', 'sex', 'occupation'), delimiter='|',
        header=('user', 'age', 'sex', 'occupation', 'zip')),
      'item_features': data.Features(
        'ml-100k/u.item', 'item', genres, delimiter='|', encoding='latin-1',
        header=('item', 'title', 'date', 'video', 'address', *genres))}
  else:
    features = {
      'user_features': user_features and data.Features(user_features, user),
      'item_features': item_features and data.Features(item_features, item)}
  interactions = data.Interactions(
    path or 'ml-100k/u.data', user, item, time=time, splits=splits,
    min_rating=min_rating, duplicates=duplicates,
    rating=rating if explicit or min_rating is not None else None,
    header=None if path else ('user', 'item', 'rating', 'time'), delimiter=delimiter,
    **(features if model == 'dlrm' else {}))
  hidden = (2 * width, width, width // 2)
  neumf = partial(models.NeuMf, dropout=dropout, penalty=penalty)
  network = {
    'neumf': partial(neumf, width=width, hidden=hidden),
    'gmf': partial(neumf, width=width, hidden=()),
    'mlp': partial(neumf, width=0, hidden=hidden),
    'two_tower': partial(models.TwoTower, width=width, hidden=(2 * width,),
                         dropout=dropout),
    'dlrm': partial(models.Dlrm, width=width, top=hidden, dropout=dropout,
                    penalty=penalty)}[model]
  loss = loss or ('in_batch' if model == 'two_tower' else 'binary')
  return Experiment(
    model=network,
    task=tasks.ratings if explicit else partial(
      tasks.implicit, loss=loss, negatives=negatives),
    optimizer=partial(optax.adam, learning_rate),
    train=data.Batches(source=interactions.split('train'), batch_size=partial(
      data.at_most, examples=batch_size)),
    evals={name: data.Batches(source=interactions.split(name), batch_size=128)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/rmse', goal='min') if explicit else (
      Monitor(metric='validation/ndcg10', goal='max')),
    rules=sharding_rules.RECOMMENDER,
    seed=seed)
