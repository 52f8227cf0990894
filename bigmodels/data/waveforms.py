"""Recordings as waveforms, for models of sounds."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from bigmodels.core.errors import UserError, nearest
from bigmodels.data.sources import Columns, DataContext, Dataset, zeros
from bigmodels.data.tokenized import many, say

_CLASSES = 1000  # more are texts that are not classes


@dataclasses.dataclass(frozen=True)
class Waveforms:
  """The sounds of recordings, with a class of each if asked.

  Opened, with S the longest recording of the split: `inputs` `[n, S]`, samples, of
  int16 or in [-1, 1], padded with zeros; `lengths` int32 `[n]`, the samples that are
  not padding; `labels` int32 `[n]` if `labels` names what they are.

  Attributes:
    documents: a source of sounds; see `recordings`.
    selected: the split that `open` returns.
    labels: the classes of sounds: the different 'text's or 'speaker's of 'train', in
      alphabetical order; None for no classes.
  """

  documents: Any
  selected: str = 'train'
  _: dataclasses.KW_ONLY
  labels: Literal['text', 'speaker'] | None = None

  def __post_init__(self):
    if self.labels not in (None, 'text', 'speaker'):
      raise ValueError(
        f"labels: must be 'text', 'speaker' or None, got {self.labels!r}")

  def split(self, name: str) -> 'Waveforms':
    return dataclasses.replace(self, selected=name)

  def open(self, context: DataContext) -> Dataset:
    """Reads the table of a split; its sounds are read when they are needed.

    Raises:
      UserError: for features in place of sounds, or a class that is not in 'train'.
    """
    found = self.documents.read(self.selected, context)
    if len(found.shape) != 1:
      raise UserError(f'{self.documents.name}: has features {found.shape}, must have '
                      'sounds')
    rate = context.keep('rate', lambda: found.rate)
    if rate != found.rate:
      raise UserError(f'{self.documents.name}: {self.selected} has {found.rate:,} '
                      f'samples per second, training {rate:,}: set rate={rate}')
    lengths = np.asarray(found.lengths, np.int32)
    say(self, context, f'{many(len(lengths), "recording")}, '
        f'{lengths.sum() / found.rate / 60:,.1f} minutes at {found.rate:,} Hz, the '
        f'longest {lengths.max() / found.rate:.1f} s', *found.notes)
    columns, classes = {'lengths': lengths}, None
    if self.labels:
      names = self._names(found)
      classes = tuple(context.keep(
        'classes of sounds', lambda: self._classes(context, names)))
      columns['labels'] = self._numbers(names, classes, found)

    def read(rows: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
      return {**found.read(rows, seeds),
              **{name: column[rows] for name, column in columns.items()}}

    facts = {
      'describe': found.describe, 'nbytes': len(lengths) * (
        int(np.prod(found.shape)) * np.dtype(found.dtype).itemsize + 8),
      'words': lambda rows: [{'recording': found.names[row], 'text': found.texts[row]}
                             for row in np.asarray(rows).tolist()],
      'provides': _provided(rate)}
    if context.shapes_only:
      return zeros({'inputs': (found.dtype, found.shape), **{
        name: (column.dtype.name, ()) for name, column in columns.items()}},
        len(lengths), classes, found.identity, **facts)
    return Dataset(
      length=len(lengths), load=lambda: read(np.arange(len(lengths))), read=read,
      classes=classes, identity=f'{found.identity}, labels {self.labels}',
      origin=found.origin, **facts)

  def recorded(self, kept: Mapping[str, Any]) -> Mapping[str, Callable[[], Any]]:
    """Returns what a split provides, of what a run keeps; see `Source`."""
    return _provided(kept['rate'])

  def _names(self, found) -> list[str]:
    """The class of each recording."""
    if self.labels == 'speaker' and found.speakers is None:
      raise UserError(f"labels='speaker': {self.documents.name} has no speakers")
    names = [*map(str, found.texts if self.labels == 'text' else found.speakers)]
    if '' in names:
      raise UserError(f'{found.where(names.index(""))}: has no {self.labels}, which is '
                      'its class')
    return names

  def _classes(self, context: DataContext, names: list[str]) -> list[str]:
    """The classes of 'train'."""
    if self.selected != 'train':
      names = self._names(self.documents.read('train', context))
    classes = sorted({*names})
    if len(classes) > _CLASSES:
      raise UserError(
        f'labels={self.labels!r}: {len(names):,} recordings have {len(classes):,} '
        f'different ones, such as {classes[0][:40]!r}; at most {_CLASSES:,} can be '
        'classes')
    return classes

  def _numbers(self, names: list[str], classes: tuple[str, ...], found) -> np.ndarray:
    """The number of each class, int32 `[n]`."""
    numbers = {name: index for index, name in enumerate(classes)}
    for row, name in enumerate(names):
      if name not in numbers:
        raise UserError(f'{found.where(row)}: the {self.labels} {name[:40]!r} is not '
                        f'in train{nearest(name, classes)}')
    return np.array([numbers[name] for name in names], np.int32)


def _provided(rate: int) -> dict[str, Callable[[], Any]]:
  """What a dataset provides of its sounds."""
  return {'rate': lambda: rate}
