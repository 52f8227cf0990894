"""Quantiles of two random walks that an LSTM forecasts, with dropout."""

import pathlib
from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment

QUANTILES = (0.1, 0.5, 0.9)


def config(*, seed: int = 0) -> Experiment:
  walks = data.Series(
    str(pathlib.Path(__file__).with_name('walk.csv')), 12, 4, time='time',
    calendar='day', season=6, gaps='fill')
  return Experiment(
    model=partial(models.RecurrentForecaster, quantiles=3, width=8, dropout=0.2),
    task=partial(tasks.forecasting, quantiles=QUANTILES),
    optimizer=partial(optax.adam, 1e-3),
    train=data.Batches(source=walks.split('train'), batch_size=16),
    evals={name: data.Batches(source=walks.split(name), batch_size=32)
           for name in ('validation', 'test')},
    evaluate_every=Duration(steps=300),
    duration=Duration(steps=600),
    seed=seed)
