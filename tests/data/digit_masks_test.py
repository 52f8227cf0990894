"""Tests of data.DigitMasks: masks are exact, and splits are apart."""

import numpy as np
import pytest
from scipy import ndimage

from bigmodels.core.errors import UserError
from bigmodels.data import DigitMasks
from bigmodels.data.readers.arrays import ArrayReader
from bigmodels.data.sources import DataContext
from tests.data.folders.written import write

CONTEXT = DataContext(None, None, {})
SOURCE = DigitMasks(counts={'train': 40, 'test': 20}, size=48, digits=3)


@pytest.fixture(scope='module')
def opened():
  return {name: SOURCE.split(name).open(CONTEXT) for name in ('train', 'test')}


def test_a_pixel_is_of_a_digit_where_it_is_bright(opened):
  columns = opened['train'].load()
  assert columns['inputs'].shape == (40, 48, 48, 1)
  assert columns['labels'].dtype == columns['inputs'].dtype == np.uint8
  np.testing.assert_array_equal(
    columns['labels'] > 0, columns['inputs'][..., 0] >= 120)
  assert opened['train'].classes == ('background', *'0123456789')
  assert {*np.unique(columns['labels'])} == {*range(11)}


def test_a_canvas_has_up_to_three_digits_beside_each_other(opened):
  labels = opened['train'].load()['labels']
  for mask in labels:
    assert 1 <= len(np.unique(mask)) - 1 <= 3
    for digit in np.unique(mask)[1:]:
      rows, columns = (np.flatnonzero((mask == digit).any(axis)) for axis in (1, 0))
      assert len(rows) >= 5 and len(columns) >= 1
  # Most are in one piece: the strokes of a scanned digit rarely have gaps.
  pieces = [ndimage.label(mask, np.ones((3, 3)))[1] for mask in labels]
  assert min(pieces) >= 1 and np.mean(pieces) < 5


def test_the_same_every_time_and_other_digits_in_other_splits(opened):
  again = SOURCE.split('test').open(CONTEXT)
  assert again.identity == opened['test'].identity != opened['train'].identity
  (name, ours), = opened['train'].origin.rows.items()
  assert not {*ours} & {*opened['test'].origin.rows[name]}


def test_new_images_have_no_masks_to_be_evaluated(opened, tmp_path):
  write(tmp_path / '3', ['a.png'], shape=(40, 40), channels=1)
  said, dataset = [], opened['train']
  columns = dataset.load()
  reader = ArrayReader('a run', ['inputs'], {
    name: column[:1] for name, column in columns.items()}, classes=dataset.classes,
    say=said.append)
  side = columns['inputs'].shape[1]
  chunk, = reader.examples([tmp_path], labels=False).chunks(0)
  assert chunk.columns['inputs'].shape == (1, side, side, 1)
  with pytest.raises(UserError, match=rf'labels must be \[n, {side}, {side}\] uint8, '
                                      r'which files .* an \.npz file'):
    reader.examples([tmp_path], labels=True)


def test_settings_out_of_range():
  for settings, message in (
    ({'size': 23}, 'size: must be an integer >= 24, got 23'),
    ({'digits': 0}, 'digits: must be an integer >= 1, got 0'),
    ({'counts': {'train': 0}}, "counts: that of 'train' must be an integer >= 1")):
    with pytest.raises(ValueError, match=message):
      DigitMasks(**settings)
  with pytest.raises(UserError, match=r"no split 'tset'.*test"):
    SOURCE.split('tset').open(CONTEXT)
