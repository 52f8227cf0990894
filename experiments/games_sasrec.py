"""What users get next: SASRec on reviews of games, or on any events with times.

  python run.py --experiment=games_sasrec --data_dir=DIR    # DIR holds Video.txt
  python run.py --experiment=games_sasrec --config.path=events.csv \\
    --config.user=user --config.item=item --config.time=date

The last item of each user is the test, the one before it validates. A batch has 20 rows
of 50 items, which several users share. --config.loss=full_softmax takes longer for an
epoch, and needs fewer.

Needs: Amazon Games (--data_dir, files), or any events; 40 minutes on two busy cores.
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.models import sharding_rules


def config(*, path: str | tuple[str, ...] | None = None, user: str = 'user',
           item: str = 'item', time: str | None = None, delimiter: str | None = None,
           duplicates: Literal['keep', 'last'] = 'keep', length: int = 50,
           loss: Literal['binary', 'softmax', 'full_softmax'] = 'binary',
           negatives: int = 1, width: int = 50, depth: int = 2, dropout: float = 0.5,
           epochs: float = 100, batch_size: int = 20, learning_rate: float = 1e-3,
           seed: int = 0) -> Experiment:
  of_file = {'time': time, 'delimiter': delimiter}
  if path is None:
    if given := [name for name, value in of_file.items() if value is not None]:
      raise ValueError(f'{given[0]}: is for a file: set path as well')
    interactions = data.Interactions(
      'Video.txt', user, item, header=('user', 'item'), delimiter='space',
      duplicates=duplicates)
  else:
    interactions = data.Interactions(path, user, item, time=time, delimiter=delimiter,
                                     duplicates=duplicates)
  source = data.Histories(interactions, length)
  return Experiment(
    model=partial(models.SasRec, length=length, width=width, depth=depth,
                  dropout=dropout, unroll=True),
    task=partial(tasks.next_item, loss=loss, negatives=negatives),
    optimizer=partial(optax.adam, learning_rate, b2=0.98),
    train=data.Batches(source=source.split('train'), batch_size=partial(
      data.at_most, examples=batch_size)),
    evals={name: data.Batches(source=source.split(name), batch_size=256)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=25),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/ndcg10', goal='max'),
    rules=sharding_rules.SASREC,
    seed=seed)
