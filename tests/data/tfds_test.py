"""Tests of bigmodels.data.tfds on small datasets made here, some of them damaged."""

import dataclasses
import functools
import io
import json
import os
import pathlib
import re
import shutil
import socket
import sys
import threading

import jax
import numpy as np
import pytest
from PIL import Image

from bigmodels.core.errors import UserError
from bigmodels.data import (
  Batches,
  batches,
  builders,
  dataset_spec,
  decoded,
  images,
  tfds,
)
from bigmodels.data.sources import DataContext
from bigmodels.data.subset import Subset
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from tests.data.prepared import flat, jpeg, record, write

ONE = layout.make_layout(MeshShape(), 'jit', ())
GOOD = [record(flat(row), row % 3, f'p{row}.jpg') for row in range(8)]
BAD = {
  'truncated': (record(flat(1)[:-40], 1, 'bad.jpg'), 'OSError: Truncated File Read'),
  'no image': (record(b'GIF?', 1, 'bad.jpg'), 'Error: cannot identify image file'),
  'empty': (record(b'', 1, 'bad.jpg'), 'Error: cannot identify image file'),
  'no example': (b'\xff\xff\xff', 'DecodeError: Error parsing message'),
  'another size': (record(flat(1, (9, 8)), 1, 'bad.jpg'),
                   r'image of shape \(9, 8, 3\), the dataset has \(8, 8, 3\)'),
}


@pytest.fixture
def context(tmp_path):
  builders.from_files.cache_clear()
  tfds.data_source.cache_clear()
  return DataContext(str(tmp_path / 'tfds'), tmp_path / 'cache', {}, say=lambda _: None)


def pets(context, records, selected='train', **keywords):
  """The dataset of some records, opened."""
  write(pathlib.Path(context.data_dir), {'train': records}, **keywords)
  return tfds.Tfds('pets', selected).open(context)


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


@pytest.mark.parametrize('digested', [64 << 20, 400])
def test_identity_is_of_the_content(context, tmp_path, monkeypatch, digested):
  monkeypatch.setattr(tfds, '_DIGESTED', digested)
  before = pets(context, GOOD, shards=2).identity
  assert before.startswith('pets/1.0.0 train ')
  moved = shutil.copytree(context.data_dir, tmp_path / 'moved')  # with other times
  files = sorted(moved.glob('pets/*/*train*'))
  for path in files:
    os.utime(path, (1, 1))

  def found(**keywords):
    builders.from_files.cache_clear()
    there = dataclasses.replace(context, data_dir=str(moved))
    return tfds.Tfds('pets', **keywords).open(there).identity

  assert found() == before
  assert found(selected='train[:4]') != before
  assert found(inputs='label', labels='image') != before
  content = bytearray(files[1].read_bytes())
  content[-1] ^= 0xff
  files[1].write_bytes(content)
  assert found() != before


def test_a_file_that_cannot_be_read_is_told(context):
  root = write(pathlib.Path(context.data_dir), {'train': GOOD})
  path, = root.glob('pets/*/*train*')
  path.unlink()
  path.mkdir()
  with pytest.raises(UserError, match=r"--data_dir: pets 'train' cannot be read: .*"
                     r"Is a directory: .*pets-train\.array_record-00000-of-00001"):
    tfds.Tfds('pets').open(context)


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
  data = pets(context, [BAD['truncated'][0]] * 5)
  for read in (data.load, functools.partial(data.read, np.arange(2))):
    with pytest.raises(UserError, match="pets: of the first 5 examples of 'train' none "
                       'can be decoded: OSError'):
      read()


def test_images_of_any_size_have_to_be_of_one(context):
  records = [record(flat(row, (8, 8 + row // 2)), 0, 'a') for row in range(4)]
  data = pets(context, records, shape=('-1', '-1', '3'))
  assert data.nbytes is None
  assert data.read(np.array([2, 3]))['inputs'].shape == (2, 8, 9, 3)
  with pytest.raises(UserError, match="examples of 'image' differ in shape"):
    data.read(np.arange(4))


FIT = functools.partial(images.random_resized_crop, size=6)


def of_any_size(context, fit=FIT, bad=()):
  """Eight images of noise, of as many sizes; what is damaged is made so."""
  chance = np.random.default_rng(0)
  records = [record(jpeg(chance.integers(0, 256, (10 + row, 20 - row, 3), np.uint8)),
                    row % 3, f'p{row}.jpg') for row in range(8)]
  for row in bad:
    records[row] = BAD['truncated'][0]
  write(pathlib.Path(context.data_dir), {'train': records}, shape=('-1', '-1', '3'))
  return tfds.Tfds('pets', fit=fit)


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
    with pytest.raises(UserError, match='none can be decoded'):
      data.read(np.arange(8))
    return
  columns = data.read(np.arange(8))
  assert columns['inputs'].shape == (8, 6, 6, 3)
  np.testing.assert_array_equal(columns['corrupt'], np.isin(np.arange(8), bad))
  assert not columns['inputs'][columns['corrupt']].any()
  only = data.read(np.array([bad[0]]))['inputs'] if bad else np.zeros((1, 6, 6, 3))
  np.testing.assert_array_equal(only, np.zeros((1, 6, 6, 3)))


@pytest.mark.usefixtures('parsed_flags')
def test_what_is_drawn_is_told_by_seed_epoch_and_row(context):
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
    for place, inputs in again.items():
      np.testing.assert_array_equal(inputs, found[place])
  pairs = [(found[0, row], found[1, row]) for row in range(8)]
  assert all(np.any(a != b) for a, b in pairs)
  other = epochs(1, 8)
  assert all(np.any(found[place] != other[place]) for place in found)


@pytest.mark.parametrize('fit, said', [
  (functools.partial(images.centre_crop, size=6, shorter=5),
   r"pets: `fit` fails for 'image' of uint8 \(10, 20, 3\): ValueError: centre_crop: "),
  (lambda image: image, 'TypeError'),
  (lambda image, rng: image, "what `fit` makes of 'image' differs in shape")])
def test_a_fit_that_fails_is_named(context, fit, said):
  data = of_any_size(context, fit).open(context)
  with pytest.raises(UserError, match=said):
    data.read(np.arange(8))


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


def test_labels_that_cannot_be_kept(context, monkeypatch):
  source = of_any_size(context)

  def full(*args):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(decoded.os, 'rename', full)
  with pytest.raises(UserError, match=r'--cache_dir: cannot write .* No space left'):
    Subset(source).open(context)
  assert not list((context.cache_dir / 'decoded').iterdir())


def test_threads_that_read_leave_stderr_as_it_is():
  before, inside = sys.stderr, []

  def work():
    with builders.quiet():
      inside.append(sys.stderr)

  thread = threading.Thread(target=work)
  with builders.quiet():
    quietened = sys.stderr
    thread.start()
    thread.join()
  assert inside == [quietened] and quietened is not before and sys.stderr is before


def test_a_fitted_split_is_never_resident(context):
  with pytest.raises(UserError, match='so it cannot be held in memory'):
    of_any_size(context).open(context).load()


def test_what_the_machine_is_to_blame_for_is_no_damage(context, monkeypatch):
  data = pets(context, GOOD)
  found = tfds._found(tfds.Tfds('pets'), context.data_dir, 'train')
  for error in (ImportError('no pillow'), OSError(5, 'Input/output error'),
                MemoryError()):
    def fail(keys, error=error):
      raise error

    monkeypatch.setattr(type(found), '__getitems__', lambda self, keys: fail(keys))
    with pytest.raises(type(error)):
      data.read(np.arange(2))


def test_what_is_recorded_of_a_split_is_without_damage(context):
  found = dataset_spec.record(pets(context, [BAD['truncated'][0], *GOOD]))
  assert json.loads(json.dumps(found)) == {
    'length': 9, 'classes': ['cat', 'dog', 'newt'],
    'named': True, 'features': None, 'target': None,
    'columns': {'inputs': ['uint8', [8, 8, 3]], 'labels': ['int32', []]}}


def loader(data, context, said, **keywords):
  context.say = said.append
  return batches.open_loader(
    Batches(source=None, batch_size=3, **keywords), 'test', context, ONE, dataset=data,
    seed=0, shuffle=False, steps=0, transforms=())


def at(opened, step):
  return jax.tree.map(np.asarray, opened.batch(
    opened.resident, opened.host_batch(step, 1), 0, jax.random.key(0)[None]))


@pytest.mark.parametrize('road', [
  {'resident': True}, {'resident': False}, {'resident': False, 'workers': 2}])
def test_every_road_leaves_out_the_same_and_names_it(context, road, parsed_flags):
  bad = BAD['truncated'][0]
  said, data = [], pets(context, [*GOOD[:4], bad, GOOD[5], bad, GOOD[7]])
  opened = loader(data, context, said, corrupt=2, **road)
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
  data = pets(context, [BAD['truncated'][0]] * 5)
  opened = loader(data, context, [], resident=False, workers=1)
  with pytest.raises(UserError, match='none can be decoded'):
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


def test_what_is_converted_while_it_trains_is_said_once(context, capsys):
  tfds._said.cache_clear()
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


def prepare_again(context, records, **keywords):
  """Other data in the same place, of the same sizes and times of modification."""
  root = pathlib.Path(context.data_dir)
  before = {path.relative_to(root): path.stat() for path in root.rglob('*')}
  shutil.rmtree(root)
  write(root, {'train': records}, **keywords)
  for path, found in before.items():
    assert path.suffix == '.json' or (root / path).stat().st_size == found.st_size
    os.utime(root / path, ns=(found.st_atime_ns, found.st_mtime_ns))
  builders.from_files.cache_clear()
  tfds.data_source.cache_clear()


@pytest.mark.parametrize('digested', [64 << 20, 40])
def test_other_data_of_the_same_sizes_and_times_is_decoded(
    context, monkeypatch, digested):
  monkeypatch.setattr(tfds, '_DIGESTED', digested)
  said = []
  context.say = said.append
  before = pets(context, GOOD)
  before.load()
  records = [record(flat(row), (row + 1) % 3, f'p{row}.jpg') for row in range(8)]
  prepare_again(context, records)
  after = tfds.Tfds('pets').open(context)
  np.testing.assert_array_equal(after.load()['labels'], (np.arange(8) + 1) % 3)
  assert len(list((context.cache_dir / 'decoded').iterdir())) == 1
  assert len(said) == 2 and said[1].startswith(
    'decoding 8 examples of pets train anew, since ')
  assert 'the data has changed since it was made' in said[1]
  if digested > 1000:
    assert after.identity != before.identity


def test_another_number_of_examples_of_the_same_files(context):
  pets(context, GOOD).load()
  path, = pathlib.Path(context.data_dir).glob('pets/*/dataset_info.json')
  path.write_text(path.read_text().replace('"8"', '"6"'))
  builders.from_files.cache_clear()
  tfds.data_source.cache_clear()
  said = []
  context.say = said.append
  assert len(tfds.Tfds('pets').open(context).load()['labels']) == 6
  assert 'it was made by other rules' in said[0]


def test_labels_that_are_kept_are_compared(context):
  """Labels moved by one in the cache would be another subset."""
  source, said = of_any_size(context), []
  context.say = said.append
  older = pathlib.Path(context.cache_dir / 'decoded')
  before = source.open(context).labels()
  path, = older.glob('*-labels/labels.npy')
  old_one = path.parent.with_name(f'{path.parent.name}.npy')
  np.save(path, np.roll(before, 1))
  np.save(old_one, np.roll(before, 1))
  np.testing.assert_array_equal(source.open(context).labels(), np.arange(8) % 3)
  assert not old_one.exists() and len(said) == 2
  assert said[1].startswith('reading 8 labels of pets train anew, since ')


def test_what_killed_runs_left_is_swept_at_the_start(context):
  pets(context, GOOD).load()
  left = context.cache_dir / 'decoded' / '.pets-1.0.0-train-abcdefgh'
  left.mkdir()
  (left / 'lock').write_text(socket.gethostname())
  (left / 'inputs.npy').write_bytes(bytes(92_000_000 // 100))
  said = []
  tfds.Tfds('pets').open(dataclasses.replace(context, say=said.append))
  assert not left.exists() and said == [
    f'removed 1 folder that killed runs left in {left.parent}, 0.9 MB']


@pytest.mark.parametrize('error', [OSError(5, 'Input/output error')])
def test_data_that_cannot_be_read_is_not_blamed_on_the_cache(
    context, monkeypatch, error):
  data = pets(context, GOOD)
  found = tfds._found(tfds.Tfds('pets'), context.data_dir, 'train')

  def fail(self, keys):
    raise error

  monkeypatch.setattr(type(found), '__getitems__', fail)
  with pytest.raises(UserError, match=r"--data_dir: pets 'train' cannot be read: .*"
                     'Input/output error'):
    data.load()
  assert not list((context.cache_dir / 'decoded').iterdir())


def test_a_missing_file_is_named(context):
  root = write(pathlib.Path(context.data_dir), {'train': GOOD}, shards=2)
  path = sorted(root.glob('pets/*/*train*'))[1]
  path.unlink()
  with pytest.raises(UserError, match=r"--data_dir: pets 'train' cannot be read: .*No "
                     r'such file .*pets-train\.array_record-00001-of-00002'):
    tfds.Tfds('pets').open(context)
