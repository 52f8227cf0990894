"""Dialogues: contexts of several turns, and what was said next."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core import digests, files
from bigmodels.core.errors import UserError, nearest
from bigmodels.data.origins import Origin
from bigmodels.data.sources import FRACTIONS, DataContext, held_out
from bigmodels.data.tables import compressed, typed_files
from bigmodels.data.texts.reading import check_split


class Dialogues(NamedTuple):
  """Contexts and their right responses.

  Attributes:
    contexts: the turns before each response, the oldest first; at least one.
    responses: the right responses to each context; at least one.
    note: a note to print, or ''.
    shapes_only: as in `Documents`.
    origin: source rows of the contexts: their numbers in a file.
  """

  contexts: list[tuple[str, ...]]
  responses: list[tuple[str, ...]]
  note: str = ''
  shapes_only: bool = False
  origin: Origin | None = None

  @property
  def texts(self) -> list[str]:
    """Every turn of the contexts, and every response, once."""
    return [*dict.fromkeys(text for texts in (*self.contexts, *self.responses)
                           for text in texts)]

  def take(self, rows: np.ndarray) -> 'Dialogues':
    """Returns the contexts of some rows, int `[k]`."""
    return self._replace(
      contexts=[self.contexts[row] for row in rows.tolist()],
      responses=[self.responses[row] for row in rows.tolist()],
      origin=self.origin and self.origin.take(rows, len(self.contexts)))


@dataclasses.dataclass(frozen=True)
class DialogueFile:
  """Contexts and responses in JSON lines, such as

    {"context": ["Are you tired?"], "responses": ["Not really.", "Yes, very."]}

  The splits are random; contexts that begin with the same turn are in one split. White
  space in a turn becomes a single space.

  Attributes:
    path: the file, perhaps compressed.
    context: key of the context, a list of turns.
    responses: key of the responses, a list or one text.
    splits: name -> fraction.
  """

  path: str
  context: str = 'context'
  responses: str = 'responses'
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: FRACTIONS)

  def __post_init__(self):
    object.__setattr__(self, 'path', files.absolute(self.path, 'path'))

  @property
  def name(self) -> str:
    return pathlib.Path(self.path).name

  def read(self, split: str, context: DataContext) -> Dialogues:
    """Reads the contexts of a split, in the order of the file.

    Raises:
      UserError: for another split, a missing file, or a line that is not as above.
    """
    check_split(self.name, split, self.splits)
    path = files.find(self.path, context.data_dir)
    files.require_file(path)
    try:
      data = compressed.read(path)
      records, lines = typed_files.objects(data, 1)
    except UserError as error:
      raise UserError(f'{path}: {error}') from None
    except OSError as error:
      raise UserError(f'{path}: cannot be read: {error.strerror}') from None
    if not records:
      raise UserError(f'{path}: there is no dialogue in it')
    found = [tuple(_turns(record, key, f'{path}, line {line}') for key in (
      self.context, self.responses)) for record, line in zip(
        records, lines, strict=True)]
    contexts, responses = map(list, zip(*found, strict=True))
    numbers = range(len(contexts))
    whole = Dialogues(contexts, responses, origin=Origin({
      str(path.resolve()): numbers, f'the text {digests.of_bytes(data)}': numbers}))
    return split_of(whole, split, self.splits, str(path))


def split_of(whole: Dialogues, split: str, splits: Mapping[str, float], path: str
             ) -> Dialogues:
  """Returns a random split, where contexts that begin alike are in one split.

  Args:
    whole: the dialogues of a file.
    split: name of the split.
    splits: name -> fraction.
    path: name of the file, for errors.

  Raises:
    UserError: if there is nothing in the split.
  """
  groups = np.unique([turns[0] for turns in whole.contexts], return_inverse=True)[1]
  rows = held_out(len(groups), split, splits, groups=groups)
  if not len(rows):
    raise UserError(f'{path}: its {len(groups):,} contexts leave none for {split!r}')
  found = whole.take(rows)
  return found._replace(origin=found.origin._replace(settings={
    f'splits of {name}': dict(splits) for name in found.origin.rows}))


def dailydialog(folder: str = 'dailydialog_pp') -> DialogueFile:
  """Returns contexts of DailyDialog++, each with five different right responses.

  Sai et al., *Improving dialog evaluation with a multi-reference adversarial dataset
  and large scale pretraining*, 2020.
  """
  return DialogueFile(f'{folder}/positives.jsonl', responses='positive_responses')


def plain(text: Any, place: str) -> str:
  """Returns a turn on one line.

  Args:
    text: the turn.
    place: where it is, for errors.

  Raises:
    UserError: if it is not a text, or empty.
  """
  if not isinstance(text, str):
    raise UserError(f'{place}: must be a text, got {json.dumps(text)[:40]}')
  if not text.split():
    raise UserError(f'{place}: is empty')
  return ' '.join(text.split())


def _turns(record: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
  if key not in record:
    raise UserError(f'{place} has no {key!r}{nearest(key, record)}')
  value = record[key]
  value = [value] if isinstance(value, str) else value
  if not isinstance(value, list) or not value:
    raise UserError(f'{place}, {key!r}: must be texts in a list, got '
                    f'{json.dumps(value)[:40]}')
  return tuple(plain(text, f'{place}, {key!r}, turn {i}')
               for i, text in enumerate(value))
