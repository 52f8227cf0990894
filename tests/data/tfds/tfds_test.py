"""Tests of bigmodels.data.tfds.tfds on small datasets, some of them damaged."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import Batches, batches, dataset_spec
from bigmodels.data.sources import DataContext
from bigmodels.data.subset import Subset
from bigmodels.data.tfds import tfds
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from tests.data.tfds.prepared import (
  GOOD,
  TRUNCATED,
  fresh_context,
  jpeg,
  of_any_size,
  pets,
  record,
)

ONE = layout.make_layout(MeshShape(), 'jit', ())


@pytest.fixture
def context(tmp_path):
  return fresh_context(tmp_path)


def test_what_is_read_is_what_was_written(context):
  data = pets(context, GOOD, 'train[2:7]', shards=3)
  assert data.length == 5 and data.classes == ('cat', 'dog', 'newt')
  assert data.nbytes == 5 * (8 * 8 * 3 + 4)
  for columns in (data.load(), data.read(np.arange(5))):
    for row in range(5):
      np.testing.assert_array_equal(
        columns['inputs'][row], np.full((8, 8, 3), 10 * (row + 2)))
    np.testing.assert_array_equal(columns['labels'], np.arange(2, 7) % 3)
    assert columns['labels'].dtype == np.int32 and not columns['corrupt'].any()


def test_what_is_kept_of_a_split_is_without_damage(context):
  found = dataset_spec.record(pets(context, [TRUNCATED, *GOOD]))
  assert json.loads(json.dumps(found)) == {
    'length': 9, 'classes': ['cat', 'dog', 'newt'],
    'named': True, 'features': None, 'target': None,
    'columns': {'inputs': ['uint8', [8, 8, 3]], 'labels': ['int32', []]},
    'evaluated': None}


def test_a_fitted_split_is_never_resident(context):
  with pytest.raises(UserError, match='so it cannot be kept in memory'):
    of_any_size(context).open(context).load()


def test_a_subset_of_images_that_are_fitted(context):
  """Its labels are read without the images, once, damaged ones too."""
  source = of_any_size(context, bad=(3,))  # labels 0, 1, 2, then 1, 1, 2, 0, 1
  said = []
  context = dataclasses.replace(context, say=said.append)
  subset = Subset(source, classes=('newt', 'dog')).open(context)
  assert subset.length == 6 and subset.nbytes is None
  assert len(said) == 1 and said[0].startswith('reading 8 labels of pets train (once;')
  columns = subset.read(np.arange(6))
  np.testing.assert_array_equal(columns['corrupt'], np.arange(6) == 2)
  np.testing.assert_array_equal(
    columns['labels'][~columns['corrupt']], [1, 0, 1, 0, 1])
  whole = source.open(context).read(np.array([1, 2, 3, 4, 5, 7]))
  np.testing.assert_array_equal(columns['inputs'], whole['inputs'])
  part = dataclasses.replace(source, selected='train[4:]')
  assert Subset(part, classes=('newt',)).open(context).length == 1
  assert len(said) == 1


@pytest.mark.usefixtures('parsed_flags')
def test_draws_are_a_function_of_seed_epoch_and_row(context):
  """However a batch is cut, and wherever reading begins."""
  source = of_any_size(context)

  def epochs(seed, batch_size, first=0, workers=0):
    opened = batches.open_loader(
      Batches(source=source, batch_size=batch_size, workers=workers), 'train',
      DataContext(context.data_dir, context.cache_dir, {}, say=lambda _: None), ONE,
      dataset=source.open(context), seed=seed, shuffle=True, steps=24 // batch_size,
      transforms=())
    found = {}
    for step in range(first, 24 // batch_size):
      columns = jax.device_get(opened.host_batch(step, 1))
      for epoch, row, inputs in zip(columns['epochs'][0], columns['rows'][0],
                                    columns['inputs'][0], strict=True):
        found[int(epoch), int(row)] = inputs
    opened.close()
    return found

  found = epochs(0, 8)
  assert len(found) == 24
  for again in (epochs(0, 3), epochs(0, 6, first=2), epochs(0, 8, workers=1)):
    for example, inputs in again.items():
      np.testing.assert_array_equal(inputs, found[example])
  pairs = [(found[0, row], found[1, row]) for row in range(8)]
  assert all(np.any(a != b) for a, b in pairs)
  other = epochs(1, 8)
  assert all(np.any(found[key] != other[key]) for key in found)


def loader(data, context, said, **keywords):
  context.say = said.append
  return batches.open_loader(
    Batches(source=None, batch_size=3, **keywords), 'test', context, ONE, dataset=data,
    seed=0, shuffle=False, steps=0, transforms=())


def at(opened, step):
  return jax.tree.map(np.asarray, opened.batch(
    opened.resident, opened.host_batch(step, 1), 0, jax.random.key(0)[None]))


@pytest.mark.parametrize('settings', [
  {'resident': True}, {'resident': False}, {'resident': False, 'workers': 2}])
def test_the_same_is_skipped_and_named_however_it_is_read(
    context, settings, parsed_flags):
  bad = TRUNCATED
  said, data = [], pets(context, [*GOOD[:4], bad, GOOD[5], bad, GOOD[7]])
  opened = loader(data, context, said, corrupt=2, **settings)
  seen = [at(opened, step) for step in range(3)]
  opened.close()
  mask, inputs, labels = (np.concatenate([batch[k] for batch in seen])
                          for k in ('mask', 'inputs', 'labels'))
  np.testing.assert_array_equal(mask, [1, 1, 1, 1, 0, 1, 0, 1, 0])
  good = [0, 1, 2, 3, 5, 7]
  np.testing.assert_array_equal(inputs[mask > 0, 0, 0, 0], 10 * np.array(good))
  np.testing.assert_array_equal(labels[mask > 0], np.array(good) % 3)
  said = [line for line in said if 'decoding' not in line]
  assert said == [
    f"evals.test: skipped as corrupt: row {row} (example {row} of pets train, record "
    f"{row} of pets-train.array_record-00000-of-00001, file_name 'bad.jpg': OSError: "
    f'Truncated File Read) ({count} so far, at most 2)'
    for count, row in ((1, 4), (2, 6))]


def test_an_error_of_a_worker_is_the_users(context, parsed_flags):
  data = pets(context, [TRUNCATED] * 5)
  opened = loader(data, context, [], resident=False, workers=1)
  with pytest.raises(UserError, match=r'none of the first . examples of'):
    opened.host_batch(0, 1)
  opened.close()


@pytest.mark.parametrize('resident', [True, False])
@pytest.mark.parametrize('label', [-1, 3])
def test_a_label_that_is_no_class_is_named(context, label, resident):
  noise = jpeg(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
  data = pets(context, [*GOOD[:4], record(noise, label, 'odd.jpg')], 'train[1:]')
  with pytest.raises(UserError, match=rf'evals\.test: the label of row 3 is {label}, '
                     r"must be 0 to 2 for 3 classes \(example 4 of pets .*'odd.jpg'\)"):
    opened = loader(data, context, [], resident=resident)
    for step in range(2):
      at(opened, step)


@pytest.mark.parametrize('resident', [True, False])
def test_a_dataset_without_labels(context, resident):
  whole = pets(context, [*GOOD[:4], TRUNCATED])
  source = tfds.Tfds('pets', labels=None)
  data = source.open(context)
  assert data.classes is None and data.identity != whole.identity
  assert data.nbytes == 5 * 8 * 8 * 3
  shapes = source.open(dataclasses.replace(context, shapes_only=True))
  assert {*shapes.load()} == {'inputs'}
  assert dataset_spec.record(shapes) == dataset_spec.record(data)
  opened = loader(data, context, [], resident=resident)
  seen = [at(opened, step) for step in range(2)]
  opened.close()
  assert 'labels' not in seen[0]
  images = np.concatenate([batch['inputs'] for batch in seen])
  mask = np.concatenate([batch['mask'] for batch in seen])
  np.testing.assert_array_equal(mask, [1, 1, 1, 1, 0, 0])
  np.testing.assert_array_equal(images[:4, 0, 0, 0], [0, 10, 20, 30])
