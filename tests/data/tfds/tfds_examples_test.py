"""Tests of bigmodels.data.tfds.tfds_examples: what is decoded, and what is damaged."""

import functools
import io
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from bigmodels.core.errors import UserError
from bigmodels.data import images
from bigmodels.data.tfds import builders, tfds, tfds_examples
from tests.data.tfds.prepared import (
  GOOD,
  TRUNCATED,
  flat,
  fresh_context,
  of_any_size,
  pets,
  record,
  write,
)

BAD = {
  'truncated': (TRUNCATED, 'OSError: Truncated File Read'),
  'no image': (record(b'GIF?', 1, 'bad.jpg'), 'Error: cannot identify image file'),
  'empty': (record(b'', 1, 'bad.jpg'), 'Error: cannot identify image file'),
  'no example': (b'\xff\xff\xff', 'DecodeError: Error parsing message'),
  'another size': (record(flat(1, (9, 8)), 1, 'bad.jpg'),
                   r'image of shape \(9, 8, 3\), the dataset has \(8, 8, 3\)'),
}


@pytest.fixture
def context(tmp_path):
  return fresh_context(tmp_path)


@pytest.mark.parametrize('kind', BAD)
def test_what_cannot_be_decoded_is_zeros_and_says_so(context, kind):
  bad, why = BAD[kind]
  data = pets(context, [*GOOD[:4], bad, GOOD[5], bad, GOOD[7]], 'train[1:]', shards=2)
  corrupt = np.array([False, False, False, True, False, True, False])
  for columns in (data.load(), data.read(np.arange(7)), data.load()):
    np.testing.assert_array_equal(columns['corrupt'], corrupt)
    np.testing.assert_array_equal(
      columns['inputs'][:, 3, 2, 1], np.where(corrupt, 0, 10 * np.arange(1, 8)))
    np.testing.assert_array_equal(
      columns['labels'], np.where(corrupt, 0, np.arange(1, 8) % 3))
  alone = data.read(np.array([5]))  # with nothing that would tell the shape
  assert alone['inputs'].shape == (1, 8, 8, 3) and not alone['inputs'].any()
  assert alone['inputs'].dtype == np.uint8 and alone['labels'].dtype == np.int32
  assert data.describe(0) == (
    'example 1 of pets train, record 1 of pets-train.array_record-00000-of-00002, '
    "file_name 'p1.jpg'")
  found = data.describe(5)
  assert found.startswith(
    'example 6 of pets train, record 2 of pets-train.array_record-00001-of-00002')
  assert ("file_name 'bad.jpg'" in found) == (kind != 'no example')
  assert re.search(why, found) and ' at 0x' not in found


def test_images_have_the_channels_that_the_dataset_declares(context):
  red = Image.new('RGB', (8, 8), (200, 0, 0))
  modes = [red, red.quantize(4), Image.new('RGBA', (8, 8), (200, 0, 0, 255)),
           Image.new('L', (8, 8), 60)]
  assert modes[1].mode == 'P'
  records = []
  for image in modes:
    image.save(file := io.BytesIO(), 'PNG')
    records.append(record(file.getvalue(), 0, 'a'))
  inputs = pets(context, records).load()['inputs']
  for found in inputs[:3]:
    np.testing.assert_array_equal(found, np.broadcast_to([200, 0, 0], (8, 8, 3)))
  np.testing.assert_array_equal(inputs[3], np.full((8, 8, 3), 60))


def test_a_damaged_file_costs_the_examples_that_are_hurt(context):
  root = write(pathlib.Path(context.data_dir), {'train': GOOD})
  path, = root.glob('pets/*/*train*')
  content = bytearray(path.read_bytes())
  content[content.index(b'p3.jpg')] ^= 0xff
  path.write_bytes(content)
  data = tfds.Tfds('pets').open(context)
  columns = data.read(np.arange(8))
  np.testing.assert_array_equal(columns['corrupt'], np.arange(8) == 3)
  np.testing.assert_array_equal(columns['inputs'][4:, 0, 0, 0], [40, 50, 60, 70])
  assert 'example 3 of pets train' in data.describe(3)
  assert 'RuntimeError: Corrupted' in data.describe(3)


def test_a_split_without_a_whole_example_is_refused(context):
  data = pets(context, [TRUNCATED] * 5)
  for read in (data.load, functools.partial(data.read, np.arange(2))):
    with pytest.raises(UserError, match="pets: none of the first 5 examples of 'train' "
                       'can be decoded: OSError'):
      read()


def test_images_of_any_size_have_to_be_of_one(context):
  records = [record(flat(row, (8, 8 + row // 2)), 0, 'a') for row in range(4)]
  data = pets(context, records, shape=('-1', '-1', '3'))
  assert data.nbytes is None
  assert data.read(np.array([2, 3]))['inputs'].shape == (2, 8, 9, 3)
  with pytest.raises(UserError, match="examples of 'image' differ in shape"):
    data.read(np.arange(4))


def test_images_of_any_size_are_fitted_where_they_are_read(context):
  middle = functools.partial(images.centre_crop, size=6, shorter=7)
  data = of_any_size(context, middle).open(context)
  assert data.nbytes is None
  columns = data.read(np.arange(8))
  assert columns['inputs'].shape == (8, 6, 6, 3) and columns['inputs'].dtype == np.uint8
  whole = tfds.Tfds('pets').open(context)
  for row in range(8):
    np.testing.assert_array_equal(
      columns['inputs'][row], middle(whole.read(np.array([row]))['inputs'][0], None))


@pytest.mark.parametrize('bad', [(), (2,), range(8)], ids=str)
def test_a_damaged_image_is_zeros_of_the_fitted_shape(context, bad):
  data = of_any_size(context, bad=bad).open(context)
  if len(bad) == 8:
    with pytest.raises(UserError, match=r'none of the first . examples of'):
      data.read(np.arange(8))
    return
  columns = data.read(np.arange(8))
  assert columns['inputs'].shape == (8, 6, 6, 3)
  np.testing.assert_array_equal(columns['corrupt'], np.isin(np.arange(8), bad))
  assert not columns['inputs'][columns['corrupt']].any()
  only = data.read(np.array([bad[0]]))['inputs'] if bad else np.zeros((1, 6, 6, 3))
  np.testing.assert_array_equal(only, np.zeros((1, 6, 6, 3)))


@pytest.mark.parametrize('fit, said', [
  (functools.partial(images.centre_crop, size=6, shorter=5),
   r"pets: `fit` fails for 'image' of uint8 \(10, 20, 3\): ValueError: centre_crop: "),
  (lambda image: image, 'TypeError'),
  (lambda image, rng: image, "what `fit` makes of 'image' differs in shape")])
def test_a_fit_that_fails_is_named(context, fit, said):
  data = of_any_size(context, fit).open(context)
  with pytest.raises(UserError, match=said):
    data.read(np.arange(8))


def test_what_the_machine_is_to_blame_for_is_no_damage(context, monkeypatch):
  data = pets(context, GOOD)
  found = tfds_examples.opened(tfds.Tfds('pets'), context.data_dir, 'train')
  for error in (ImportError('no pillow'), OSError(5, 'Input/output error'),
                MemoryError()):
    def fail(keys, error=error):
      raise error

    monkeypatch.setattr(type(found), '__getitems__', lambda self, keys: fail(keys))
    with pytest.raises(type(error)):
      data.read(np.arange(2))


def deep(row):
  """A PNG of one channel of 16 bits, whose upper bytes are 4 times 0 to 63."""
  values = np.roll(np.arange(64, dtype=np.uint16) * 1024, row).reshape(8, 8)
  Image.fromarray(values).save(file := io.BytesIO(), 'PNG')
  return file.getvalue()


def test_images_of_16_bits_are_scaled_and_counted(context):
  said = []
  context.say = said.append
  records = [record(deep(row) if row in (2, 5) else flat(row), 0, 'a')
             for row in range(8)]
  data = pets(context, records, shape=('8', '8', '1'))
  for _ in range(2):  # from the cache too
    builders.from_files.cache_clear()
    inputs = tfds.Tfds('pets').open(context).load()['inputs']
    assert inputs.shape == (8, 8, 8, 1) and inputs[2].mean() == 126
    np.testing.assert_array_equal(inputs[2].ravel(), np.roll(np.arange(64) * 4, 2))
  data.load()
  assert [line for line in said if not line.startswith('decoding ')] == [
    'pets train: 6 images of mode RGB turned to L (such as example 0)',
    'pets train: 2 images of mode I;16 scaled to 8 bits (such as example 2)'] * 3


def test_one_image_that_is_converted(context):
  said = []
  context.say = said.append
  data = pets(context, [*GOOD[:7], record(deep(0), 0, 'a')])
  assert data.load()['inputs'][7].mean() == 126
  data.load()
  assert said[1:] == ['pets train: 1 image of mode I;16 scaled to 8 bits (example 7)']


def test_what_is_converted_while_it_trains_is_printed_once(context, capsys):
  tfds_examples._printed.cache_clear()
  records = [record(deep(row), 0, 'a') for row in range(8)]
  data = pets(context, records, shape=('8', '8', '1'))
  data.read(np.arange(2))
  assert capsys.readouterr().out == ''
  for rows in (np.arange(3, 5), np.arange(8)):
    data.read(rows, np.zeros((len(rows), 2), np.uint64))
  assert capsys.readouterr().out == (
    'pets train: images of mode I;16 scaled to 8 bits (such as example 3)\n')


def test_what_cannot_be_converted_is_corrupt(context):
  Image.new('F', (8, 8), 0.5).save(file := io.BytesIO(), 'TIFF')
  data = pets(context, [*GOOD[:3], record(file.getvalue(), 0, 'a')])
  np.testing.assert_array_equal(data.load()['corrupt'], np.arange(4) == 3)
  assert data.describe(3).endswith(
    'mode F of TIFF has no defined range of values to be scaled')
