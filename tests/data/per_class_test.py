"""Tests of data.PerClass: which classes are kept, and the batches of a run."""

from functools import partial

import jax
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import batches
from bigmodels.data.arrays import Arrays
from bigmodels.data.batches import Batches
from bigmodels.data.per_class import PerClass
from bigmodels.data.sources import DataContext
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape

SIZES = {'0': 5, '1': 1, '2': 8, '3': 3, '4': 2}


def arrays():
  labels = np.repeat([*map(int, SIZES)], [*SIZES.values()])
  order = np.random.default_rng(0).permutation(len(labels))
  return Arrays(inputs=np.arange(len(labels))[:, None] + 0.5, labels=labels[order])


def opened(said=None, **settings):
  said = [] if said is None else said
  return PerClass(arrays(), **settings).open(DataContext(None, None, {}, said.append))


def loader(dataset, size, microbatches=1, name='train'):
  context = DataContext(None, None, {}, lambda line: None)
  return batches.open_loader(
    Batches(source=None, batch_size=size), name, context,
    layout.make_layout(MeshShape(), 'jit', ()), dataset=dataset, seed=0, shuffle=True,
    steps=9, transforms=(), microbatches=microbatches)


def test_classes_with_too_few_examples_are_left_out_and_said():
  said, whole = [], arrays().open(DataContext(None, None, {})).load()
  found = opened(said, each=4)
  assert found.classes == ('0', '2', '3', '4') and found.length == 18
  columns = found.load()
  rows = (columns['inputs'][:, 0] - 0.5).astype(int)
  names = np.array(found.classes)[columns['labels']]
  assert names.tolist() == whole['labels'][rows].astype(str).tolist()
  assert said == [
    '1 of 5 classes have fewer than 2 examples and are left out, as are their 1 '
    'examples (min_examples=1 keeps all)',
    '2 of the 4 classes have fewer than 4 examples, which are repeated in a batch']
  assert opened(each=2, min_examples=1).classes == tuple(SIZES)
  assert opened(each=4, min_examples=5).classes == ('0', '2')


@pytest.mark.parametrize('microbatches', [1, 2])
def test_a_training_batch_has_p_classes_with_k_examples(microbatches):
  found = opened(each=4)
  read = loader(found, 16, microbatches)
  make = jax.jit(read.batch)
  for step in range(4):
    keys = jax.random.split(jax.random.key(0), microbatches)
    batch = make(read.resident, read.host_batch(step, 1), 0, keys)
    labels = np.asarray(batch['labels']).reshape(-1, 4)
    assert (labels == labels[:, :1]).all() and len({*labels[:, 0].tolist()}) == 4
    assert batch['mask'].all()
    np.testing.assert_array_equal(
      found.load()['labels'][np.asarray(batch['row'])], batch['labels'])


@pytest.mark.parametrize(('size', 'microbatches', 'message'), [
  (10, 1, r'batch_size=10: must be a multiple of 4 \(4 examples of a class\), and at '
          'most 16 for 4 classes; the nearest is 8'),
  (12, 2, r'batch_size=12: must be a multiple of 8 \(of 2 microbatches, 4 examples of '
          'a class.*; the nearest is 16'),
  (None, 1, 'batch_size=18: must be a multiple of 4')])
def test_batches_that_cannot_be_composed(size, microbatches, message):
  with pytest.raises(UserError, match=message):
    loader(opened(each=4), size, microbatches)


def test_settings_and_data_that_do_not_fit():
  for name in ('each', 'min_examples'):
    with pytest.raises(ValueError, match=f'{name}: must be an integer >= 1, got 0'):
      PerClass(arrays(), **{name: 0})
  with pytest.raises(UserError, match='1 of 5 classes has 6 or more examples; two'):
    opened(min_examples=6)
  with pytest.raises(UserError, match='PerClass: needs data with classes'):
    PerClass(Arrays(inputs=np.ones((4, 1)), labels=np.ones(4, np.float32))).open(
      DataContext(None, None, {}))


def test_corrupt_examples_are_in_no_batch():
  class Damaged:
    def open(self, context):
      found = arrays().open(context)
      corrupt = np.arange(found.length) == np.argmax(found.load()['labels'] == 4)
      return found._replace(load=lambda: {**found.load(), 'corrupt': corrupt})

  said = []
  found = PerClass(Damaged()).open(DataContext(None, None, {}, said.append))
  assert found.classes == ('0', '2', '3')  # one of the two of '4' is left
  assert 'PerClass: 1 of 19 examples are corrupt and skipped' in said[0]


def test_shapes_alone_make_batches():
  class Shapes:
    def open(self, context):
      return arrays().open(context)._replace(shapes_only=True)

  found = PerClass(Shapes()).open(DataContext(None, None, {}, lambda line: None))
  rows = loader(found, 8).order.rows(0)
  assert len({*(rows % 5).tolist()}) == 2 and partial(found.read)(rows)
