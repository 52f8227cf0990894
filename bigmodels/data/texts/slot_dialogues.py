"""Task-oriented dialogues: what a person wants, as slots, and what the system says."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from bigmodels.core import digests, files
from bigmodels.core.errors import UserError, nearest
from bigmodels.data.origins import Origin
from bigmodels.data.sources import DataContext
from bigmodels.data.texts.dialogues import Dialogues, plain
from bigmodels.data.texts.reading import check_split, json_of

BAR = ' | '  # between the slots and what the system says


@dataclasses.dataclass(frozen=True)
class SlotDialogueFile:
  """Dialogues in the format of CamRest676: a JSON list of dialogues of turns.

  Wen et al., *A network-based end-to-end trainable task-oriented dialogue system*,
  2017. A response is all that the person wants so far, then what the system says:

    area=south, food=dontcare, pricerange=expensive | Chiquito is in the south.

  Slots are sorted; `request=address` is what the person asks for in the last turn. The
  context has only what was said. Splits are by position, so that those of published
  results are the first 3/5, the next and the last fifth.

  Attributes:
    path: the file.
    splits: name -> fraction, in the order of the file.
  """

  path: str
  splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: {
    'train': 0.6, 'validation': 0.2, 'test': 0.2})

  def __post_init__(self):
    object.__setattr__(self, 'path', files.absolute(self.path, 'path'))

  @property
  def name(self) -> str:
    return pathlib.Path(self.path).name

  def read(self, split: str, context: DataContext) -> Dialogues:
    """Reads the turns of the dialogues of a split.

    Raises:
      UserError: for another split, a missing file, or a dialogue that is not in this
        format, with its place.
    """
    check_split(self.name, split, self.splits)
    path = files.find(self.path, context.data_dir)
    whole, data = json_of(path)
    if not isinstance(whole, list) or not whole:
      raise UserError(f'{path}: must be a list of dialogues')
    names = [*self.splits]
    edges = np.round(np.cumsum([0.0, *self.splits.values()]) * len(whole)).astype(int)
    at = names.index(split)
    contexts, responses = [], []
    for number in range(edges[at], edges[at + 1]):
      said: list[str] = []
      for turn, each in enumerate(_get(
        whole[number], 'dial', list, f'{path}: dialogue {number}')):
        place = f'{path}: dialogue {number}, turn {turn}'
        user, system = (_get(each, who, dict, place) for who in ('usr', 'sys'))
        said.append(plain(_get(user, 'transcript', str, place), f'{place}, transcript'))
        answer = plain(_get(system, 'sent', str, place), f'{place}, sent')
        contexts.append(tuple(said))
        responses.append((f'{_slots(user, place)}{BAR}{answer}',))
        said.append(answer)
    if not contexts:
      raise UserError(f'{path}: its {len(whole):,} dialogues leave none for {split!r}')
    rows = range(int(edges[at]), int(edges[at + 1]))
    return Dialogues(contexts, responses, origin=Origin({
      str(path.resolve()): rows, f'the text {digests.of_bytes(data)}': rows}))


def camrest(folder: str = 'camrest') -> SlotDialogueFile:
  """Returns CamRest676: 676 dialogues about restaurants in Cambridge."""
  return SlotDialogueFile(f'{folder}/CamRest676.json')


def parsed(response: str) -> tuple[frozenset[str], str]:
  """Returns the slots of a response, such as {'area=south'}, and what is said."""
  slots, bar, said = response.partition(BAR.strip())
  if not bar:
    return frozenset(), response.strip()
  return frozenset(filter(None, map(str.strip, slots.split(',')))), said.strip()


def _slots(user: Mapping[str, Any], place: str) -> str:
  found = set()
  for act in _get(user, 'slu', list, place):
    kind = _get(act, 'act', str, place)
    for pair in _get(act, 'slots', list, place):
      if not isinstance(pair, list) or len(pair) != 2 or not all(
        isinstance(each, str) for each in pair):
        raise UserError(f'{place}: a slot must be a name and a value, got '
                        f'{json.dumps(pair)[:40]}')
      name, value = pair
      # "slot" is a slot that is asked for, or wanted without a value.
      name, value = ('request', value if name == 'slot' else name) if (
        kind == 'request' or name == 'slot') else (name, value)
      found.add(f'{name}={value}'.replace(',', ' ').replace('|', ' '))
  return ', '.join(sorted(found))


def _get(record: Any, key: str, kind: type, place: str) -> Any:
  if not isinstance(record, dict) or key not in record:
    known = nearest(key, record) if isinstance(record, dict) else ''
    raise UserError(f'{place} has no {key!r}{known}')
  if not isinstance(record[key], kind):
    raise UserError(f'{place}, {key!r}: must be a {kind.__name__}, got '
                    f'{json.dumps(record[key])[:40]}')
  return record[key]
