"""Tests of data.ImageFolder: what is read, cached, masked, refused and said."""

import dataclasses
import pathlib
import pickle
import shutil
from functools import partial

import numpy as np
import pytest
from PIL import Image

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data import dataset_spec, origins
from bigmodels.data.readers.reader import joined
from tests.data.folders.written import context, encoded, many, picture, write

THREE = {'train': 0.6, 'validation': 0.2, 'test': 0.2}


@pytest.fixture
def photos(tmp_path):
  """40 images of two classes, 8 x 8 pixels; name -> pixels."""
  return write(tmp_path / 'photos', many(['cat', 'dog'], 20))


def source(tmp_path, **options):
  return data.ImageFolder(str(tmp_path / 'photos'), **options)


def pixels(dataset):
  """Name of each file -> its pixels, label, and whether it is corrupt."""
  columns = dataset.load()
  return {dataset.describe(row).partition(':')[0]: (
    columns['inputs'][row], int(columns['labels'][row]), bool(columns['corrupt'][row]))
    for row in range(dataset.length)}


def test_splits_hold_every_file_once_with_its_pixels_and_label(tmp_path, photos):
  asked, found = context(tmp_path), {}
  for split in THREE:
    dataset = source(tmp_path, splits=THREE).split(split).open(asked)
    assert dataset.classes == ('cat', 'dog')
    assert dataset.length == {'train': 24}.get(split, 8)
    assert dataset.nbytes == dataset.length * (8 * 8 * 3 + 4)
    counts = np.bincount(dataset.load()['labels'])
    assert counts[0] == counts[1]
    found |= pixels(dataset)
  assert found.keys() == photos.keys()
  for name, (image, label, corrupt) in found.items():
    np.testing.assert_array_equal(image, photos[name])
    assert (label, corrupt) == (name.startswith('dog'), False)
  assert '  test: 8 images: cat 4, dog 4' in asked.said
  assert len(asked.said) == len({*asked.said})  # each line once, for three splits


def test_images_of_any_size_are_brought_to_one_as_by_pillow(tmp_path):
  expected = {}
  for value, shape in enumerate([(20, 30), (33, 16), (8, 8), (16, 16), (5, 40)]):
    name = f'{"ab"[value % 2]}/{value}.png'
    write(tmp_path / 'photos', [name], value, shape=shape)
    image = picture(value, shape)
    height, width = shape
    side = min(shape)
    box = ((width - side) / 2, (height - side) / 2, (width + side) / 2,
           (height + side) / 2)
    expected[name] = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR, box)
                                if shape != (16, 16) else image)
  asked = context(tmp_path)
  found = pixels(source(tmp_path, size=16, selected=None).open(asked))
  for name, image in expected.items():
    np.testing.assert_array_equal(found[name][0], image)
  assert ('  size: 4 of 5 images are resized to 16 x 16 pixels, cut to the aspect at '
          'the center (resize=squeeze changes that); 2 are smaller, and enlarged'
          ) in asked.said
  squeezed = source(tmp_path, size=(12, 16), resize='squeeze', selected=None)
  columns = squeezed.open(asked).read(np.array([0]))
  np.testing.assert_array_equal(columns['inputs'][0], np.asarray(
    picture(0, (20, 30)).resize((16, 12), Image.Resampling.BILINEAR)))
  with pytest.raises(UserError, match=r'photos: images have 5 sizes, such as .* set '
                                      r'size=, such as size=64, or fit='):
    source(tmp_path).open(context(tmp_path))


@pytest.mark.parametrize('cache', [True, False])
def test_corrupt_files_are_named_and_zero(tmp_path, photos, cache):
  jpeg = encoded(picture(99), 'JPEG')
  for name, bad in (('cat/bad.png', b'no image'), ('dog/cut.jpg', jpeg[:-60]),
                    ('dog/empty.png', b'')):
    (tmp_path / 'photos' / name).write_bytes(bad)
  asked = context(tmp_path)
  dataset = source(tmp_path, selected=None, cache=cache).open(asked)
  found = pixels(dataset)
  assert {name for name, (*_, corrupt) in found.items() if corrupt} == {
    'cat/bad.png', 'dog/cut.jpg', 'dog/empty.png'}
  assert not any(image.any() for image, _, corrupt in found.values() if corrupt)
  assert [found[name][1] for name in ('cat/bad.png', 'dog/cut.jpg')] == [0, 1]
  rows = {dataset.describe(row) for row in range(dataset.length)}
  assert 'cat/bad.png: cannot identify image file' in rows
  assert any(row.startswith('dog/cut.jpg: ') for row in rows)
  assert ('  corrupt: 2 images whose header cannot be read: cat/bad.png, dog/empty.png'
          in asked.said)
  columns = dataset.read(np.arange(dataset.length))
  for name, column in dataset.load().items():
    np.testing.assert_array_equal(columns[name], column)


def test_conversions_are_counted_and_said_again_from_the_cache(tmp_path, photos):
  deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
  for name in ('cat/deep.png', 'dog/deep.png'):
    deep.putpixel((0, 0), len(name) + ord(name[0]))
    deep.save(tmp_path / 'photos' / name)
  for _ in range(2):
    asked = context(tmp_path)
    found = pixels(source(tmp_path, selected=None).open(asked))
    assert found['cat/deep.png'][0][4, 4].tolist() == [40_000 >> 8] * 3
    assert ('2 images of mode I;16 scaled to 8 bits (such as cat/deep.png)'
            in asked.said)
    assert ('  channels=3: 2 of 42 images are grey, and get three equal channels'
            in asked.said)


def test_channels_are_found_and_kept_with_the_run(tmp_path):
  write(tmp_path / 'photos', many(['a', 'b'], 3), channels=1)
  asked = context(tmp_path)
  grey = source(tmp_path, selected=None).open(asked)
  assert grey.load()['inputs'].shape == (6, 8, 8, 1)
  write(tmp_path / 'photos', ['a/new.png'], 50)  # in color
  assert source(tmp_path, selected=None).open(asked).load()['inputs'].shape[-1] == 1
  assert '  channels=1: 1 of 7 images are in colour, and become grey' in asked.said
  fresh = source(tmp_path, selected=None).open(context(tmp_path))
  assert fresh.load()['inputs'].shape == (7, 8, 8, 3)


# --- the cache and identity -----------------------------------------------------




def test_files_are_decoded_once_until_one_changes(tmp_path, photos, monkeypatch):
  from bigmodels.data.cached import manifests

  monkeypatch.setattr(manifests, 'TICK', 0)
  asked = context(tmp_path)
  before = source(tmp_path).open(asked)
  before.load()
  assert [line.partition(' (')[0] for line in asked.said if 'once' in line] == [
    'reading 40 images of photos', 'decoding 40 images']
  again = context(tmp_path)
  monkeypatch.setattr('bigmodels.data.folders.decoding.examples', None)
  dataset = source(tmp_path).split('test').open(again)
  dataset.load()
  assert not any('decoding' in line or 'reading' in line for line in again.said)
  monkeypatch.undo()
  path = tmp_path / 'photos' / 'cat' / '000.png'
  path.write_bytes(encoded(picture(123)))
  changed = context(tmp_path)
  dataset = source(tmp_path, selected=None).open(changed)
  np.testing.assert_array_equal(pixels(dataset)['cat/000.png'][0], picture(123))
  assert any('decoding 40 images again, since' in line for line in changed.said)


def test_identity_is_of_names_labels_and_contents(tmp_path, photos):
  def identity(folder='photos', **options):
    return data.ImageFolder(str(tmp_path / folder), **options).open(
      context(tmp_path)).identity.partition('sha256')[2]

  before = identity()
  shutil.copytree(tmp_path / 'photos', tmp_path / 'copy')
  assert identity('copy') == before != identity(selected='test')
  (tmp_path / 'copy/cat/000.png').rename(tmp_path / 'copy/cat/zzz.png')
  assert identity('copy', selected=None) != identity(selected=None)


def test_read_can_be_sent_to_workers_and_equals_load(tmp_path, photos):
  dataset = source(tmp_path).open(context(tmp_path))
  rows = np.array([3, 0, 7])
  expected = dataset.load()
  for read in (dataset.read, pickle.loads(pickle.dumps(dataset.read))):
    for name, column in read(rows).items():
      np.testing.assert_array_equal(column, expected[name][rows])


def test_a_path_is_found_from_any_folder_and_under_data_dir(tmp_path, photos,
                                                            monkeypatch):
  monkeypatch.chdir(tmp_path)
  made = data.ImageFolder('photos')
  assert made.path == str(tmp_path / 'photos')
  monkeypatch.chdir('/')
  assert made.open(context(tmp_path)).length == 32
  assert data.ImageFolder('photos').path == 'photos'
  assert data.ImageFolder('photos').open(context(tmp_path)).length == 32


def test_only_headers_are_read_for_shapes(tmp_path, photos):
  asked = dataclasses.replace(context(tmp_path), shapes_only=True)
  dataset = source(tmp_path, size=4).open(asked)
  assert dataset.shapes_only and dataset.length == 32 and dataset.nbytes == 32 * 52
  assert dataset.load()['inputs'].shape == (32, 4, 4, 3)
  assert not (tmp_path / 'cache').exists()


# --- splits ---------------------------------------------------------------------


def test_a_copy_of_a_training_image_in_test_is_refused_or_left_out(tmp_path):
  write(tmp_path / 'photos', many('ab', 5, 'train/') + many('ab', 2, 'test/'))
  copy = tmp_path / 'photos' / 'test' / 'b' / 'copy.png'
  shutil.copy(tmp_path / 'photos' / 'train' / 'a' / '003.png', copy)
  for split in ('train', 'test'):
    with pytest.raises(UserError, match=r'photos: 1 file of train is equal to files '
                       r'of test, .*: train/a/003.png = test/b/copy.png; duplicates='):
      source(tmp_path).split(split).open(context(tmp_path))
  asked = context(tmp_path)
  dropped = source(tmp_path, duplicates='drop')
  assert dropped.open(asked).length == 9
  assert dropped.split('test').open(asked).length == 5
  assert any('dropped: 1 file of train' in line for line in asked.said)
  assert any('with two labels: test/b/copy.png = train/a/003.png' in line
             for line in asked.said)


def test_equal_images_of_two_folders_are_found(tmp_path, photos):
  write(tmp_path / 'other', many(['cat', 'dog'], 4), 100)
  shutil.copy(tmp_path / 'photos/cat/001.png', tmp_path / 'other/dog/x.png')
  ours = source(tmp_path, selected=None).open(context(tmp_path)).origin
  theirs = data.ImageFolder(str(tmp_path / 'other'), selected=None).open(
    context(tmp_path)).origin
  assert origins.shared(ours, theirs) == ('files of equal content', 1)
  apart = [source(tmp_path).split(name).open(context(tmp_path)).origin
           for name in ('train', 'test')]
  assert origins.shared(*apart) == ('', 0)


def test_a_split_that_is_missing(tmp_path):
  write(tmp_path / 'photos', many('ab', 12, 'train/') + many('ab', 2, 'val/'))
  with pytest.raises(UserError, match=r"no split 'test' given by folders.*choose from"):
    source(tmp_path).split('test').open(context(tmp_path))
  cut = source(tmp_path, splits=THREE)
  assert [cut.split(name).open(context(tmp_path)).length
          for name in ('train', 'validation', 'test')] == [18, 4, 6]


def test_a_csv_of_numbers(tmp_path):
  write(tmp_path / 'images', many('x', 20))
  rows = [f'x/{n:03}.png,{n / 2},{"train" if n % 5 else "test"}' for n in range(20)]
  path = tmp_path / 'ages.csv'
  path.write_text('\n'.join(['image,age,split', *rows]))
  dataset = data.ImageFolder(str(path), task='regression', file_column='image',
                             label_column='age', folder=str(tmp_path / 'images'),
                             selected='test').open(context(tmp_path))
  assert dataset.load()['labels'].tolist() == [0, 2.5, 5, 7.5]
  assert dataset.classes is None and dataset.target == 'age'


def test_images_without_labels(tmp_path, photos):
  dataset = source(tmp_path, task=None, selected=None).open(context(tmp_path))
  assert dataset.load().keys() == {'inputs', 'corrupt'} and dataset.classes is None


# --- crops, and files without labels --------------------------------------------


def test_a_random_fit_is_a_function_of_the_seed(tmp_path, photos):
  fit = partial(data.images.random_resized_crop, size=6)
  dataset = source(tmp_path, fit=fit).open(context(tmp_path))
  seeds = np.arange(8, dtype=np.uint64).reshape(4, 2)
  rows = np.arange(4)
  one, same = dataset.read(rows, seeds), dataset.read(rows[::-1], seeds[::-1])
  np.testing.assert_array_equal(one['inputs'], same['inputs'][::-1])
  other = dataset.read(rows, seeds + np.uint64(9))
  assert one['inputs'].shape == (4, 6, 6, 3)
  assert (other['inputs'] != one['inputs']).any()
  for row, seed, found in zip(rows, seeds, one['inputs'], strict=True):
    rng = np.random.Generator(np.random.Philox(key=seed))
    np.testing.assert_array_equal(found, fit(photos[dataset.describe(row)], rng))
  assert dataset.nbytes is None and dataset.labels().tolist() == [0] * 16 + [1] * 16
  with pytest.raises(UserError, match=r'`fit` or a random crop change.*resident=True'):
    dataset.load()
  broken = source(tmp_path, fit=lambda image, rng: image[:, :, 7]).open(
    context(tmp_path))
  with pytest.raises(UserError, match=r'`fit` fails for an image \(8, 8, 3\): Index'):
    broken.read(rows)


def ask(made, context, *paths, labels=False):
  """New examples, as a finished run of the source reads them."""
  return joined([*made.reader(context).examples([*paths], labels=labels).chunks(0)])


@pytest.mark.parametrize('options', [
  {'size': 5}, {}, {'fit': partial(data.images.centre_crop, size=4, shorter=6)}])
def test_files_are_read_as_those_of_an_evaluation(tmp_path, photos, options):
  asked = context(tmp_path)
  made = source(tmp_path, selected='test', **options)
  dataset = made.open(asked)
  expected = dataset.read(np.arange(dataset.length))['inputs']
  paths = [tmp_path / 'photos' / dataset.describe(row)
           for row in range(dataset.length)]
  asked.kept['train'] = dataset_spec.record(dataset)
  found = ask(made, asked, *paths)
  np.testing.assert_array_equal(found.columns['inputs'], expected)
  assert not found.faults and found.names == [*map(str, paths)]
  labelled = ask(made, asked, *paths, labels=True)
  np.testing.assert_array_equal(
    labelled.labels, dataset.read(np.arange(dataset.length))['labels'])
  whole = ask(made, asked, tmp_path / 'photos')
  assert whole.names == [str(tmp_path / 'photos' / name) for name in sorted(photos)]


def test_files_that_cannot_be_read_are_zeros_with_the_reason(tmp_path, photos):
  asked = context(tmp_path)
  made = source(tmp_path)
  made.open(asked)
  write(tmp_path, ['wide.png'], shape=(8, 9))
  (tmp_path / 'bad.png').write_bytes(b'x')
  found = ask(made, asked, *(
    tmp_path / name for name in ('bad.png', 'wide.png', 'photos/cat/000.png')))
  assert found.faults == {
    0: 'cannot be decoded: cannot identify image file',
    1: 'cannot be decoded: 9 x 8 pixels, must be 8 x 8 pixels'}
  assert [image.any() for image in found.columns['inputs']] == [False, False, True]
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='there is no image'):
    ask(made, asked, tmp_path / 'empty')


def test_labels_of_new_images(tmp_path, photos):
  asked = context(tmp_path)
  made = source(tmp_path)
  asked.kept['train'] = dataset_spec.record(made.open(asked))
  write(tmp_path, ['new/dog/a.png', 'new/cat/deep/b.png', 'other/emu/c.png'])
  found = ask(made, asked, tmp_path / 'new', labels=True)
  classes = asked.kept['train']['classes']
  assert [classes[i] for i in found.labels] == ['cat', 'dog']
  with pytest.raises(UserError, match=r'emu/c.png: no folder around it has'):
    ask(made, asked, tmp_path / 'other', labels=True)
  (tmp_path / 'new.csv').write_text('file,label\nnew/dog/a.png,cat\n')
  found = ask(made, asked, tmp_path / 'new.csv', labels=True)
  assert classes[found.labels[0]] == 'cat'
  (tmp_path / 'new.csv').write_text('file,label\nnew/dog/a.png,emu\n')
  assert ask(made, asked, tmp_path / 'new.csv').length == 1
  with pytest.raises(UserError, match="the label 'emu' is not one of the classes"):
    ask(made, asked, tmp_path / 'new.csv', labels=True)


def test_new_images_without_the_channels_of_the_run_are_told(tmp_path, photos):
  write(tmp_path / 'new', ['grey.png'], channels=1)
  write(tmp_path / 'new', ['colour.png'])
  for channels, line in ((3, '1 image grey, with three equal channels (such as '),
                         (1, '1 image of mode RGB turned to L (such as ')):
    asked = context(tmp_path)
    made = source(tmp_path, channels=channels, size=8)
    asked.kept['train'] = dataset_spec.record(made.open(asked))
    assert not any(line in said for said in asked.said)
    ask(made, asked, tmp_path / 'new')
    assert [said for said in asked.said if line in said] == [
      f'{line}{tmp_path}/new/{"grey" if channels == 3 else "colour"}.png)']


@pytest.mark.parametrize('resize, how', [
  ('crop', 'cut to the aspect at the center'),
  ('squeeze', 'squeezed, aspect not kept')])
def test_new_images_of_another_size_are_told(tmp_path, photos, resize, how):
  write(tmp_path / 'new', ['large.png', 'larger.png'], shape=(20, 31))
  write(tmp_path / 'new', ['same.png'], shape=(8, 8))
  asked = context(tmp_path)
  made = source(tmp_path, size=8, resize=resize)
  asked.kept['train'] = dataset_spec.record(made.open(asked))
  ask(made, asked, tmp_path / 'new')
  assert [said for said in asked.said if 'of another size' in said] == [
    f'2 images of another size, resized to 8 x 8 pixels, {how} (such as '
    f'{tmp_path}/new/large.png)']


@pytest.mark.parametrize(('options', 'said'), [
  ({'size': 0}, 'size: must be a number of pixels >= 1, or two, got 0'),
  ({'size': (4, 4, 4)}, 'size: must be a number of pixels >= 1, or two'),
  ({'size': 4, 'fit': print}, 'size: is set by fit, which is given too'),
  ({'resize': 'squeez'}, "resize: no way 'squeez'; did you mean 'squeeze'"),
  ({'channels': 4}, 'channels: must be 1 or 3, got 4'),
  ({'task': 'classify'}, "task: no task 'classify'; did you mean 'classification'"),
  ({'duplicates': 'keep'}, "duplicates: must be 'refuse' or 'drop', got 'keep'"),
  ({'path': ''}, 'path: must be the path of a file or folder'),
  ({'path': ()}, 'path: must be at least one path, got none')])
def test_settings_that_are_refused(options, said):
  with pytest.raises(ValueError, match=said):
    data.ImageFolder(**{'path': 'photos', **options})


def test_fractions_are_refused_before_files_are_read():
  with pytest.raises(UserError, match=r'the fractions must add up to 1, got 0\.5$'):
    data.ImageFolder('photos', splits={'train': 0.5})


@pytest.mark.parametrize(('options', 'said'), [
  ({'path': 'gone'}, 'gone: there is no .*gone'),
  ({'path': 'photos', 'task': 'regression'}, "'regression' needs a CSV file of num"),
  ({'path': ('a.csv', 'photos')}, 'path: a CSV file must be the only path')])
def test_paths_that_are_refused(tmp_path, photos, options, said):
  with pytest.raises(UserError, match=said):
    data.ImageFolder(**options).open(context(tmp_path))


def test_a_folder_of_damaged_files_is_refused(tmp_path):
  for name in ('a/1.png', 'b/1.png'):
    path = pathlib.Path(tmp_path / 'photos' / name)
    path.parent.mkdir(parents=True)
    path.write_bytes(b'x')
  with pytest.raises(UserError, match=r'none of 2 images can be read, such as a/1'):
    source(tmp_path, size=4).open(context(tmp_path))


# --- splits of classes -----------------------------------------------------------


def test_each_split_may_have_its_own_classes(tmp_path):
  names = [f'{person}/{i}.png' for person in 'abcdefghij' for i in range(3)]
  photos, asked, seen = write(tmp_path / 'photos', names), context(tmp_path), {}
  for split in THREE:
    given = source(tmp_path, divide='classes', splits=THREE).split(split)
    dataset = given.open(asked)
    assert dataset.length == 3 * len(dataset.classes)
    found = pixels(dataset)
    assert {*dataset.ids['file']} == {*found}
    for name, (image, label, _) in found.items():
      np.testing.assert_array_equal(image, photos[name])
      assert dataset.classes[label] == name[0]
    assert not seen.keys() & found.keys()
    seen |= found
    asked.shapes_only = True  # the same classes without decoding
    assumed = given.open(asked)
    assert (assumed.length, assumed.classes) == (dataset.length, dataset.classes)
    asked.shapes_only = False
  assert seen.keys() == photos.keys()
  assert '  train: 18 images of 6 classes' in asked.said


def test_settings_of_splits_of_classes(tmp_path):
  with pytest.raises(ValueError, match="divide: must be 'files' or 'classes', got 'a'"):
    source(tmp_path, divide='a')
  with pytest.raises(ValueError, match="divide: must be 'files' with task=None"):
    source(tmp_path, divide='classes', task=None)
