"""Features of recordings in one array, and a table that says where each begins."""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from bigmodels.core import digests, files
from bigmodels.core.errors import UserError
from bigmodels.data.origins import Origin
from bigmodels.data.recordings.recording import Recordings, divided
from bigmodels.data.sources import Columns, DataContext
from bigmodels.data.tables import text_columns
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.texts.reading import check_split


@dataclasses.dataclass(frozen=True)
class FeatureTable:
  """A folder with `NAME.npy`, features `[frames, width]`, and `NAME.csv`.

  A row of the table is a recording: `id`, `start`, `frames` and `text`, the frames
  `start` to `start + frames` of the array.

  Attributes:
    folder: the folder.
    rate: frames per second.
    names: split -> NAME.
    splits: split -> fraction of the recordings of `train`, divided by speaker; splits
      of `names` are not divided further.
    speaker: column of speakers; None if there is none.
  """

  folder: str
  rate: int = 100
  names: Mapping[str, str] = dataclasses.field(
    default_factory=lambda: {'train': 'train', 'test': 'test'})
  splits: Mapping[str, float] = dataclasses.field(default_factory=dict)
  speaker: str | None = 'speaker'

  def __post_init__(self):
    object.__setattr__(self, 'folder', files.absolute(self.folder, 'folder'))
    if self.rate < 1:
      raise ValueError(f'rate: must be >= 1, got {self.rate}')

  @property
  def name(self) -> str:
    return pathlib.Path(self.folder).name

  def read(self, split: str, context: DataContext) -> Recordings:
    """Reads the table and the array of a split.

    Raises:
      UserError: for another split, files that are missing or do not fit each other.
    """
    check_split(self.name, split, {**self.names, **self.splits})
    cut = split == 'train' or split not in self.names
    stem = self.names['train' if cut else split]
    path = files.find(f'{self.folder}/{stem}.csv', context.data_dir)
    columns, starts, counts, array, where = self._opened(path)
    rows = np.arange(len(starts))
    speakers = columns[self.speaker] if self.speaker else None
    if cut and self.splits:
      rows = divided(speakers, len(rows), split, self.splits, self.name)
    starts, counts = starts[rows], counts[rows]
    longest, names = int(counts.max()), [columns['id'][row] for row in rows]
    texts = [columns['text'][row] for row in rows]
    digest = digests.of_json([names, texts, starts.tolist(), counts.tolist()])
    content = digests.of_bytes(np.ascontiguousarray(array).tobytes())

    def read(index: np.ndarray, seeds: np.ndarray | None = None) -> Columns:
      del seeds
      found = np.zeros((len(index), longest, array.shape[1]), array.dtype)
      for place, row in zip(found, index, strict=True):
        start, count = int(starts[row]), int(counts[row])
        place[:count] = array[start : start + count]
      return {'inputs': found}

    return Recordings(
      names, texts, counts, self.rate, (longest, array.shape[1]), array.dtype.name,
      read, f'{self.name} {split}: {len(rows):,} recordings, {digest}, {content}',
      lambda row: where(rows[row]), lambda row: names[row],
      None if speakers is None else [speakers[row] for row in rows],
      origin=Origin({f'{path.resolve()}': rows}, {
        f'splits of {path.resolve()}': dict(self.splits)} if self.splits else {}))

  def _opened(self, path: pathlib.Path):
    """The columns of a table, starts and counts of frames, the array, and places."""
    names = ['id', 'start', 'frames', 'text', *([self.speaker] if self.speaker else [])]
    try:
      found = text_columns.read(path, names, Reading())
    except UserError as error:
      raise UserError(f'{path}: {error}') from None

    def where(row: int) -> str:
      return f'{path}, line {found.line(row)}'

    def numbers(name: str) -> np.ndarray:
      values = []
      for row, text in enumerate(found.columns[name]):
        if not text.strip().isdecimal():
          raise UserError(f'{where(row)}, column {name!r}: {text!r} is not a number of '
                          'frames')
        values.append(int(text))
      return np.array(values)

    starts, counts = numbers('start'), numbers('frames')
    file = files.find(str(path.with_suffix('.npy')), None)
    try:
      array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
      raise UserError(f'{file}: is not a NumPy array: {error}') from None
    if array.ndim != 2 or array.dtype.kind != 'f':
      raise UserError(f'{file}: must be floats [frames, width], got {array.dtype} '
                      f'{array.shape}')
    for row in np.flatnonzero((counts < 1) | (starts + counts > len(array))):
      raise UserError(f'{where(row)}: frames {starts[row]:,} to '
                      f'{starts[row] + counts[row]:,} are not among the {len(array):,} '
                      f'of {file.name}')
    array = array.astype(np.float32) if array.dtype == np.float64 else array
    return found.columns, starts, counts, array, where


def an4(folder: str = 'an4', *, validation: float = 0.0) -> FeatureTable:
  """Returns AN4: people spell names and numbers; 13 cepstra, 100 frames a second.

  Acero, *Acoustical and environmental robustness in automatic speech recognition*,
  1993. 948 recordings to train and 130 of other speakers to test.

  Args:
    folder: the folder.
    validation: fraction of the training recordings, of speakers of their own, that are
      the split 'validation'.

  Raises:
    UserError: for a fraction outside of [0, 1).
  """
  if not 0 <= validation < 1:
    raise UserError(f'validation: must be >= 0 and < 1, got {validation}')
  return FeatureTable(folder, splits={} if not validation else {
    'train': 1 - validation, 'validation': validation})
