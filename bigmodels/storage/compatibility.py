"""Whether parameters from elsewhere fit a model: by their names and shapes."""

import re
from collections.abc import Iterable, Mapping

from bigmodels.core.errors import listed

ONLY = '(--config.init_pattern=REGEX takes only the parameters that it matches)'


class IncompatibleWeights(Exception):
  """Why the weights at a path cannot be used."""


def check(ours: Mapping[str, tuple], theirs: Mapping[str, tuple],
          missing: Mapping[str, str], left: Iterable[str],
          others: Iterable[str] = ()) -> None:
  """Refuses parameters that do not fit.

  Args:
    ours: name -> expected shape.
    theirs: name -> shape there, of those that are there.
    missing: name -> what was looked for, of those that are not.
    left: names of what else is there, which must not be.
    others: names of what is there and not asked for.

  Raises:
    IncompatibleWeights: with a line for each that does not fit.
  """
  left = list(left)
  if not theirs:
    raise IncompatibleWeights(
      f'none of the parameters is there: expected '
      f'{listed(missing.values(), 3)}; found {listed([*left, *others])}')
  wrong = [f'  {name}: missing{f" ({what})" * (what != name)}'
           for name, what in missing.items()]
  wrong += [f'  {name}: unexpected' for name in in_short(left)]
  wrong += [f'  {name}: shape must be {ours[name]}, got {shape}'
            for name, shape in theirs.items() if shape != ours[name]]
  if wrong:
    raise IncompatibleWeights(
      'its parameters do not fit:\n' + '\n'.join([*wrong, ONLY]))


def in_short(names: Iterable[str]) -> list[str]:
  """Names that differ only in one number, that of a block, as one text."""
  alike: dict[str, list[str]] = {}
  for name in sorted(names, key=lambda name: (len(name), name)):  # 9 before 10
    alike.setdefault(re.sub(r'(?<=\.)\d+(?=\.)', '{}', name, count=1), []).append(name)
  return [same[0] if len(same) == 1 else
          f'{same[0]} to {same[-1]} ({len(same)})' for same in alike.values()]
