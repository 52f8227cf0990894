"""One column of a CSV file: which texts are numbers, and which are missing values."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bigmodels.data.tables.csv_dialects import DECIMALS, THOUSANDS, Reading

# Missing in any column: the words of pandas, and those that programs write.
MISSING = (
  '', '#N/A', '#N/A N/A', '#NA', '-1.#IND', '-1.#QNAN', '-NaN', '-nan', '1.#IND',
  '1.#QNAN', '<NA>', 'N/A', 'NA', 'NULL', 'NaN', 'None', 'n/a', 'nan', 'null',
  '?', r'\N', 'NaT', '#DIV/0!', '#NAME?', '#NULL!', '#NUM!', '#REF!', '#VALUE!')
# Missing in upper or lower case, where all other values are numbers.
AMONG_NUMBERS = (
  *map(str.lower, MISSING), '-', '--', '---', '\u2013', '\u2014', '.', '..', '...',
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
# Anything that looks like a number, with any digits and a unit after it; for Python.
LOOKS = re.compile(
  rf'[^\w\s]{{0,3}}\s*(?:{_CURRENCY})?\s*[+{_MINUS}]?'
  rf'(?:(?:\d{{1,3}}(?:[.,_{_QUOTES}{_BLANKS}]\d{{3}})+|'
  r'\d{1,2}(?:,\d{2})+,\d{3}|\d+)(?:[.,]\d*)?'
  rf'(?:[eE][-+]?\d+)?\D{{0,12}}|{_WORDS})')


class Column(NamedTuple):
  """A column whose values do not all parse as float64.

  Attributes:
    codes: `[rows]`, the index of the value, -1 if it is missing.
    values: the distinct texts, without those for missing values.
    body: the numbers in them, without sign, currency and percent sign.
    negative: whether the values are negative, bool.
    affix: the text before or after the number that all values share, or ''.
    bracketed: whether some are negative by brackets or a trailing minus.
    marks: decimal mark -> separator of digit groups, for every reading that all values
      allow; empty if they are not numbers.
    neutral: whether the decimal mark makes no difference.
    words: word that is missing only because the other values are numbers -> count.
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


class Texts:
  """The columns without blanks around values, null for missing values.

  Attributes:
    words: column that was read -> word for missing -> count; without ''.
  """

  def __init__(self, columns: Mapping[str, Any], missing: Iterable[str]):
    import pyarrow as pa

    self._columns, self._missing = columns, pa.array(missing)
    self.words: dict[str, dict[str, int]] = {}

  def __getitem__(self, name: str):
    text, gone, result = self._trimmed(self._columns[name])
    if result.null_count and name not in self.words:
      counts = text.filter(gone).value_counts().to_pylist()
      self.words[name] = {c['values']: c['counts'] for c in counts if c['values']}
    return result

  def first(self, name: str, rows: int) -> list[str | None]:
    """Returns the first rows of a column, `[rows]`."""
    return self._trimmed(self._columns[name].slice(0, rows))[2].to_pylist()

  def have(self, name: str, character: bytes) -> bool:
    """Returns whether a column may contain a character."""
    return any(character in chunk.buffers()[2].to_pybytes()
               for chunk in self._columns[name].chunks)

  def _trimmed(self, column):
    import pyarrow as pa
    from pyarrow import compute

    text = compute.utf8_trim_whitespace(column)
    gone = compute.is_in(text, value_set=self._missing)
    return text, gone, compute.if_else(gone, pa.scalar(None, pa.string()), text)


def cast(text) -> np.ndarray | None:
  """Returns the numbers `[rows]` of a column that parses as float64, else None."""
  import pyarrow as pa

  first = text[0].as_py()
  if first and first.isalpha() and first.lower() not in ('nan', 'inf', 'infinity'):
    return None  # a cast that fails is slow
  try:
    return text.cast(pa.float64()).to_numpy()
  except pa.ArrowInvalid:
    return None


def is_prose(text) -> bool:
  """Returns whether a column has values that are not numbers, and few that are."""
  present = text.drop_null()
  rows = np.linspace(0, len(present) - 1, min(len(present), 256)).astype(int)
  some = present.take(rows).to_pylist()
  looks = sum(bool(LOOKS.fullmatch(t)) for t in some)
  return 4 * looks < len(some) and any(
    not re.fullmatch(_PARTS, t) and t.lower() not in AMONG_NUMBERS for t in some)


def look(text, reading: Reading) -> Column:
  """Analyzes the distinct values of a column.

  Args:
    text: a column of `Texts`.
    reading: settings; None values are inferred.
  """
  import pyarrow as pa
  from pyarrow import compute

  encoded = text.combine_chunks().dictionary_encode()
  codes, values = _array(encoded.indices.fill_null(-1)), encoded.dictionary
  everything = Column(codes, values)
  words = {}
  if reading.missing is None:
    known = pa.array(AMONG_NUMBERS)
    gone = _array(compute.is_in(compute.utf8_lower(values), value_set=known))
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    words = {values[i].as_py(): int(counts[i]) for i in np.flatnonzero(gone).tolist()}
    codes = np.append(np.where(gone, -1, np.cumsum(~gone) - 1), -1)[codes]
    values = values.filter(pa.array(~gone))
  if not len(values) or not matches(values, _PARTS).all():
    return everything
  parts = compute.extract_regex(values, _PARTS)
  part = {field.name: _array(parts.field(field.name)) for field in parts.type}
  signs = np.stack([part[n] for n in ('sign', 'inner', 'behind', 'open')])
  affixes = {*zip(part['before'], part['after'], strict=True)}
  if len(affixes) > 1 or ((signs != '').sum(0) > 1).any() or (
    (part['open'] == '') != (part['close'] == '')).any():
    return everything
  marks = marks_of(body := parts.field('body'), reading)
  if not marks:
    return everything
  return Column(
    codes, values, body, np.isin(signs, ('', '+'), invert=True).any(0),
    ''.join(affixes.pop()), bool((signs[2:] != '').any()), marks,
    not matches(body, '[.,]').any(), words)


def marks_of(body, reading: Reading) -> dict[str, str]:
  """Returns decimal mark -> digit group separator, for every possible reading.

  Args:
    body: the numbers as text.
    reading: settings; None values are inferred.
  """
  marks = {}
  for mark in DECIMALS if reading.decimal is None else (reading.decimal,):
    for group in grouping(mark, reading.thousands):
      if mark not in marks and matches(body, pattern(mark, (group,))).all():
        marks[mark] = group
  return marks


def matches(texts, pattern: str) -> np.ndarray:
  """Returns which texts match a pattern, bool `[n]`."""
  from pyarrow import compute

  return _array(compute.match_substring_regex(texts, pattern))


def _array(values) -> np.ndarray:
  return values.to_numpy(zero_copy_only=False)


def grouping(mark: str, thousands: str | None) -> tuple[str, ...]:
  """Returns the possible digit group separators for a decimal mark; '' is first."""
  if thousands is not None:
    return '', *([thousands] if thousands not in ('', mark) else [])
  return tuple(group for group in THOUSANDS if group != mark)


def pattern(mark: str, groups: tuple[str, ...]) -> str:
  """Returns the pattern of numbers with a decimal mark, for RE2 and for Python."""
  point = _SEPARATORS[mark]
  ways = [rf'(?:[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+{_MINUS}]?[0-9]+)?',
          _WORDS]
  for group in filter(None, groups):
    between = _SEPARATORS[group]
    ways.append(rf'[1-9][0-9]{{0,2}}(?:{between}[0-9]{{3}})+(?:{point}[0-9]*)?')
    if group == ',':  # as in India
      ways.append(rf'[1-9][0-9]?(?:,[0-9]{{2}})+,[0-9]{{3}}(?:{point}[0-9]*)?')
  return rf'^[+{_MINUS}]?(?:{"|".join(ways)})$'


def values(column: Column, mark: str) -> tuple[np.ndarray, Callable[[], list[str]]]:
  """Returns the numbers `[rows]`, and () -> the numbers in Python's format.

  Args:
    column: a numeric column.
    mark: the decimal mark.
  """
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


def strings(text) -> np.ndarray:
  """Returns a column of text, `object` `[rows]`, '' where it is missing.

  Equal texts are one object: a column with few different ones needs little memory, and
  comparisons are fast.
  """
  encoded = text.fill_null('').combine_chunks().dictionary_encode()
  array = of_codes(encoded.indices, encoded.dictionary)
  array.flags.writeable = False
  return array


def of_codes(codes, values) -> np.ndarray:
  """Returns `object` `[rows]`: the text of each code, '' for null.

  Args:
    codes: index into `values` of each row.
    values: different texts.
  """
  return _array(values.fill_null('')).astype(object)[_array(codes)]


def integers(text):
  """Returns texts in which integers written as 1.0 become 1."""
  from pyarrow import compute

  return compute.replace_substring_regex(text, r'^([-+]?[0-9]+)\.0*$', r'\1')


def text_row(column: np.ndarray) -> int:
  """Returns the row of a text column `[rows]` that shows that it is not numeric.

  It is the first row that is not a number with either decimal mark, '.' or ','. If
  there is none, it is the later of the first rows that are not numbers with one of the
  marks; a mark with which all rows are numbers counts as row 0.
  """
  patterns = [re.compile(pattern(mark, grouping(mark, None))) for mark in DECIMALS]
  fail = [[row for row, text in enumerate(column) if text and not each.fullmatch(text)]
          for each in patterns]
  both = set(fail[0]).intersection(*fail[1:])
  return min(both) if both else max(rows[0] if rows else 0 for rows in fail)
