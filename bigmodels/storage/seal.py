"""The seal of a run: a short text for each part of it that checkpoints depend on.

A part is a line of `config.txt`, an entry of `data.json` or a file of `source/`.
`data.json` holds the seal of the run, and so does every checkpoint: any later change is
found and named.
"""

from collections.abc import Mapping
from typing import Any

from bigmodels.core import digests

Seal = dict[str, str]

_SHOWN = 60  # characters of a value that stay as they are


def of(values: Mapping[str, str], kept: Mapping[str, Any],
       source: Mapping[str, bytes]) -> Seal:
  """The seal of a run.

  Args:
    values: path -> text, of its experiment. The mesh is left out: a run may be resumed
      on another one.
    kept: name -> JSON, which its data keeps; see `StoredData`.
    source: name -> content, of the files with the code of its experiment.
  """
  lines = {f'config.txt: {path}': _short(text) for path, text in values.items()
           if path.partition('.')[0] != 'mesh'}
  entries = {f'data.json: {name}': f'sha256 {digests.of_json(value)}'
             for name, value in kept.items()}
  files = {f'source/{name}': f'sha256 {digests.of_bytes(data)}'
           for name, data in source.items()}
  return lines | entries | files


def is_seal(found: Any) -> bool:
  """Whether some JSON has the form of a seal.

  Args:
    found: the JSON.
  """
  return isinstance(found, dict) and all(
    isinstance(text, str) for text in found.values())


def _short(text: str) -> str:
  if len(text) <= _SHOWN:
    return text
  return f'{text[:_SHOWN]}... (sha256 {digests.of_json(text)})'


def differences(before: Seal, now: Seal) -> str:
  """The parts that differ between two seals, in one line.

  Args:
    before, now: the seals.
  """
  parts = [part for part in dict.fromkeys([*before, *now])
           if before.get(part) != now.get(part)]
  texts = [_difference(part, before.get(part), now.get(part)) for part in parts[:5]]
  more = f' and {len(parts) - 5} more' if len(parts) > 5 else ''
  return '; '.join(texts) + more


def _difference(part: str, before: str | None, now: str | None) -> str:
  if now is None:
    return f'{part} is gone'
  if before is None:
    return f'{part} is new'
  if before.startswith('sha256 '):
    return f'{part} has changed'
  return f'{part} was {before}, now {now}'
