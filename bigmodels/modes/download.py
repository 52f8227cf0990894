"""--mode=download: downloads the data of an experiment, from TFDS or by URL."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from bigmodels.cli.request import Request
from bigmodels.data.sources import DataContext, in_lines


def run(request: Request) -> None:
  """Downloads every dataset that the experiment reads, if it can be downloaded.

  Raises:
    UserError: if one cannot be downloaded.
  """
  resolved = request.resolve()
  for note in resolved.notes:
    print(note)
  experiment = resolved.experiment
  datasets: list[Any] = []
  for batches in (experiment.train, *experiment.evals.values()):
    for source in _downloads(batches.source):
      # All splits of a dataset are downloaded together.
      whole = source.split('') if hasattr(source, 'split') else source
      datasets += [whole] if whole not in datasets else []
  if not datasets:
    print('nothing to download: this experiment reads no data that can be downloaded')
  context = DataContext(request.data_dir, request.cache_dir, {}, in_lines(print))
  for source in datasets:
    print(f'{source.name} is in {source.download(context)}')


def _downloads(source: Any) -> Iterator[Any]:
  """The sources that can be downloaded: this one, or sources in its fields."""
  if hasattr(source, 'download'):
    yield source
  elif dataclasses.is_dataclass(source):
    for field in dataclasses.fields(source):
      yield from _downloads(getattr(source, field.name))
