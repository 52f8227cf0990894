"""Files of series for tests."""

import datetime

import numpy as np

from bigmodels.data.sources import DataContext


def hourly(count, start='2020-01-01', step=60):
  """Times `[count]`, `step` minutes apart."""
  first = datetime.datetime.fromisoformat(start)
  return [str(first + datetime.timedelta(minutes=step * i)) for i in range(count)]


def write(path, columns):
  """Writes a CSV file; None is an empty cell."""
  rows = zip(*columns.values(), strict=True)
  lines = [','.join('' if value is None else str(value) for value in row)
           for row in rows]
  path.write_text('\n'.join([','.join(columns), *lines]) + '\n')
  return str(path)


def numbers(count, seed=0):
  """Values of a random walk with few digits, so that a file has them exactly."""
  return np.round(np.random.default_rng(seed).normal(size=count).cumsum(), 3)


def opened(source, *names, kept=None):
  """The splits of a source, opened in one run, and what was printed."""
  lines = []
  context = DataContext(None, None, {} if kept is None else kept, lines.append)
  found = {name: source.split(name).open(context) for name in names or source.splits}
  return found, lines, context.kept
