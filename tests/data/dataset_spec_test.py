"""Tests of bigmodels.data.dataset_spec: a split from its description."""

import numpy as np

from bigmodels.data import dataset_spec
from bigmodels.data.sources import DataContext, in_memory


def test_the_columns_are_those_of_an_evaluation(tmp_path):
  """A packed training split has columns that an evaluation must not have."""
  train = in_memory({'inputs': np.zeros((6, 5), np.uint16),
                     'segments': np.zeros((6, 5), np.int32),
                     'decoder_segments': np.zeros((6, 5), np.int32)}, None)
  test = in_memory({'inputs': np.zeros((2, 8), np.uint16),
                    'segments': np.zeros((2, 8), np.int32)}, None)
  context = DataContext(None, tmp_path, {
    'train': dataset_spec.record(train, test), 'identity train': 'it'})
  opened = dataset_spec.Recorded().open(context)
  found = opened.read(np.zeros(1, int))
  assert {name: x.shape for name, x in found.items()} == {
    'inputs': (1, 8), 'segments': (1, 8)}
  assert opened.length == 6 and opened.shapes_only
  del context.kept['train']['evaluated']  # by an older version
  assert 'decoder_segments' in dataset_spec.Recorded().open(context).read(np.arange(1))
