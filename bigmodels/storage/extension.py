"""The record of a run that goes on after its end, in `data.json`.

An extension changes lines of `config.txt`, which the seal of the run protects. The
entry `extended` of `data.json` has the lines as they were, so that checkpoints from
before the extension still belong to the run.
"""

from collections.abc import Mapping
from typing import Any

from bigmodels.core import digests
from bigmodels.storage import seal as seals
from bigmodels.storage.seal import Seal

NAME = 'extended'
_PART = f'data.json: {NAME}'


def entry(step: int, before: Seal, now: Seal) -> dict[str, Any]:
  """What is recorded of an extension.

  Args:
    step: at which the run had ended.
    before, now: the lines of `config.txt` in the seals, before and after.
  """
  lines = {part: text for part, text in before.items()
           if part.startswith('config.txt: ') and now.get(part) != text}
  return {'step': step, 'before': lines}


def is_record(found: Any) -> bool:
  """Whether some JSON has the form of the record of extensions.

  Args:
    found: the JSON.
  """
  return isinstance(found, list) and all(
    isinstance(each, dict) and each.keys() == {'step', 'before'}
    and isinstance(each['step'], int) and seals.is_seal(each['before'])
    for each in found)


def steps(kept: Mapping[str, Any]) -> list[int]:
  """The steps at which a run had ended before it was extended."""
  return [each['step'] for each in kept.get(NAME, ())]


def earlier(seal: Seal, kept: Mapping[str, Any]) -> list[Seal]:
  """The seals of a run before each of its extensions, the latest first.

  Args:
    seal: the present one.
    kept: name -> JSON in `data.json`.
  """
  found, entries = [], list(kept.get(NAME, ()))
  while entries:
    seal = _undone(seal, entries)
    found.append(seal)
    entries.pop()
  return found


def _undone(seal: Seal, entries: list[dict[str, Any]]) -> Seal:
  """The seal before the last of these extensions."""
  seal = {**seal, **entries[-1]['before']}
  del seal[_PART]
  if len(entries) > 1:
    seal[_PART] = f'sha256 {digests.of_json(entries[:-1])}'
  return seal
