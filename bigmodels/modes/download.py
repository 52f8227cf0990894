"""--mode=download: fetches what an experiment reads from TFDS or by address."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from bigmodels.cli.request import Request
from bigmodels.data.sources import DataContext, in_lines


def run(request: Request) -> None:
  resolved = request.resolve()
  for note in resolved.notes:
    print(note)
  experiment = resolved.experiment
  wanted: list[Any] = []
  for batches in (experiment.train, *experiment.evals.values()):
    for source in _downloads(batches.source):
      # One of several splits: they are all fetched together.
      whole = source.split('') if hasattr(source, 'split') else source
      wanted += [whole] if whole not in wanted else []
  if not wanted:
    print('nothing to download: this experiment reads nothing that can be fetched')
  context = DataContext(request.data_dir, request.cache_dir, {}, in_lines(print))
  for source in wanted:
    print(f'{source.name} is in {source.download(context)}')


def _downloads(source: Any) -> Iterator[Any]:
  """A source, or what it reads from, as far as it can be downloaded."""
  if hasattr(source, 'download'):
    yield source
  elif dataclasses.is_dataclass(source):
    for field in dataclasses.fields(source):
      yield from _downloads(getattr(source, field.name))
