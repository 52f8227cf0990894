"""Whether a share rises or falls on the next trading day, by an LSTM on prices.

  python run.py --experiment=stocks_lstm --data_dir=DIR       # DIR holds stocks/

The task, days and thresholds of StockNet (Xu and Cohen, *Stock movement prediction from
tweets and historical prices*, 2018), without its tweets: days on which the adjusted
close moves by more than 0.55 % up or at least 0.5 % down. Prices hardly tell: expect an
accuracy near 0.5. A clearly better one would be a leak.

Needs: the prices of StockNet (--data_dir, files); 1 minute on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.optim import schedules

SPLITS = {'train': '2014-01-01', 'validation': '2015-08-01', 'test': '2015-10-01'}


def config(*, length: int = 10, width: int = 32, dropout: float = 0.3,
           epochs: float = 10, batch_size: int = 128, learning_rate: float = 1e-3,
           seed: int = 0) -> Experiment:
  shares = data.Series(
    'stocks/prices.csv', length, 1, targets='adj_close', series='symbol', time='date',
    past='open,high,low,close,volume', change='relative', directions=(-0.005, 0.0055),
    splits=SPLITS, until='2016-01-01', gaps='keep')
  return Experiment(
    model=partial(models.SeriesClassifier, width=width, dropout=dropout),
    task=tasks.classification,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, weight_decay=1e-2, mask=optim.weights, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate))),
    train=data.Batches(source=shares.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=shares.split(name), batch_size=512)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/loss', goal='min'),
    seed=seed)
