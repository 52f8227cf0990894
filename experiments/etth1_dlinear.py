"""DLinear on the electricity transformers of ETT, or on any CSV of time series.

  python run.py --experiment=etth1_dlinear --data_dir=DIR      # DIR holds ett/ETTh1.csv
  python run.py --experiment=etth1_dlinear --data_dir=DIR \\
    --config.path=ett/ETTm1.csv --config.rows_per_day=96
  python run.py --experiment=etth1_dlinear --config.path=sales.csv --config.time=day \\
    --config.rows_per_day=1 --config.season=7 --config.days=None --config.length=56 \\
    --config.horizon=14

The splits are those of published results, in days; --config.days=None takes 70, 10 and
20 % of the rows. --config.targets=a,b names the columns to forecast, if not all of
them, and --config.series=shop a column with the series of each row.
--config.quantiles=0.1,0.5,0.9 makes intervals. --config.gaps=fill or keep says what is
done where times are missing.

Needs: ETTh1 (--data_dir, files), or any CSV; 20 s on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data.series.rows import Gaps
from bigmodels.optim import schedules


def config(*, path: str = 'ett/ETTh1.csv', time: str | None = 'date',
           targets: str | tuple[str, ...] = (), series: str | None = None,
           rows_per_day: int = 24,
           season: int | None = None, days: tuple[int, int, int] | None = (
             360, 120, 120), gaps: Gaps | None = None, length: int = 336,
           horizon: int = 96, quantiles: tuple[float, ...] = (), epochs: float = 10,
           batch_size: int = 32, learning_rate: float = 1e-3,
           seed: int = 0) -> Experiment:
  sizes = (0.7, 0.1, 0.2) if days is None else [rows_per_day * n for n in days]
  splits = dict(zip(('train', 'validation', 'test'), sizes, strict=True))
  source = data.Series(
    path, length, horizon, targets=targets, time=time, series=series, splits=splits,
    gaps=gaps, season=rows_per_day if season is None else season)
  return Experiment(
    model=partial(models.DLinear, quantiles=len(quantiles) or None),
    task=partial(tasks.forecasting, quantiles=quantiles),
    optimizer=partial(optax.adam, learning_rate=partial(
      schedules.warmup_cosine, peak=learning_rate, warmup=0.0)),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=256)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/crps' if quantiles else 'validation/mse',
                    goal='min'),
    seed=seed)
