"""Tests of bigmodels.data.series: windows as in plain loops, the future unseen."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data import batches
from bigmodels.data.batches import Batches
from bigmodels.data.sources import DataContext
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from tests.conftest import SHARED
from tests.data.series.written import hourly, numbers, opened, write

COUNT, LENGTH, HORIZON = 60, 7, 3


def columns(count=COUNT, **more):
  return {'time': hourly(count), 'a': numbers(count, 1), 'b': numbers(count, 2)} | more


@pytest.fixture
def file(tmp_path):
  """(columns) -> path of a CSV file."""
  return lambda **more: write(tmp_path / 'series.csv', columns(**more))


def series(path, **settings):
  return data.Series(path, LENGTH, HORIZON, **{'time': 'time', **settings})


# --- windows --------------------------------------------------------------------


@pytest.mark.parametrize('reach', [True, False])
def test_windows_are_those_of_a_plain_loop(file, reach):
  """Every window whose forecast is in the split, in order, each once."""
  splits = {'train': 0.6, 'validation': 0.2, 'test': 0.2}
  found, _, kept = opened(series(file(), season=4, reach=reach, splits=splits))
  raw = np.stack([columns()['a'], columns()['b']], 1)
  mean, std = raw[:36].mean(0), raw[:36].std(0)
  scaled = (raw - mean) / std
  for name, low, high in (('train', 0, 36), ('validation', 36, 48), ('test', 48, 60)):
    expected = []
    for begin in range(COUNT):
      middle, end = begin + LENGTH, begin + LENGTH + HORIZON
      inside = middle >= low and end <= high and (reach or begin >= low)
      if inside:
        expected.append((scaled[begin:middle], scaled[middle:end], [
          scaled[middle - 4 + step % 4] for step in range(HORIZON)]))
    columns_ = found[name].load()
    assert found[name].length == len(expected) > 0
    for index, (inputs, labels, seasonal) in enumerate(expected):
      for column, values in (('inputs', inputs), ('labels', labels),
                             ('seasonal', seasonal)):
        np.testing.assert_allclose(columns_[column][index], values, rtol=1e-5,
                                   atol=1e-6)
    np.testing.assert_allclose(columns_['center'][0], mean, rtol=1e-6)
    np.testing.assert_allclose(columns_['scale'][0], std, rtol=1e-6)
    naive = np.abs(raw[4:36] - raw[:32]).mean(0)
    np.testing.assert_allclose(columns_['naive_error'][-1], naive, rtol=1e-6)
  assert json.loads(json.dumps(kept)) == kept


def test_a_resident_split_holds_rows_and_gathers_the_windows_that_it_reads(file):
  found, _, _ = opened(series(file()))
  compact = found['train'].compact
  arrays = compact.load()
  assert arrays['values'].shape == (COUNT, 2)
  assert found['train'].nbytes == sum(x.nbytes for x in arrays.values())
  rows = np.array([[3, 0, 5], [1, 1, 2]], np.int32)
  gathered = jax.jit(compact.gather)(arrays, rows)
  expected = found['train'].read(rows.ravel())
  assert gathered.keys() == expected.keys()
  for name, column in gathered.items():
    np.testing.assert_array_equal(column.reshape(6, *column.shape[2:]), expected[name])


def test_resident_and_streamed_batches_are_the_same(file):
  found, _, _ = opened(series(file(), season=4, calendar='day'))
  one = layout.make_layout(MeshShape(), 'jit', ())
  key = jax.random.key(0)[None]

  def loader(name, resident):
    return batches.open_loader(
      Batches(source=None, batch_size=5, resident=resident), name,
      DataContext(None, None, {}, print), one, dataset=found[name], seed=0,
      shuffle=name == 'train', steps=9, transforms=())

  for name in ('train', 'test'):
    ours, theirs = (loader(name, resident) for resident in (True, False))
    for step in range(2 if name == 'test' else 9):
      one_, other = (each.batch(each.resident, each.host_batch(step, 1), 0, key)
                     for each in (ours, theirs))
      assert one_.keys() == other.keys()
      for column, values in one_.items():
        real = np.asarray(one_['mask']) > 0
        np.testing.assert_array_equal(values[real], other[column][real])
    theirs.close()


# --- the future -----------------------------------------------------------------


@pytest.mark.parametrize('settings', [
  {}, {'scale': 'series'}, {'change': 'relative'}, {'past': 'b', 'targets': 'a'},
  {'calendar': 'day,week'}, {'season': 5}])
def test_no_window_sees_its_own_future(file, settings):
  """After other values from a row on, all inputs of windows before it are the same."""
  if settings.get('change'):
    base = {'a': 5 + np.abs(numbers(COUNT, 1)), 'b': 5 + np.abs(numbers(COUNT, 2))}
  else:
    base = {'a': numbers(COUNT, 1), 'b': numbers(COUNT, 2)}
  base['a'][[20, 47, 52]] = np.nan  # filled from the past
  found = {}
  for cut in (COUNT, 55, 50):
    values = {name: np.where(np.arange(COUNT) < cut, column, 77 + np.arange(COUNT))
              for name, column in base.items()}
    values = {name: [None if x != x else x for x in column.tolist()]
              for name, column in values.items()}
    opened_, _, _ = opened(series(file(**values), **settings))
    found[cut] = opened_
  for cut in (55, 50):
    for name in ('train', 'validation', 'test'):
      ours, theirs = found[COUNT][name].load(), found[cut][name].load()
      first = found[COUNT][name].compact.load()['first']
      before = first + LENGTH <= cut
      assert before.any()
      for column in ('inputs', 'known', 'seasonal', 'center', 'scale', 'naive_error'):
        if column in ours:
          np.testing.assert_array_equal(ours[column][before], theirs[column][before])
      assert name != 'test' or (
        ours['labels'][~(first + LENGTH + HORIZON <= cut)] !=
        theirs['labels'][~(first + LENGTH + HORIZON <= cut)]).any()


def test_statistics_are_of_the_training_rows_alone(file):
  changed = numbers(COUNT, 1)
  changed[42:] = 1000.0
  _, _, ours = opened(series(file()))
  _, _, theirs = opened(series(file(a=changed)))
  assert ours['series'] == theirs['series']


def test_splits_share_no_row_that_is_forecast(file):
  found, _, _ = opened(series(file()))
  joined = np.concatenate([
    np.asarray(next(iter(split.origin.rows.values()))) for split in found.values()])
  assert len({*joined.tolist()}) == len(joined) == COUNT


# --- splits ---------------------------------------------------------------------


@pytest.mark.parametrize(('splits', 'until', 'windows_', 'unused'), [
  ({'train': 30, 'test': 20}, None, (21, 18), 10),
  ({'train': 0.5, 'test': 0.5}, None, (21, 28), 0),
  ({'train': '2020-01-01', 'test': '2020-01-02 06:00'}, None, (21, 28), 0),
  ({'train': '2020-01-01 10:00', 'test': '2020-01-02 06:00'}, '2020-01-03 02:00',
   (18, 18), 20)])
def test_splits_are_counts_fractions_or_times(file, splits, until, windows_, unused):
  found, lines, _ = opened(series(file(), splits=splits, until=until))
  assert (found['train'].length, found['test'].length) == windows_
  assert any(f'{unused} of 60 rows are in no split' in line for line in lines) == (
    unused > 0)


@pytest.mark.parametrize(('settings', 'message'), [
  ({'splits': {'train': 0.5, 'test': 0.2}}, 'must add up to 1, got 0.7'),
  ({'splits': {'train': 50, 'test': 20}}, 'need 70 rows, the series has 60'),
  ({'splits': {'train': 50, 'test': 0.2}}, 'all fractions, all numbers of rows or all'),
  ({'splits': {'train': '2021-01-01', 'test': '2020-01-01'}}, "'train' begins at"),
  ({'splits': {'train': '2020-01-01'}, 'time': None, 'targets': 'a'},
   'is a time; set time=COLUMN'),
  ({'splits': {'train': 58, 'test': 2}}, "'test' has 2 rows, fewer than a window"),
  ({'splits': {'train': 51, 'test': 9}, 'reach': False}, 'needs, 10: length=7 and'),
  ({'splits': {'other': 0.5, 'test': 0.5}}, "no split 'train'"),
  ({'splits': {}}, 'splits: must have at least one')])
def test_splits_that_cannot_be(file, settings, message):
  with pytest.raises(UserError, match=message):
    opened(series(file(), **settings), 'train', 'test')


# --- several series -------------------------------------------------------------


def of_two(tmp_path, lengths=(40, 25), **more):
  """Two series of different lengths, their rows mixed."""
  rng = np.random.default_rng(3)
  rows = [(name, time, value + 100 * i, i)
          for i, (name, count) in enumerate(zip('xy', lengths, strict=True))
          for time, value in zip(hourly(count), numbers(count, i), strict=True)]
  rows = [rows[i] for i in rng.permutation(len(rows))]
  names, times, values, numbers_ = zip(*rows, strict=True)
  return write(tmp_path / 'two.csv', {
    'shop': names, 'time': times, 'a': values, 'size': numbers_, **more})


def two(path, **settings):
  return series(path, **{'series': 'shop', 'targets': 'a', 'static': 'size,shop',
                         'splits': {'train': 0.6, 'test': 0.4}, **settings})


def test_windows_stay_within_a_series(tmp_path):
  found, lines, _ = opened(two(of_two(tmp_path)))
  assert any('are not in the order of time' in line for line in lines)
  for name in ('train', 'test'):
    columns_ = found[name].load()
    raw = columns_['inputs'][..., 0] * columns_['scale'] + columns_['center']
    second = raw.mean(1) > 50
    assert second.any() and not second.all()
    whole = np.concatenate([numbers(40, 0), numbers(25, 1) + 100]).astype(np.float32)
    for row in raw:
      at = int(np.argmin(np.abs(whole - row[0])))
      np.testing.assert_allclose(row, whole[at : at + LENGTH], rtol=1e-4, atol=1e-3)
      assert at + LENGTH <= 40 or at >= 40
    np.testing.assert_array_equal(columns_['static'][:, 1:], np.stack(
      [~second, second], 1))
    assert len({*columns_['static'][:, 0].tolist()}) == 2
  assert found['train'].length == (24 - 9) + (15 - 9)
  assert found['test'].length == (16 - 2) + (10 - 2)


def test_scale_of_each_series(tmp_path):
  found, _, _ = opened(two(of_two(tmp_path), scale='series'))
  first, second = numbers(40, 0)[:24], numbers(25, 1)[:15] + 100
  columns_ = found['test'].load()
  for index, own in ((0, first), (-1, second)):
    assert columns_['center'][index] == pytest.approx(own.mean(), rel=1e-5)
    assert columns_['scale'][index] == pytest.approx(own.std(), rel=1e-5)


def test_series_without_enough_rows_are_left_out_and_told(tmp_path):
  found, lines, _ = opened(two(of_two(tmp_path, (40, 8))))
  assert found['train'].length == 24 - 9
  assert any('1 of 2 series have too few rows for a window: y' in x for x in lines)
  with pytest.raises(UserError, match=r"'train' has no window: .* need 10 rows up to"):
    opened(two(of_two(tmp_path, (5, 5))))


# --- covariates -----------------------------------------------------------------


def test_known_columns_and_the_calendar_reach_over_the_forecast(file):
  holiday = np.arange(COUNT) % 5
  found, _, _ = opened(series(file(holiday=holiday), known='holiday', targets='a,b',
                              calendar='day'))
  known = found['test'].load()['known']
  assert known.shape[1:] == (LENGTH + HORIZON, 3)
  mean, std = holiday[:42].mean(), holiday[:42].std()
  start = 48 - LENGTH
  hours = np.arange(start, start + LENGTH + HORIZON) % 24
  phase = 2 * np.pi * hours / 24
  expected = np.stack([(holiday[start : start + LENGTH + HORIZON] - mean) / std,
                       np.sin(phase), np.cos(phase)], 1)
  np.testing.assert_allclose(known[0], expected, atol=1e-6)


def test_past_columns_are_inputs_but_not_forecast(file):
  found, _, _ = opened(series(file(), targets='b', past='a'))
  assert found['test'].features == ('b', 'a') and found['test'].target == 'b'
  columns_ = found['test'].load()
  assert columns_['inputs'].shape[1:] == (LENGTH, 2)
  assert columns_['labels'].shape[1:] == (HORIZON, 1)


# --- missing values and times ---------------------------------------------------


def test_missing_values_repeat_the_last_and_are_not_scored(file):
  a = numbers(COUNT, 1).tolist()
  for row in (0, 1, 30, 31, 50):
    a[row] = None
  found, lines, _ = opened(series(file(a=a)))
  assert any('of 60 rows a 5; inputs repeat the last value' in line for line in lines)
  train, test = (found[name].load() for name in ('train', 'test'))
  raw = np.array([np.nan if x is None else x for x in a])
  mean, std = np.nanmean(raw[:42]), np.nanstd(raw[:42])
  np.testing.assert_allclose(train['center'][0, 0], mean, rtol=1e-5)
  np.testing.assert_allclose(train['scale'][0, 0], std, rtol=1e-5)
  np.testing.assert_array_equal(train['inputs'][0, :2, 0], 0)  # the mean
  row = 30 - LENGTH + 1  # whose last input is row 30
  np.testing.assert_allclose(train['inputs'][row, -1, 0], (raw[29] - mean) / std,
                             rtol=1e-5)
  expected = ~np.isnan(raw)
  for name, columns_ in (('train', train), ('test', test)):
    first = found[name].compact.load()['first']
    for index, begin in enumerate(first):
      steps = slice(begin + LENGTH, begin + LENGTH + HORIZON)
      np.testing.assert_array_equal(columns_['observed'][index, :, 0], expected[steps])
      assert columns_['observed'][index, :, 1].all()


def test_gaps_are_refused_or_filled_or_kept(file, tmp_path):
  values = columns()
  kept = [i for i in range(COUNT) if i not in (20, 21, 50)]
  path = write(tmp_path / 'gaps.csv', {
    name: [column[i] for i in kept] for name, column in values.items()})
  with pytest.raises(UserError, match=r"line 22: '2020-01-01 22:00:00' follows on "
                     r"'2020-01-01 19:00:00', while most rows are 1:00:00 apart; "
                     r"gaps='fill' inserts"):
    opened(series(path))
  filled, lines, _ = opened(series(path, gaps='fill'))
  assert any('3 rows are inserted where times are missing' in line for line in lines)
  blank = values | {name: [None if i not in kept else values[name][i]
                           for i in range(COUNT)] for name in 'ab'}
  same, _, _ = opened(series(write(tmp_path / 'blank.csv', blank)))
  for name in filled:
    for column, found in filled[name].load().items():
      np.testing.assert_array_equal(found, same[name].load()[column])
  as_they_are, _, _ = opened(series(path, gaps='keep'))
  assert as_they_are['train'].length == round(0.7 * 57) - LENGTH - HORIZON + 1


def test_times_in_any_order_are_sorted_and_told(file, tmp_path):
  values = columns()
  order = np.random.default_rng(0).permutation(COUNT)
  path = write(tmp_path / 'mixed.csv', {
    name: [column[i] for i in order] for name, column in values.items()})
  found, lines, _ = opened(series(path))
  assert any('rows are not in the order of time, and are sorted' in x for x in lines)
  expected, _, _ = opened(series(file()))
  for name in found:
    for column, array in found[name].load().items():
      np.testing.assert_array_equal(array, expected[name].load()[column])


def test_a_constant_column_is_told_and_becomes_zero(file):
  found, lines, _ = opened(series(file(b=[7.5] * COUNT)))
  assert any('constant in the training rows: b (7.5)' in line for line in lines)
  assert not found['train'].load()['inputs'][..., 1].any()
  assert found['train'].load()['naive_error'][0, 1] == 0


@pytest.mark.parametrize(('more', 'settings', 'message'), [
  ({}, {'targets': 'aa'}, "targets: no column 'aa'; did you mean 'a'"),
  ({}, {'time': 'tim'}, "time: no column 'tim'; did you mean 'time'"),
  ({}, {'series': 'shop'}, "series: no column 'shop'"),
  ({}, {'known': 'holiday'}, "known: no column 'holiday'"),
  ({'b': ['x'] * COUNT}, {}, "column 'b' is text: targets= names the columns"),
  ({'b': ['1'] * 59 + ['x']}, {'targets': 'a,b'},
   "line 61, column 'b': 'x' is not a number"),
  ({'time': ['2020-01-01'] * COUNT}, {},
   "line 3: the time '2020-01-01' is that of line 2 too, as for 59 rows"),
  ({'time': ['soon'] * COUNT}, {}, "column 'time': 'soon' is neither a number nor"),
  ({'time': [None, *hourly(59)]}, {}, 'line 2: time: no value'),
  ({'b': [None] * 45 + [1] * 15}, {}, "column 'b' has no value in the training rows"),
  ({'b': ['1e300', 'inf'] * 30}, {}, 'all are missing, infinite or too large for floa'),
  ({}, {'targets': 'a', 'past': 'a'}, "past: 'a' is in targets too"),
  ({}, {'season': 8}, 'season: must be at most 7, the length'),
  ({}, {'calendar': 'daily'}, "calendar: no cycle 'daily'; did you mean 'day'"),
  ({}, {'time': None, 'targets': 'a', 'calendar': 'day'}, 'calendar: needs time='),
  ({'time': range(COUNT)}, {'calendar': 'day'}, "calendar: 'time' has numbers, must"),
  ({}, {'scale': 'colum'}, "scale: must be 'column' or 'series' or None, got 'colum'"),
  ({}, {'directions': (1, 0)}, 'directions: must be two relative changes in order'),
  ({'size': range(COUNT)}, {'targets': 'a', 'static': 'size'},
   "static: 'size' changes in the series"),
  ({}, {'graph': 'nowhere.csv'}, 'nowhere.csv')])
def test_files_and_settings_that_cannot_be(file, more, settings, message):
  with pytest.raises(UserError, match=message):
    opened(series(file(**more), **settings))


@pytest.mark.parametrize('field', ['length', 'horizon'])
@pytest.mark.parametrize('value', [0, -1, 1.5])
def test_lengths_must_be_positive(file, field, value):
  with pytest.raises(UserError, match=f'{field}: must be an integer >= 1, got'):
    dataclasses.replace(series(file()), **{field: value})


def test_splits_with_other_settings_are_refused(file):
  path = file()
  _, _, kept = opened(series(path), 'train')
  with pytest.raises(UserError, match=r"targets: is \['a'\] here and \['a', 'b'\] in"):
    opened(series(path, targets='a'), 'test', kept=kept)


# --- directions -----------------------------------------------------------------


def test_directions_are_those_of_a_plain_loop(file):
  prices = np.round(100 * np.exp(0.02 * np.random.default_rng(0).normal(
    size=COUNT).cumsum()), 3)
  found, lines, _ = opened(series(
    file(a=prices), targets='a', change='relative', directions=(-0.005, 0.0055),
    splits={'train': 0.6, 'test': 0.4}))
  for name, low, high in (('train', 0, 36), ('test', 36, 60)):
    expected = []
    for begin in range(COUNT - LENGTH - HORIZON + 1):
      if not (begin + LENGTH >= low and begin + LENGTH + HORIZON <= high):
        continue
      move = prices[begin + LENGTH + HORIZON - 1] / prices[begin + LENGTH - 1] - 1
      if move > 0.0055 or move <= -0.005:
        expected.append((begin, int(move > 0)))
    assert found[name].classes == ('fall', 'rise')
    arrays = found[name].compact.load()
    np.testing.assert_array_equal(arrays['first'], [begin for begin, _ in expected])
    np.testing.assert_array_equal(
      found[name].load()['labels'], [label for _, label in expected])
    changes = np.append(np.nan, prices[1:] / prices[:-1] - 1)
    columns_ = found[name].load()
    raw = columns_['inputs'] * columns_['scale'][:, None] + columns_['center'][:, None]
    for row, (begin, _) in zip(raw, expected, strict=True):
      np.testing.assert_allclose(row[1:, 0], changes[begin + 1 : begin + LENGTH],
                                 atol=1e-6)
  assert any('are left out: they change by more than -0.005 and at' in x for x in lines)


def test_directions_without_a_value_are_told_apart(file):
  prices = [100.0] * COUNT
  prices[20] = None
  prices[40:] = [103.0] * 20
  _, lines, _ = opened(series(file(a=prices), targets='a', directions=(-0.01, 0.01),
                              splits={'train': 1.0}))
  # 3 windows forecast over the rise; of the others two begin or end at the gap.
  count = COUNT - LENGTH - HORIZON + 1
  assert lines[-1].endswith(
    f', of which {count - HORIZON - 2} are left out: they change by more than -0.01 '
    'and at most 0.01; 2 have no value to compare')


# --- published protocols --------------------------------------------------------


@pytest.mark.skipif(not (SHARED / 'data/ett').is_dir(), reason='no ../shared/data/ett')
@pytest.mark.parametrize(('name', 'per_day', 'count', 'mse', 'mae'), [
  ('ETTh1', 24, 2785, 1.294, 0.713), ('ETTm1', 96, 11425, 1.214, 0.665)])
def test_repeating_the_last_value_has_the_published_errors(
  name, per_day, count, mse, mae):
  """Zeng et al., 2023: 1.295 and 0.713 for ETTh1, 1.214 and 0.665 for ETTm1."""
  source = data.Series(
    str(SHARED / f'data/ett/{name}.csv'), 336, 96, time='date', splits={
      'train': 360 * per_day, 'validation': 120 * per_day, 'test': 120 * per_day})
  found, _, _ = opened(source, 'test')
  assert found['test'].length == count
  squares = absolutes = 0.0
  for rows in np.array_split(np.arange(count), 20):
    columns_ = found['test'].read(rows)
    errors = columns_['labels'] - columns_['inputs'][:, -1:]
    squares += (errors.astype(np.float64) ** 2).sum()
    absolutes += np.abs(errors).sum(dtype=np.float64)
  assert squares / (count * 96 * 7) == pytest.approx(mse, abs=6e-4)
  assert absolutes / (count * 96 * 7) == pytest.approx(mae, abs=6e-4)


@pytest.mark.skipif(not (SHARED / 'data/los_loop').is_dir(),
                    reason='no ../shared/data/los_loop')
@pytest.mark.parametrize(('horizon', 'rmse', 'mae'), [(3, 5.543, 3.156),
                                                      (12, 8.456, 4.433)])
def test_repeating_the_last_speed_has_the_errors_of_the_protocol(horizon, rmse, mae):
  source = data.Series(
    str(SHARED / 'data/los_loop/los_speed.csv'), 12, horizon, reach=False,
    splits={'train': 1411, 'validation': 201, 'test': 403})
  found, _, _ = opened(source, 'test')
  columns_ = found['test'].load()
  errors = (columns_['labels'] - columns_['inputs'][:, -1:]).astype(np.float64)
  errors *= columns_['scale'][:, None]
  assert np.sqrt((errors**2).mean()) == pytest.approx(rmse, abs=6e-4)
  assert np.abs(errors).mean() == pytest.approx(mae, abs=6e-4)


def test_a_subset_of_windows_is_streamed(tmp_path):
  prices = np.round(100 + numbers(COUNT, 1), 3)
  path = write(tmp_path / 'p.csv', columns(a=prices))
  source = series(path, targets='a', directions=(0.0, 0.0))
  whole, _, _ = opened(source, 'train')
  subset = data.Subset(source.split('train'), classes=('rise',)).open(
    DataContext(None, None, {}, lambda line: None))
  assert subset.compact is None and subset.nbytes is None
  columns_ = whole['train'].load()
  np.testing.assert_array_equal(
    subset.load()['inputs'], columns_['inputs'][columns_['labels'] == 1])
