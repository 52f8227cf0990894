"""Traffic speed at 207 detectors: GRU for each detector, or T-GCN along the roads.

  python run.py --experiment=traffic_gru --data_dir=DIR       # DIR holds los_loop/
  python run.py --experiment=traffic_gru --data_dir=DIR --config.graph=True
  python run.py --experiment=traffic_gru --data_dir=DIR --config.horizon=12

12 rows of 5 minutes are read. The last 20 % of the rows are the test set, and windows
do not reach over its border, as published; the last tenth of the others validates. The
published script also leaves the last window unused, and so does this file.

Needs: los_loop (--data_dir, files); 10 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.optim import schedules

SPLITS = {'train': 1411, 'validation': 201, 'test': 403}


def config(*, graph: bool = False, horizon: int = 3, width: int = 64,
           epochs: float = 40, batch_size: int = 32, learning_rate: float = 3e-3,
           seed: int = 0) -> Experiment:
  series = data.Series(
    'los_loop/los_speed.csv', 12, horizon, splits=SPLITS, reach=False,
    graph='los_loop/los_adj.csv' if graph else None)
  return Experiment(
    model=partial(models.Tgcn, width=width, **({} if graph else {'adjacency': None})),
    task=partial(tasks.forecasting, units='original'),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adam, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate))),
    train=data.Batches(source=series.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=series.split(name), batch_size=64)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=2),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/rmse', goal='min'),
    seed=seed)
