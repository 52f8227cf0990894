"""Infers whether the columns of a CSV file are numbers or text.

A column is numeric if all its values that are not missing are numbers in the same
format. Other columns of the file may decide what '.' and ',' mean.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bigmodels.core.errors import UserError, listed, number
from bigmodels.data.frames import Frame, is_text
from bigmodels.data.tables import csv_numbers
from bigmodels.data.tables.csv_dialects import Reading
from bigmodels.data.tables.csv_numbers import Column

_EXACT = 2**53  # float64 cannot represent the next integer
_ZEROS = re.compile('[-+]?0[0-9]+$').match


class Numbers(NamedTuple):
  """The columns of a file.

  Attributes:
    frame: column -> `[rows]`, float64 or `object` of `str`; see `frames`.
    exact: column of integers beyond 2**53 or with leading zeros, which floats cannot
      represent -> the integers as text, '' if missing.
    infinite: column -> number of values that are infinite or too large for float32, and
      become missing.
    lines: what was inferred, to print.
    formats: numeric column whose values do not all parse as float64, or in which '.'
      may group digits -> its format.
    votes: the decimal marks that some column can only be read with.
  """

  frame: Frame
  exact: Frame
  infinite: dict[str, int]
  lines: list[str]
  formats: dict[str, 'Format']
  votes: set[str]


class Format(NamedTuple):
  """How the numbers of a column are written.

  Attributes:
    mark: the decimal mark; '' if the values do not show it.
    group: separator of digit groups, or ''.
    affix: text before or after every number, or ''.
  """

  mark: str
  group: str
  affix: str


class Vote(NamedTuple):
  """The first number of a column with only one possible reading.

  Attributes:
    column: name of the column.
    row: row of the number.
    text: the number as written in the file.
  """

  column: str
  row: int
  text: str


def numbers(columns: Mapping[str, Any], reading: Reading, *, delimiter: str,
            where: Callable[[int], str]) -> Numbers:
  """Converts the numeric columns.

  Args:
    columns: name -> chunked array of strings, as read by Arrow.
    reading: settings; None values are inferred.
    delimiter: delimiter of the file. If it is a comma, '.' is the decimal mark unless
      all other columns show that ',' is.
    where: row -> its place, such as 'line 5', for messages.

  Raises:
    UserError: if a column is ambiguous; it names the line and the settings.
  """
  missing = csv_numbers.MISSING if reading.missing is None else ('', *reading.missing)
  texts = csv_numbers.Texts(columns, missing)
  result, seen = Numbers({}, {}, {}, [], {}, set()), {}
  for name in columns:
    text, result.frame[name] = texts[name], None  # in the order of the file
    if name in reading.text:
      result.frame[name] = csv_numbers.strings(csv_numbers.integers(text))
      continue
    values = csv_numbers.cast(text)
    if values is not None:
      _keep(result, name, values, text.to_pylist,
            zeros=any(map(_ZEROS, filter(None, text.slice(0, 32).to_pylist()))))
    elif csv_numbers.is_prose(text):
      result.frame[name] = csv_numbers.strings(text)
    else:
      seen[name] = csv_numbers.look(text, reading)
  plain = [name for name, column in result.frame.items()
           if column is not None and not is_text(column)]
  commas = any(tuple(column.marks) == (',',) for column in seen.values())
  if reading.decimal == ',' or (reading.decimal is None and (
    commas or delimiter != ',')):
    dotted, votes = _dotted(texts, plain, reading)
  else:
    dotted, votes = {}, {}
  for name, column in seen.items():
    if len(column.marks) == 1:
      votes.setdefault(next(iter(column.marks)), _vote(name, column))
  seen |= dotted
  result.votes.update(votes)
  marks = {}
  for name, column in seen.items():
    usual = delimiter == ',' and (not votes or (len(votes) == 2 and name in dotted))
    marks[name] = _choose(name, column, '.' if usual else '', votes, where)
    if marks[name]:
      _keep(result, name, *csv_numbers.values(column, marks[name]))
    else:
      _keep(result, name, csv_numbers.strings(texts[name]))
  numeric = {name: seen[name] for name, mark in marks.items() if mark}
  result.formats.update({name: Format(
    '' if column.neutral else marks[name], column.marks[marks[name]], column.affix)
    for name, column in numeric.items()})
  _check_numbers(result.frame, reading, where)
  result.lines.extend([
    *_missing_lines(texts.words, numeric), *_number_lines(numeric, marks, votes, where),
    *_few(_text_line(name, seen[name], where) for name in marks if name not in numeric),
    *_few(_rounded_line(*item) for item in result.exact.items())])
  return result


def _check_numbers(frame: Frame, reading: Reading, where: Callable[[int], str]) -> None:
  for name in reading.numbers:
    if name in frame and is_text(frame[name]):
      row = csv_numbers.text_row(frame[name])
      raise UserError(
        f'{where(row)}, column {name!r}: {frame[name][row][:40]!r} is not a number, as '
        'types= or weight= needs; missing= sets the words for missing values')


def _keep(result: Numbers, name: str, values: np.ndarray,
          texts: Callable[[], list[str | None]] | None = None, *,
          zeros: bool = False) -> None:
  """Adds a column; it is numeric if `texts` is given.

  Args:
    result: the column is added to it.
    name: name of the column.
    values: values of the column.
    texts: () -> the numbers in Python's format, None where missing.
    zeros: whether some integers have leading zeros.
  """
  for table in (result.exact, result.infinite):
    table.pop(name, None)
  largest = np.fmax.reduce(np.abs(values)) if texts else 0
  if zeros or largest >= _EXACT:
    written = [text or '' for text in texts()]
    if all(re.fullmatch(r'([-+]?[0-9]+(\.0*)?)?', text) for text in written):
      exact = np.array([re.sub(r'^\+|\..*', '', text) for text in written], object)
      exact.flags.writeable = False
      result.exact[name] = exact
  if largest > np.finfo(np.float32).max:
    infinite = np.abs(values) > np.finfo(np.float32).max
    result.infinite[name] = int(infinite.sum())
    values = np.where(infinite, np.nan, values)
  values.flags.writeable = False
  result.frame[name] = values


def _dotted(texts: csv_numbers.Texts, names: Iterable[str],
            reading: Reading) -> tuple[dict[str, Column], dict[str, Vote]]:
  """Columns that parse as float64, but in which '.' may group digits.

  Returns:
    Those columns, and the vote of the first column in which it cannot.
  """
  pattern = csv_numbers.pattern(',', csv_numbers.grouping(',', reading.thousands))
  found, votes = {}, {}
  for name in names:
    if reading.decimal is None:
      head = texts.first(name, 64)
      row = next((row for row, value in enumerate(head)
                  if value and not re.fullmatch(pattern, value)), None)
      if row is not None:
        votes.setdefault('.', Vote(name, row, head[row]))
        continue
    if not texts.have(name, b'.'):
      continue
    column = csv_numbers.look(texts[name], reading)
    if tuple(column.marks) == ('.',):
      votes.setdefault('.', _vote(name, column))
    else:
      found[name] = column
  return found, votes


def _vote(name: str, column: Column) -> Vote:
  """The vote of a column whose values allow only one decimal mark."""
  [mark] = column.marks
  other = '.' if mark == ',' else ','
  pattern = csv_numbers.pattern(other, csv_numbers.grouping(other, None))
  fits = csv_numbers.matches(column.body, pattern)
  row = _first_row(column, ~fits if not fits.all() else fits)
  return Vote(name, row, _at(column, row))


def _first_row(column: Column, which: np.ndarray) -> int:
  """The first row with one of some values; `which` is a mask of the values."""
  return int(np.argmax(np.append(which, False)[column.codes]))


def _at(column: Column, row: int) -> str:
  return column.values[int(column.codes[row])].as_py()


def _choose(name: str, column: Column, default: str, votes: Mapping[str, Vote],
            where: Callable[[int], str]) -> str:
  """The decimal mark of a column; '' if it is text."""
  if len(column.marks) < 2:
    return next(iter(column.marks), '')
  if column.neutral:
    return '.'
  if len(votes) == 1:
    [default] = votes
  if default:
    return default
  row = _first_row(column, csv_numbers.matches(column.body, '[.,]'))
  readings = ' or '.join(
    f'{number(csv_numbers.values(column, mark)[0][row])} (decimal={mark!r}' +
    f', thousands={group!r}' * bool(group) + ')'
    for mark, group in column.marks.items())
  raise UserError(
    f'{where(row)}, column {name!r}: {_at(column, row)!r} may be {readings}, '
    f'and {"other columns differ" if votes else "no other number decides"}; '
    'set one of them, as in --config.decimal=, --config.thousands=.')


# What was inferred, a line for each kind.


def _missing_lines(words: Mapping[str, Mapping[str, int]],
                   numeric: Mapping[str, Column]) -> list[str]:
  counts, where = {}, {}
  for name, found in (*words.items(), *((n, c.words) for n, c in numeric.items())):
    for word, count in found.items():
      counts[word] = counts.get(word, 0) + count
      where.setdefault(word, []).append(name)
  said = listed(f'{count:,} {word!r} in {listed(dict.fromkeys(where[word]))}'
               for word, count in counts.items())
  return [f'missing: {said} (missing= sets these words)'] if counts else []


def _number_lines(numeric: Mapping[str, Column], marks: Mapping[str, str],
                  votes: Mapping[str, Vote], where: Callable[[int], str]) -> list[str]:
  lines, ways, affixes = [], {}, {}
  for name, column in numeric.items():
    mark, group = marks[name], column.marks[marks[name]]
    if group or mark == ',' or (len(column.marks) > 1 and not column.neutral):
      ways.setdefault((not column.neutral and mark, group), []).append(name)
    if column.affix:
      affixes.setdefault(column.affix, []).append(name)
  if len(votes) == 2:
    both = ' and '.join(
      f'{mark!r} in {where(vote.row)}, column {vote.column!r}: {vote.text!r}'
      for mark, vote in votes.items())
    lines.append(f'numbers: the file has both decimal marks, {both} (decimal= makes '
                 'the other columns text)')
  for (mark, group), names in ways.items():
    parts = [f'{mark!r} is the decimal mark'] * bool(mark)
    parts += [f'{group!r} groups digits'] * bool(group)
    way = f'{" and ".join(parts)} in {listed(names)}'
    if mark in votes:
      column, row, text = votes[mark]
      way += f', as in {where(row)}, column {column!r}: {text!r}'
    lines.append(f'numbers: {way} (decimal= and thousands= set it)')
  lines += [f'numbers: {affix!r} is dropped in {listed(names)}'
            for affix, names in affixes.items()]
  if bracketed := [name for name, column in numeric.items() if column.bracketed]:
    lines.append('numbers: those in brackets or with a trailing minus are negative '
                 f'in {listed(bracketed)}')
  return lines


def _text_line(name: str, column: Column, where: Callable[[int], str]) -> str:
  """A line about a text column of which most values look like numbers, or ''."""
  rows = column.codes[column.codes >= 0]
  values = column.values.to_pylist()
  looks = np.array([bool(csv_numbers.LOOKS.fullmatch(value)) for value in values], bool)
  count = int(looks[rows].sum())
  if 2 * count <= len(rows):
    return ''
  texts = np.array([*values, ''], object)[column.codes]
  row = csv_numbers.text_row(texts)
  row = row if texts[row] else int(np.argmax(column.codes >= 0))
  return (f'column {name!r} is text, though {count:,} of {len(rows):,} values look '
          f'like numbers: the first that is not one is {texts[row][:40]!r}, '
          f'{where(row)} (missing= sets the words for missing values)')


def _rounded_line(name: str, texts: np.ndarray) -> str:
  present = {text for text in texts.tolist() if text}
  floats = len({float(text) for text in present})
  kind = 'with leading zeros' if any(map(_ZEROS, present)) else 'beyond 2**53'
  return (f'column {name!r} has integers {kind}: as classes they keep their names, but '
          f'{len(present):,} different integers become {floats:,} different numbers')


def _few(lines: Iterable[str]) -> list[str]:
  lines = list(filter(None, lines))
  more = [f'... and so on, for {len(lines):,} columns'] if len(lines) > 8 else []
  return lines[:8] + more
