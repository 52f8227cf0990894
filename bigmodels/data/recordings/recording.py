"""The type of what sources of transcribed recordings read."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, listed
from bigmodels.data.origins import Origin
from bigmodels.data.sources import Columns, held_out


class Recordings(NamedTuple):
  """The recordings of a split with their transcripts.

  Attributes:
    names: name of each, for people.
    texts: transcripts.
    lengths: int `[n]`, the samples of sounds, or the frames of features.
    rate: samples or frames per second.
    shape: shape of an example, of which the first axis is that of time.
    dtype: dtype of an example.
    read: (rows, seeds uint64 `[n, 2]`) -> `inputs` `[n, longest, ...]`, and `corrupt`
      if some cannot be read; see `Dataset.read`.
    identity: a text that changes when the recordings do.
    where: row -> where its transcript is.
    describe: row -> its name, and why it cannot be read if so.
    speakers: of each, or None.
    notes: lines to print.
    origin: source rows.
  """

  names: Sequence[str]
  texts: Sequence[str]
  lengths: np.ndarray
  rate: int
  shape: tuple[int, ...]
  dtype: str
  read: Callable[..., Columns]
  identity: str
  where: Callable[[int], str]
  describe: Callable[[int], str]
  speakers: Sequence[str] | None = None
  notes: Sequence[str] = ()
  origin: Origin | None = None


def speaker_codes(speakers: Sequence[str] | None) -> np.ndarray | None:
  """Returns a number for each speaker, int `[n]`; None for unknown speakers."""
  return None if speakers is None else np.unique(
    np.asarray(speakers, str), return_inverse=True)[1]


def divided(speakers: Sequence[str] | None, length: int, split: str, splits, name: str
            ) -> np.ndarray:
  """Returns the rows of a split, int `[n]`, with every speaker in one split.

  Args:
    speakers: of each recording; None divides single recordings.
    length: number of recordings.
    split: name of the split.
    splits: split -> fraction.
    name: of the recordings, for messages.

  Raises:
    UserError: see `sources.held_out`.
  """
  try:
    return held_out(length, split, splits, speaker_codes(speakers))
  except UserError as error:
    raise UserError(f'{name}: {error}') from None


def shared_speakers(speakers: Sequence[str] | None, splits: Sequence[str]) -> list[str]:
  """Returns a warning of speakers in several splits, if there are some.

  Args:
    speakers: of each recording, or None.
    splits: of each recording.
  """
  of: dict[str, set[str]] = {}
  for speaker, split in zip(speakers or (), splits, strict=bool(speakers)):
    of.setdefault(speaker, set()).add(split)
  several = sorted(speaker for speaker, found in of.items() if len(found) > 1)
  return [f'warning: {len(several):,} of {len(of):,} speakers are in several splits: '
          f'{listed(several, 3)}; scores are then not of unknown speakers'
          ] if several else []
