"""Tests of bigmodels.data.scikit against scikit-learn."""

import numpy as np
import pytest
from sklearn import datasets

from bigmodels.core.errors import UserError
from bigmodels.data.scikit import Digits, ScikitTable
from bigmodels.data.sources import DataContext, held_out

OPENING = DataContext(None, None, {})


def test_digits_are_all_there_once():
  opened = [Digits().split(name).open(OPENING) for name in ('train', 'test')]
  assert [data.length for data in opened] == [1438, 359]
  columns = [data.load() for data in opened]
  for column in columns:
    assert column['inputs'].shape[1:] == (8, 8, 1)
    assert column['inputs'].dtype == np.uint8 and column['labels'].dtype == np.int32
  raw = datasets.load_digits()
  rows = {raw.data[i].astype(np.uint8).tobytes() + bytes([raw.target[i]])
          for i in range(1797)}
  ours = [image.tobytes() + bytes([label]) for c in columns
          for image, label in zip(c['inputs'], c['labels'], strict=True)]
  assert len(ours) == 1797 and set(ours) == rows
  assert opened[0].classes == tuple('0123456789')
  assert opened[0].identity != opened[1].identity


def test_digits_refuse_another_split():
  with pytest.raises(UserError, match='no split'):
    Digits().split('validation').open(OPENING)


@pytest.mark.parametrize('name, length, width, classes', [
  ('diabetes', 442, 10, None), ('breast_cancer', 569, 30, 2), ('iris', 150, 4, 3),
  ('wine', 178, 13, 3)])
def test_scikit_tables(name, length, width, classes):
  parts = [ScikitTable(name).split(s).open(OPENING) for s in ('train', 'test')]
  columns = [part.load() for part in parts]
  inputs = np.concatenate([c['inputs'] for c in columns])
  labels = np.concatenate([c['labels'] for c in columns])
  assert inputs.shape == (length, width) and inputs.dtype == np.float32
  assert labels.dtype == (np.int32 if classes else np.float32)
  assert (parts[0].classes and len(parts[0].classes)) == classes
  raw = getattr(datasets, f'load_{name}')()
  assert parts[0].features == tuple(raw.feature_names)
  if classes:
    assert parts[0].classes == tuple(raw.target_names)
  rows = np.concatenate([held_out(length, s, {'train': 0.8, 'test': 0.2})
                         for s in ('train', 'test')])
  np.testing.assert_array_equal(inputs, raw.data[rows].astype(np.float32))
  np.testing.assert_array_equal(labels, raw.target[rows].astype(labels.dtype))
