"""Columns of a CSV file as numbers: decimal marks, thousands, signs, missing values.

A column is numbers if every value in it that is not missing is one, all written in the
same way. What '.' and ',' mean may only show in another column of the file.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bigmodels.data.cleaning import Frame, listed, number
from bigmodels.data.csv_dialects import DECIMALS, THOUSANDS, Reading
from bigmodels.errors import UserError

# Missing in any column: what pandas takes for it, and what programs write for it.
_MISSING = (
  '', '#N/A', '#N/A N/A', '#NA', '-1.#IND', '-1.#QNAN', '-NaN', '-nan', '1.#IND',
  '1.#QNAN', '<NA>', 'N/A', 'NA', 'NULL', 'NaN', 'None', 'n/a', 'nan', 'null',
  '?', r'\N', 'NaT', '#DIV/0!', '#NAME?', '#NULL!', '#NUM!', '#REF!', '#VALUE!')
# Missing in any case of letters, where all the other values are numbers.
_AMONG_NUMBERS = (
  *map(str.lower, _MISSING), '-', '--', '---', '\u2013', '\u2014', '.', '..', '...',
  '*', '**', '??', 'n.a.', 'n.a', 'n. a.', 'nil', 'nan.', '(null)', '<null>', '[null]',
  '(none)', '<none>', '<nan>', 'missing', '<missing>', 'unknown', 'undefined',
  'unavailable', 'not available', 'void', 'empty', 'blank', '1.#inf', '-1.#inf',
  '1.#snan')

_BLANKS = ' \u00a0\u2009\u202f'
_QUOTES = "'\u2019"
_MINUS = '\\-\u2212\u2013'  # in a class of a pattern
_SEPARATORS = {'.': r'\.', ',': ',', ' ': f'[{_BLANKS}]', "'": f'[{_QUOTES}]', '_': '_'}
_CURRENCY = (
  '(?:[A-Z]{0,3}[$\u00a2-\u00a5\u0e3f\u17db\u20a0-\u20cf\ufdfc\uffe0-\uffe6]|USD|EUR|'
  'GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|RUB|TRY|KRW|MXN|ZAR)')
_WORDS = r'(?i:inf|infinity|nan)'
_PARTS = (
  rf'^(?P<open>\()?(?P<sign>[+{_MINUS}])?[{_BLANKS}]*'
  rf'(?:(?P<before>{_CURRENCY})[{_BLANKS}]*(?P<inner>[+{_MINUS}])?[{_BLANKS}]*)?'
  rf"(?P<body>[.,]?[0-9](?:[0-9.,_{_QUOTES}{_BLANKS}]*[0-9.,])?(?:[eE][+{_MINUS}]?[0-9]+)?"
  rf'|{_WORDS})[{_BLANKS}]*'
  rf'(?P<after>{_CURRENCY}|[%‰])?[{_BLANKS}]*(?P<behind>[{_MINUS}])?(?P<close>\))?$')
# What a reader would call a number, with any digits and a unit behind it; for Python.
_LOOKS = re.compile(
  rf'[^\w\s]{{0,3}}\s*(?:{_CURRENCY})?\s*[+{_MINUS}]?'
  rf'(?:(?:\d{{1,3}}(?:[.,_{_QUOTES}{_BLANKS}]\d{{3}})+|'
  r'\d{1,2}(?:,\d{2})+,\d{3}|\d+)(?:[.,]\d*)?'
  rf'(?:[eE][-+]?\d+)?\D{{0,12}}|{_WORDS})')
_EXACT = 2**53  # float64 lacks the next integer


class Numbers(NamedTuple):
  """The columns of a file.

  Attributes:
    frame: column -> `[rows]`, float64 or `object` of `str`; see `cleaning`.
    exact: column of integers that float64 cannot hold -> them as text, '' if missing.
    infinite: column -> how many values were infinite, or too large for float32, and
      are missing.
    lines: what was taken for what, to print.
  """

  frame: Frame
  exact: Frame
  infinite: dict[str, int]
  lines: list[str]


class _Seen(NamedTuple):
  """A column whose values are not all written as float64 is.

  Attributes:
    codes: `[rows]` -> index of the value, -1 where it is missing.
    values: the different texts, those for missing left out.
    body: the numbers in them, without sign, currency and percent sign.
    negative: bool, of the values.
    affix: what all values have before or behind the number, or ''.
    bracketed: whether some are negative by brackets or a minus behind them.
    marks: decimal mark -> what groups digits, for all ways that every value can be
      read; none if they are no numbers.
    neutral: whether the decimal mark makes no difference.
    words: those that are missing only because the other values are numbers -> count.
  """

  codes: np.ndarray
  values: Any
  body: Any = None
  negative: np.ndarray | None = None
  affix: str = ''
  bracketed: bool = False
  marks: Mapping[str, str] = {}
  neutral: bool = False
  words: Mapping[str, int] = {}


class _Vote(NamedTuple):
  """The first number of a column that can be read in one way only."""

  column: str
  row: int
  text: str


def numbers(columns: Mapping[str, Any], reading: Reading, *, delimiter: str,
            line: Callable[[int], int]) -> Numbers:
  """Makes numbers of the columns that are numbers.

  Args:
    columns: name -> chunked array of strings, as Arrow reads it.
    reading: what is not to be found in the file.
    delimiter: of the file. Where it is a comma, '.' is the decimal mark unless all
      other columns say that ',' is.
    line: row -> line of the file, for messages.

  Raises:
    UserError: if a column may be read in two ways, with the line and the settings.
  """
  import pyarrow as pa

  words = pa.array(_MISSING if reading.missing is None else ('', *reading.missing))
  result, seen, plain = Numbers({}, {}, {}, []), {}, {}
  exotic = reading.decimal == ',' or (reading.decimal is None and delimiter != ',')
  missing = {}
  for name, column in columns.items():
    result.frame[name] = None  # the order is that of the file
    text = _marked(column, words)
    if text.null_count:
      missing[name] = _counts(column, words)
    try:
      if not _may_be_number(text[0].as_py()):  # a cast that fails takes long
        raise pa.ArrowInvalid
      values = text.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
      if _is_prose(text):
        result.frame[name] = _strings(text)
      else:
        seen[name] = _look(text, reading)
      continue
    _keep(result, name, values, text.to_pylist)
    if exotic:
      plain[name] = text
  if not exotic and any(tuple(s.marks) == (',',) for s in seen.values()):
    plain = {n: _marked(c, words) for n, c in columns.items() if n not in seen}
  dotted, vote = _dotted(plain, reading)
  votes = {'.': vote} if vote else {}
  for name, column in seen.items():
    if len(column.marks) == 1:
      votes.setdefault(next(iter(column.marks)), _vote(name, column))
  seen |= dotted
  marks = {}
  for name, column in seen.items():
    point = delimiter == ',' and (
      not votes or (len(votes) == 2 and name in dotted))
    mark = marks[name] = _choose(name, column, '.' if point else '', votes, line)
    if mark:
      _keep(result, name, *_values(column, mark))
      missing[name] = missing.get(name, {}) | column.words
    else:
      result.frame[name] = _strings(_marked(columns[name], words))
      for table in (result.exact, result.infinite):
        table.pop(name, None)
  result.lines.extend(_lines(seen, marks, votes, missing, result.exact, line))
  return result


def text_row(column: np.ndarray) -> int:
  """The first row of a text column that is not a number and not missing."""
  patterns = [re.compile(_number(mark, _grouping(mark, None))) for mark in DECIMALS]
  return max(next((row for row, text in enumerate(column)
                   if text and not pattern.fullmatch(text)), 0) for pattern in patterns)


# --- one column -----------------------------------------------------------------


def _marked(column, words):
  """The texts without blanks around them, null where they are one of the words."""
  import pyarrow as pa
  from pyarrow import compute

  text = compute.utf8_trim_whitespace(column)
  gone = compute.is_in(text, value_set=words)
  return compute.if_else(gone, pa.scalar(None, pa.string()), text)


def _counts(column, words) -> dict[str, int]:
  """How often each of the words is in a column, but for the empty one."""
  from pyarrow import compute

  text = compute.utf8_trim_whitespace(column)
  found = compute.value_counts(text.filter(compute.is_in(text, value_set=words)))
  return {w: n for w, n in zip(*(found.field(i).to_pylist() for i in (0, 1)),
                               strict=True) if w}


def _may_be_number(text: str | None) -> bool:
  return not text or not text.isalpha() or text.lower() in ('nan', 'inf', 'infinity')


def _is_prose(text) -> bool:
  """Whether some values of a column are no numbers, and few look like any."""
  present = text.drop_null()
  rows = np.linspace(0, len(present) - 1, min(len(present), 256)).astype(int)
  some = present.take(rows).to_pylist()
  looks = sum(bool(_LOOKS.fullmatch(t)) for t in some)
  return 4 * looks < len(some) and any(
    not re.fullmatch(_PARTS, t) and t.lower() not in _AMONG_NUMBERS for t in some)


def _look(text, reading: Reading) -> _Seen:
  """What the different values of a column are; see `_marked`."""
  import pyarrow as pa
  from pyarrow import compute

  encoded = pa.chunked_array(text).combine_chunks().dictionary_encode()
  codes, values = _array(encoded.indices.fill_null(-1)), encoded.dictionary
  everything = _Seen(codes, values)
  words = {}
  if reading.missing is None:
    known = pa.array(_AMONG_NUMBERS)
    gone = _array(compute.is_in(compute.utf8_lower(values), value_set=known))
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    words = {values[i].as_py(): int(counts[i]) for i in np.flatnonzero(gone).tolist()}
    codes = np.append(np.where(gone, -1, np.cumsum(~gone) - 1), -1)[codes]
    values = values.filter(pa.array(~gone))
  if not len(values) or not _matches(values, _PARTS).all():
    return everything
  parts = compute.extract_regex(values, _PARTS)
  part = {field.name: _array(parts.field(field.name)) for field in parts.type}
  signs = np.stack([part[n] for n in ('sign', 'inner', 'behind', 'open')])
  affixes = {*zip(part['before'], part['after'], strict=True)}
  if len(affixes) > 1 or ((signs != '').sum(0) > 1).any() or (
    (part['open'] == '') != (part['close'] == '')).any():
    return everything
  marks = _marks(body := parts.field('body'), reading)
  if not marks:
    return everything
  return _Seen(
    codes, values, body, np.isin(signs, ('', '+'), invert=True).any(0),
    ''.join(affixes.pop()), bool((signs[2:] != '').any()), marks,
    not _matches(body, '[.,]').any(), words)


def _marks(body, reading: Reading) -> dict[str, str]:
  """Decimal mark -> what groups digits, for all ways to read all of some numbers."""
  marks = {}
  for mark in DECIMALS if reading.decimal is None else (reading.decimal,):
    for group in _grouping(mark, reading.thousands):
      if mark not in marks and _matches(body, _number(mark, (group,))).all():
        marks[mark] = group
  return marks


def _matches(texts, pattern: str) -> np.ndarray:
  """Which texts a pattern is found in, bool."""
  from pyarrow import compute

  return _array(compute.match_substring_regex(texts, pattern))


def _array(values) -> np.ndarray:
  import pyarrow as pa

  return values.to_numpy(**{} if isinstance(values, pa.ChunkedArray) else {
    'zero_copy_only': False})


def _grouping(mark: str, thousands: str | None) -> tuple[str, ...]:
  """What may group digits where `mark` is the decimal mark; nothing is the first."""
  if thousands is not None:
    return '', *([thousands] if thousands not in ('', mark) else [])
  return tuple(group for group in THOUSANDS if group != mark)


def _number(mark: str, groups: tuple[str, ...]) -> str:
  """A pattern for RE2 and for Python."""
  point = _SEPARATORS[mark]
  ways = [rf'(?:[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+{_MINUS}]?[0-9]+)?',
          _WORDS]
  for group in filter(None, groups):
    between = _SEPARATORS[group]
    ways.append(rf'[1-9][0-9]{{0,2}}(?:{between}[0-9]{{3}})+(?:{point}[0-9]*)?')
    if group == ',':  # as in India
      ways.append(rf'[1-9][0-9]?(?:,[0-9]{{2}})+,[0-9]{{3}}(?:{point}[0-9]*)?')
  return rf'^[+{_MINUS}]?(?:{"|".join(ways)})$'


def _values(column: _Seen, mark: str) -> tuple[np.ndarray, Callable[[], list[str]]]:
  """The numbers `[rows]`, and what gives them as Python writes them."""
  import pyarrow as pa
  from pyarrow import compute

  body = column.body
  if column.marks[mark]:
    body = compute.replace_substring_regex(body, _SEPARATORS[column.marks[mark]], '')
  body = compute.replace_substring(body, ',', '.')
  body = compute.replace_substring_regex(body, f'[{_MINUS}]', '-')
  values = _array(body.cast(pa.float64()))
  values = np.where(column.negative, -values, values)

  def texts():
    signs = np.where(column.negative, '-', '')
    written = [s + t for s, t in zip(signs, body.to_pylist(), strict=True)]
    return [None if code < 0 else written[code] for code in column.codes]

  return np.append(values, np.nan)[column.codes], texts


def _keep(result: Numbers, name: str, values: np.ndarray,
          texts: Callable[[], list[str | None]]) -> None:
  """Adds a column of numbers."""
  largest = np.fmax.reduce(np.abs(values))
  for table in (result.exact, result.infinite):
    table.pop(name, None)
  if largest >= _EXACT:
    written = texts()
    if all(t is None or re.fullmatch('[-+]?[0-9]+', t) for t in written):
      result.exact[name] = np.array(
        ['' if t is None else str(int(t)) for t in written], object)
      result.exact[name].flags.writeable = False
  if largest > np.finfo(np.float32).max:
    infinite = np.abs(values) > np.finfo(np.float32).max
    result.infinite[name] = int(infinite.sum())
    values = np.where(infinite, np.nan, values)
  values.flags.writeable = False
  result.frame[name] = values


def _strings(text) -> np.ndarray:
  array = text.fill_null('').to_numpy().astype(object)
  array.flags.writeable = False
  return array


# --- all columns ----------------------------------------------------------------


def _dotted(texts: Mapping[str, Any],
            reading: Reading) -> tuple[dict[str, _Seen], _Vote | None]:
  """Columns that float64 can be read from, but where '.' may group digits.

  Returns:
    them, and the first number of any other column in which it cannot.
  """
  from pyarrow import compute

  pattern = _number(',', _grouping(',', reading.thousands))
  found, vote = {}, None
  for name, text in texts.items():
    if reading.decimal is None:
      head = text.slice(0, 64).to_pylist()
      row = next((row for row, value in enumerate(head)
                  if value and not re.fullmatch(pattern, value)), None)
      if row is not None:
        vote = vote or _Vote(name, row, head[row])
        continue
    if not compute.any(compute.match_substring(text, '.')).as_py():
      continue
    column = _look(text, reading)
    if tuple(column.marks) == ('.',):
      vote = vote or _vote(name, column)
    else:
      found[name] = column
  return found, vote


def _vote(name: str, column: _Seen) -> _Vote:
  """Of a column whose values can be read with one decimal mark only."""
  [mark] = column.marks
  other = '.' if mark == ',' else ','
  pattern = _number(other, _grouping(other, None))
  fits = _matches(column.body, pattern)
  row = _first_row(column, ~fits if not fits.all() else fits)
  return _Vote(name, row, _at(column, row))


def _first_row(column: _Seen, which: np.ndarray) -> int:
  """The first row with one of some values; `which` is bool, of the values."""
  return int(np.argmax(np.append(which, False)[column.codes]))


def _at(column: _Seen, row: int) -> str:
  return column.values[int(column.codes[row])].as_py()


def _choose(name: str, column: _Seen, default: str, votes: Mapping[str, _Vote],
            line: Callable[[int], int]) -> str:
  """The decimal mark of a column, '' if it is text."""
  if len(column.marks) < 2:
    return next(iter(column.marks), '')
  if column.neutral:
    return '.'
  if len(votes) == 1:
    [default] = votes
  if default:
    return default
  row = _first_row(column, _matches(column.body, '[.,]'))
  readings = ' or '.join(
    f'{number(_values(column, mark)[0][row])} (decimal={mark!r}' +
    f', thousands={group!r}' * bool(group) + ')'
    for mark, group in column.marks.items())
  raise UserError(
    f'line {line(row)}, column {name!r}: {_at(column, row)!r} may be {readings}, '
    'and ' + ('other columns differ in it' if votes else
                           'no other number in the file says which') +
    '; set one of them, as in --config.decimal=, --config.thousands=.')


# --- what was taken for what ----------------------------------------------------


def _lines(seen: Mapping[str, _Seen], marks: Mapping[str, str],
           votes: Mapping[str, _Vote], missing: Mapping[str, Mapping[str, int]],
           exact: Frame, line: Callable[[int], int]) -> list[str]:
  """One for each kind of guess."""
  lines = []
  counts, where = {}, {}
  for name, words in missing.items():
    for word, count in words.items():
      counts[word] = counts.get(word, 0) + count
      where.setdefault(word, []).append(name)
  if counts:
    lines.append('missing: ' + '; '.join(
      f'{count:,} {word!r} in {listed(where[word])}' for word, count in counts.items())
      + ' (missing= says which words are)')
  ways = {}
  for name, mark in marks.items():
    group = seen[name].marks[mark] if mark else ''
    if mark and (group or mark == ',' or (
      len(seen[name].marks) > 1 and not seen[name].neutral)):
      ways.setdefault((mark, group), []).append(name)
  for (mark, group), names in ways.items():
    if all(seen[name].neutral for name in names):
      says = f'{group!r} groups digits in {listed(names)}'
    else:
      says = f'{mark!r} is the decimal mark' + (
        f' and {group!r} groups digits' if group else '') + f' in {listed(names)}'
    if mark in votes:
      vote = votes[mark]
      says += f', as in line {line(vote.row)}, column {vote.column!r}: {vote.text!r}'
    lines.append(f'numbers: {says} (decimal= and thousands= set it)')
  affixes = {}
  for name, mark in marks.items():
    if mark and seen[name].affix:
      affixes.setdefault(seen[name].affix, []).append(name)
  lines += [f'numbers: {affix!r} is left out in {listed(names)}'
            for affix, names in affixes.items()]
  if bracketed := [n for n, m in marks.items() if m and seen[n].bracketed]:
    lines.append('numbers: those in brackets or with a minus behind them are negative '
                 f'in {listed(bracketed)}')
  for name, mark in marks.items():
    if not mark and (told := _not_numbers(seen[name])):
      count, rows, row, text = told
      lines.append(
        f'column {name!r} is text, though {count:,} of {rows:,} values look like '
        f'numbers: the first that is none is {text[:40]!r}, line {line(row)} (missing= '
        'names words that are missing values)')
  for name, texts in exact.items():
    lines.append(_rounded(name, texts))
  return lines


def _not_numbers(column: _Seen) -> tuple[int, int, int, str] | None:
  """Of a text column that mostly looks like numbers.

  Returns:
    how many values do, of how many, the first row that is no number, and its text.
  """
  rows = column.codes[column.codes >= 0]
  values = column.values.to_pylist()
  looks = np.array([bool(_LOOKS.fullmatch(value)) for value in values], bool)
  count = int(looks[rows].sum())
  if 2 * count <= len(rows):
    return None
  texts = np.array([*values, ''], object)[column.codes]
  row = text_row(texts)
  row = row if texts[row] else int(np.argmax(column.codes >= 0))
  return count, len(rows), row, texts[row]


def _rounded(name: str, texts: np.ndarray) -> str:
  present = {text for text in texts.tolist() if text}
  floats = len({float(text) for text in present})
  return (f'column {name!r} has integers beyond 2**53: classes of them keep their '
          f'names, but {len(present):,} different ones are {floats:,} as numbers')
