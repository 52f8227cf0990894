"""Converts arrays of any kind to columns of numbers that a device can represent.

Nothing is lost silently: values that cannot be represented are refused, with their
position, and large rounding errors are printed.
"""

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodels.core.errors import UserError, listed

Say = Callable[[str], None]

_MOST_SPARSE = 1000  # classes that are accepted, however few of them have examples
_SPARSE = 10  # above that, maximum ratio of classes to classes with examples
_MOST_TOKENS = 2**20  # classes of labels that are rows themselves, such as tokens
_ROUNDED = 1e-3  # fraction of a channel's range: larger rounding errors are printed
_SAMPLE = 4096  # rows of every channel that are read first
_EXACT = 2**24  # integers up to this are exact in float32
_NAMED = 10  # maximum number of channels with their own line


def numeric(name: str, values: Any, say: Say | None) -> np.ndarray:
  """Returns a column `[length, ...]` in a native dtype, its values unchanged.

  Args:
    name: name of the column, for messages.
    values: anything that `numpy.asarray` accepts.
    say: prints a line about large rounding errors in float32; None prints none.

  Raises:
    UserError: for values that are not real numbers, or not representable on devices.
  """
  array = _array(name, values)
  if array.dtype.kind == 'b':
    return array.astype(np.uint8)
  if array.dtype.kind in 'iu':
    _check_integers(name, array, say)
  else:
    _check_floats(name, array, say)
  return array


def labels(values: Any, classes: Sequence[str] | None, say: Say | None
           ) -> tuple[np.ndarray, tuple[str, ...] | None]:
  """Returns labels `[length, ...]`: int32 classes and their names, or float32 targets.

  Args:
    values: anything that `numpy.asarray` accepts; integers and bools are classes.
    classes: names of the classes; None numbers them, up to the largest label.
    say: as in `numeric`; also prints classes without an example.

  Raises:
    UserError: for labels of another type, or classes that are not counted from 0.
  """
  array = _array('labels', values)
  if array.dtype.kind == 'f':
    if classes is not None:
      raise UserError(f'Arrays: classes= is given, but labels are {array.dtype}, which '
                      'are targets; labels.astype(int) makes classes of them')
    return _targets(array, say), None
  if array.dtype.kind == 'b':
    array, classes = array.astype(np.int32), classes or ('False', 'True')
  _check_from_0(array)
  names = _numbered(array) if classes is None else tuple(map(str, classes))
  top = int(array.argmax())
  if array.flat[top] >= len(names):
    raise UserError(f'Arrays: {_value_at("labels", array, top)}; classes= has '
                    f'{len(names)} names, for 0 to {len(names) - 1}')
  if say and array.ndim == 1:
    _say_absent(array, names, say)
  return array.astype(np.int32), names


def check_finite(path: str, columns: Mapping[str, np.ndarray], rows: np.ndarray,
                 describe: Callable[[int], str] | None) -> None:
  """Refuses NaN and infinities; integers cost nothing, floats one sum.

  Args:
    path: path of the split's settings, for the message.
    columns: `[n, ...]`.
    rows: rows of the split, int `[n]`; -1 for masked rows, which are not checked.
    describe: row -> where it comes from; see `Dataset`.

  Raises:
    UserError: naming the column, the first such value, and the affected rows.
  """
  for name, values in columns.items():
    if values.dtype.kind != 'f' or _all_finite(values):
      continue
    bad = ~np.isfinite(values).reshape(len(values), -1)
    bad[rows < 0] = False
    of_row = np.flatnonzero(bad.any(1))
    if not len(of_row):
      continue
    first = of_row[0]
    row = int(rows[first])
    inside = np.unravel_index(int(np.argmax(bad[first])), values.shape[1:])
    index = ', '.join(map(str, [row, *map(int, inside)]))
    count, found = int(bad.sum()), rows[of_row].tolist()
    more = '' if count == 1 else (
      f'; {count:,} values in {_many(len(found), "row")} are not finite: '
      f'{listed(found)}')
    origin = f' ({describe(row)})' if describe else ''
    value = values[first][inside]
    raise UserError(f'{path}: {name}[{index}] is {value}{origin}{more}; '
                    'fill these, or omit their rows')


def _all_finite(values: np.ndarray) -> bool:
  """Whether all values are finite; also False if only their sum overflows."""
  with np.errstate(all='ignore'):
    return bool(np.isfinite(values.sum(dtype=np.result_type(values, np.float32))))


def _array(name: str, values: Any) -> np.ndarray:
  if np.ma.isMaskedArray(values) and np.ma.getmaskarray(values).any():
    mask = np.ma.getmaskarray(values)
    raise UserError(
      f'Arrays: {_index(name, mask, int(mask.argmax()))} is masked, one of '
      f'{int(mask.sum()):,}; fill these, such as {name}.filled(0), or leave their rows '
      'out')
  try:
    array = np.asarray(values)
  except (ValueError, TypeError) as error:
    raise UserError(f'Arrays: {name} is not convertible to an array: {error}'
                    ) from None
  if array.dtype.isbuiltin == 2:  # bfloat16 and other registered types
    whole = np.can_cast(array.dtype, np.int32)
    array = array.astype(np.int32 if whole else np.float32)
  if array.dtype.kind not in 'biuf':
    raise UserError(_no_numbers(name, array))
  if array.size == 0:
    raise UserError(f'Arrays: {name} is empty, {array.shape}')
  if array.dtype.itemsize > 8:  # longdouble
    return array.astype(np.float64)
  return array.astype(array.dtype.newbyteorder('='), copy=False)


_HINTS = {
  'c': 'the imaginary part would be lost; np.stack([x.real, x.imag], -1) keeps both',
  'M': 'take numbers, such as (x - x.min()) / np.timedelta64(1, "D")',
  'm': 'take numbers, such as x / np.timedelta64(1, "s")',
  'V': 'take one array of numbers; numpy.lib.recfunctions.structured_to_unstructured '
       'makes one of fields',
}
_TEXT = 'take numbers; data.Table reads columns of text, data.Sentences texts'
_TEXT_LABELS = ('classes, labels = np.unique(labels, return_inverse=True) makes both, '
                'and classes= sets the names')


def _no_numbers(name: str, array: np.ndarray) -> str:
  kind, at = array.dtype.kind, 0
  hint = _HINTS.get(kind, _TEXT_LABELS if name == 'labels' else _TEXT)
  if kind == 'O':
    strange = [i for i, value in enumerate(array.flat)
               if not isinstance(value, numbers.Real)]
    at = strange[0] if strange else 0
    if not strange:
      hint = f'{name}.astype(float) converts it to floats, .astype(int) to integers'
    elif not isinstance(array.flat[at], str):
      hint = 'use only real numbers'
  legal = 'integers, which are classes, or floats' if name == 'labels' else (
    'real numbers')
  such = ''
  if array.size:
    value = array.flat[at]
    if kind in 'USc':
      value = value.item()
    value = str(value) if kind in 'MmV' else repr(value)
    such = f', such as {value[:60]} at {_index(name, array, at)}'
  return f'Arrays: {name} must be {legal}; got {array.dtype}{such}: {hint}'


def _check_integers(name: str, array: np.ndarray, say: Say | None) -> None:
  if array.dtype.itemsize <= 2:
    return
  low, high = int(array.argmin()), int(array.argmax())
  largest = max((low, high), key=lambda at: abs(int(array.flat[at])))
  if array.dtype.itemsize == 8:
    kept = np.iinfo(np.int32 if array.dtype.kind == 'i' else np.uint32)
    if array.flat[low] < kept.min or array.flat[high] > kept.max:
      raise UserError(
        f'Arrays: {_value_at(name, array, largest)}, beyond {kept.dtype}; take floats '
        f'for quantities, {name}.astype(float), and '
        'np.unique(..., return_inverse=True)[1] for identifiers')
  if say and abs(int(array.flat[largest])) > _EXACT:
    say(f'Arrays: {_value_at(name, array, largest)}: float32 cannot represent '
        'all integers beyond 2**24')
    _say_rounded(name, array, say)


def _check_floats(name: str, array: np.ndarray, say: Say | None) -> None:
  if array.dtype.itemsize < 8:
    return
  most = np.finfo(np.float32).max
  if not (array.min() >= -most and array.max() <= most):  # or NaN
    with np.errstate(over='ignore'):
      lost = np.isinf(array.astype(np.float32)) & np.isfinite(array)
    if lost.any():
      raise UserError(f'Arrays: {_value_at(name, array, int(lost.argmax()))}, beyond '
                      f'float32, whose largest number is {most:.3g}: scale {name}')
  if say:
    _say_rounded(name, array, say)


def _say_rounded(name: str, array: np.ndarray, say: Say) -> None:
  """Prints which channels have large rounding errors in float32."""
  table = array if array.ndim == 2 else array.reshape(-1, 1)
  found = rounded(table[:: sample_step(len(table))], lambda column: table[:, column])
  for column, low, high, error in found[:_NAMED]:
    which = f'{name}[:, {column}]' if array.ndim == 2 else name
    say(f'Arrays: {which} ranges from {low} to {high}: float32 rounds it by up to '
        f'{error:.3g}; subtract a constant first')
  if len(found) > _NAMED:
    say(f'Arrays: {len(found) - _NAMED:,} more columns have such rounding errors')


def sample_step(rows: int) -> int:
  """Returns the stride with which `rounded` still gets enough rows."""
  return max(1, rows // _SAMPLE)


def rounded(some: np.ndarray, values_of: Callable[[int], np.ndarray]
            ) -> list[tuple[int, float, float, float]]:
  """Returns the columns of a table with large rounding errors in float32.

  Args:
    some: some of the rows, `[n, columns]`.
    values_of: column -> all of its values, `[rows]`.

  Returns:
    (column, smallest, largest, largest rounding) of each.
  """
  # More rows add at least as much to the range of a column as to its largest number, so
  # a column that passes on some rows passes on all.
  found = []
  with np.errstate(all='ignore'):
    largest = np.abs(some).max(0) * np.finfo(np.float32).eps
    wide = some.max(0).astype(np.float64) - some.min(0)
    for column in np.flatnonzero(largest > _ROUNDED * wide).tolist():
      values = values_of(column)
      error = np.abs(values - values.astype(np.float32).astype(values.dtype)).max()
      low, high = values.min(), values.max()
      if error > _ROUNDED * (float(high) - float(low)) > 0:
        found.append((column, low, high, error))
  return found


def _targets(array: np.ndarray, say: Say | None) -> np.ndarray:
  _check_floats('labels', array, say)
  with np.errstate(under='ignore'):
    targets = array.astype(np.float32)
  largest = np.abs(targets).max()
  if largest < np.finfo(np.float32).tiny and array.any():
    at = int(np.abs(array).argmax())
    raise UserError(f'Arrays: {_value_at("labels", array, at)}, the largest: all are 0 '
                    'in float32; scale labels')
  return targets


def _check_from_0(array: np.ndarray) -> None:
  if array.min() < 0:
    raise UserError(
      f'Arrays: {_value_at("labels", array, int(np.argmax(array < 0)))}; classes are '
      'counted from 0: np.unique(labels, return_inverse=True)[1] counts them so')


def _numbered(array: np.ndarray) -> tuple[str, ...]:
  """Classes up to the largest label, unless hardly any of them has an example."""
  top = int(array.argmax())
  count = int(array.flat[top]) + 1
  if count > (_MOST_SPARSE if array.ndim == 1 else _MOST_TOKENS):
    different = len(np.unique(array))
    if count > _SPARSE * different:
      raise UserError(
        f'Arrays: {_value_at("labels", array, top)}, which makes {count:,} classes of '
        f'{different:,} different labels; classes are counted from 0: '
        'np.unique(labels, return_inverse=True)[1] counts them so; or name all with '
        'classes=')
  return tuple(map(str, range(count)))


def _say_absent(array: np.ndarray, names: Sequence[str], say: Say) -> None:
  absent = np.flatnonzero(np.bincount(array, minlength=len(names)) == 0)
  if not len(absent):
    return
  first = int(array.min())
  hint = '' if len(absent) != first else (
    f'; labels begin at {first}: labels - {first} counts them from 0')
  say(f'Arrays: {_many(len(absent), "class")} of {len(names):,} without an example: '
      f'{listed([names[i] for i in absent])}{hint}')


def _index(name: str, array: np.ndarray, at: int) -> str:
  index = ', '.join(str(int(i)) for i in np.unravel_index(at, array.shape))
  return f'{name}[{index}]' if index else name


def _value_at(name: str, array: np.ndarray, at: int) -> str:
  return f'{_index(name, array, at)} is {array.flat[at]}'


def _many(count: int, what: str) -> str:
  plural = 'es' if what.endswith('s') else 's'
  return f'{count:,} {what}{plural * (count != 1)}'
