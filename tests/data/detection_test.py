"""Tests of data.Detection and of the sources of boxes: exact boxes, and bad ones."""

import dataclasses
import pickle

import numpy as np
import pytest
from PIL import Image

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data.boxes import annotations, pictures
from bigmodels.data.boxes.annotations import Annotations, Example, Objects
from bigmodels.data.sources import DataContext
from tests.data.boxes import written
from tests.data.folders import written as folder_files


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
  """Annotations that a test gives, split -> classes and examples."""

  splits: dict

  def read(self, split, context):
    del context
    classes, examples = self.splits[split]
    return Annotations('given', len(examples), classes, examples.__getitem__,
                       lambda row: f'picture {row}', f'{split} {len(examples)}')


def example(boxes, labels=None, size=(20, 30), **fields):
  rng = np.random.default_rng(len(boxes))
  labels = np.zeros(len(boxes), int) if labels is None else np.array(labels)
  return Example(rng.integers(0, 256, (*size, 3), np.uint8), size, Objects(
    np.array(boxes, float).reshape(-1, 4), labels, **fields))


def opened(examples, size=(40, 40), classes=('a', 'b'), **settings):
  lines = []
  context = DataContext(None, None, {}, say=lines.append)
  source = data.Detection(Given({'train': (classes, examples)}), size, **settings)
  return source.open(context), lines


def test_a_picture_is_resized_with_its_boxes():
  dataset, lines = opened([
    example([[2, 3, 10, 12], [0, 0, 20, 30]], [1, 0]),
    example([[1, 1, 2, 2]], size=(80, 40))])
  found = dataset.read(np.arange(2))
  assert found['inputs'].shape == (2, 40, 40, 3)
  # 20 x 30 becomes 27 x 40, and 80 x 40 becomes 40 x 20; the rest is padding.
  assert found['inputs'][0, :27].any((1, 2)).all() and not found['inputs'][0, 27:].any()
  assert not found['inputs'][1, :, 20:].any()
  scale = np.array([27 / 20, 40 / 30, 27 / 20, 40 / 30])
  np.testing.assert_allclose(
    found['boxes'][0], scale * [[2, 3, 10, 12], [0, 0, 20, 30]], rtol=1e-6)
  np.testing.assert_allclose(found['boxes'][1, 0], [0.5, 0.5, 1, 1])
  np.testing.assert_array_equal(found['present'], [[True, True], [True, False]])
  np.testing.assert_array_equal(found['labels'][0], [1, 0])
  np.testing.assert_allclose(found['areas'], [[72, 600], [1, 0]])
  np.testing.assert_array_equal(found['sizes'], [[20, 30], [80, 40]])
  np.testing.assert_allclose(found['scales'][1], [0.5, 0.5])
  assert lines == ['given train: 2 pictures, 3 boxes: a 2, b 1']
  assert dataset.classes == ('a', 'b') and dataset.nbytes == sum(
    x.nbytes for name, x in dataset.load().items() if name != 'corrupt')


def test_pictures_of_the_size_are_left_as_they_are():
  picture = example([]).picture
  found = pictures.fit(picture, (20, 30))
  np.testing.assert_array_equal(found.picture, picture)
  np.testing.assert_array_equal(found.scales, 1)


def test_bad_boxes_are_told():
  dataset, lines = opened([
    example([[5, 5, 5, 9], [-2, 3, 10, 40], [1, 1, 4, 4]], [0, 1, 0]), example([])])
  assert lines == [
    'given train: 2 pictures, 2 boxes: a 1, b 1',
    'given train: 1 box of no area left out (such as in picture 0)',
    'given train: 1 box clipped at the edge of the picture (such as in picture 0)',
    'given train: 1 picture without a box, in which nothing is to be found (such as '
    'picture 1)']
  found = dataset.read(np.arange(2))
  np.testing.assert_allclose(found['areas'], [[270, 9], [0, 0]])
  assert not found['present'][1].any()


@pytest.mark.parametrize('box, message', [
  ([9, 2, 3, 8], 'picture 1: box 1, top 9, left 2, bottom 3, right 8, has swapped '
   'corners: top must be <= bottom'),
  ([2, 40, 8, 50], 'picture 1: box 1, .* is outside of its picture of 30 x 20 pixels'),
  ([2, np.nan, 8, 50], 'picture 1: box 1, .* is not finite')])
def test_boxes_that_are_refused(box, message):
  with pytest.raises(UserError, match=message):
    opened([example([[0, 0, 1, 1]]), example([[0, 0, 2, 2], box])])


def test_pixels_and_fractions_are_not_taken_for_each_other():
  with pytest.raises(UserError, match=r'f: box 1, .* must be in fractions of its '
                                      'picture, 0 to 1; it seems to be in pixels'):
    annotations.of_fractions([[0, 0, 1, 1], [3, 4, 20, 30]], (20, 30), 'f')
  with pytest.raises(UserError, match=r'f: box 0, .* must be in pixels; it seems to be '
                                      'in fractions'):
    annotations.in_pixels([[0.1, 0.2, 0.5, 0.6]], 'f')
  np.testing.assert_allclose(annotations.of_fractions(
    [[0, 0.5, 1, 1]], (20, 30), 'f'), [[0, 15, 20, 30]])


def test_classes_that_differ():
  with pytest.raises(UserError, match="'Cat' and 'cat' are one class under two names"):
    annotations.check_classes(('Cat', 'dog', 'cat'), 'x')
  source = data.Detection(Given({
    'train': (('a', 'b'), [example([[0, 0, 9, 9]])]),
    'test': (('b', 'c'), [example([[0, 0, 9, 9]])]),
    'other': (('b', 'a'), [example([[0, 0, 9, 9]])])}), (20, 30))
  context = DataContext(None, None, {}, say=lambda line: None)
  source.open(context)
  with pytest.raises(UserError, match="given test: has the class 'c', which no box of "
                                      'training has'):
    source.split('test').open(context)
  found = source.split('other').open(context)  # in another order
  assert found.classes == ('a', 'b') and found.read([0])['labels'][0, 0] == 1


def file(mode, values=0, kind='PNG', **settings):
  """A picture of 30 x 20 pixels in a file, with a box."""
  image = Image.fromarray(np.full((20, 30), values, np.uint16)) if mode == 'I;16' else (
    Image.new(mode, (30, 20), values))
  return Example(folder_files.encoded(image, kind, **settings), (20, 30), Objects(
    np.array([[0, 0, 9, 9.0]]), np.zeros(1, int)))


def test_what_is_converted_in_pictures_is_told():
  examples = [file('RGB'), file('L', 7), file('L', 9), file('CMYK', kind='TIFF'),
              file('I;16', 2560), file('RGBA', (1, 2, 3, 4))]
  dataset, lines = opened(examples)
  assert len(lines) == 1  # no picture is decoded yet
  found = dataset.load()
  np.testing.assert_array_equal(found['inputs'][:, 0, 0], [
    [0, 0, 0], [7, 7, 7], [9, 9, 9], [255, 255, 255], [10, 10, 10], [1, 2, 3]])
  assert lines[1:] == [f'given train: {line}' for line in (
    '3 pictures grey, with three equal channels (such as picture 1)',
    '1 picture of mode CMYK turned to RGB (such as picture 3)',
    '1 picture of mode I;16 scaled to 8 bits (such as picture 4)',
    '1 picture of mode RGBA stripped of transparency (such as picture 5)')]
  dataset.load()
  dataset.read(np.arange(6))
  assert len(lines) == 5
  dataset, lines = opened([file('L', 7), file('RGB')], channels=1, max_objects=1)
  dataset.read(np.array([0]))
  assert lines == []
  dataset.read(np.array([0, 1]))  # streamed: how many there are is not known
  assert lines == ['given train: pictures of mode RGB turned to L (such as picture 1)']


def test_arrays_get_the_channels_of_the_source():
  grey = example([[0, 0, 9, 9]])._replace(picture=np.full((20, 30, 1), 5, np.uint8))
  dataset, lines = opened([grey])
  assert dataset.load()['inputs'][0, 0, 0].tolist() == [5, 5, 5]
  assert lines[1:] == ['given train: 1 picture grey, with three equal channels (such '
                       'as picture 0)']
  with pytest.raises(UserError, match=r'picture 0: has 3 channels, must have 1: set '
                                      'channels=3'):
    opened([example([[0, 0, 9, 9]])], channels=1)[0].load()


def test_no_box_at_all_is_refused():
  with pytest.raises(UserError, match='none of 2 pictures has a box'):
    opened([example([]), example([])])


def test_more_boxes_than_said_are_refused_by_name():
  dataset, lines = opened([example([[0, 0, 1, 1]] * 3)], max_objects=2)
  assert lines == []  # nothing is read before it is needed
  with pytest.raises(UserError, match='picture 0 has 3 boxes, must have at most 2: set '
                                      'max_objects='):
    dataset.read(np.array([0]))


@pytest.mark.parametrize('settings, message', [
  ({'size': (0, 3)}, 'size: must be a height and a width >= 1, got'),
  ({'size': (3, 3), 'channels': 2}, 'channels: must be 1 or 3, got 2'),
  ({'size': (3, 3), 'max_objects': 0}, 'max_objects: must be >= 1, got 0')])
def test_wrong_settings(settings, message):
  with pytest.raises(ValueError, match=message):
    data.Detection(Given({}), **settings)


# --- digits on canvases ---------------------------------------------------------------


def test_boxes_of_digits_are_exact():
  canvas = data.boxes.DigitCanvas({'train': 12, 'test': 3})
  found = canvas.read('train', DataContext(None, None, {}))
  for row in range(12):
    one = found.example(row)
    picture = one.picture[..., 0].astype(int)
    ink = picture >= 63  # a quarter of white; the background is below 40
    assert picture[~ink].max() < 40
    covered = np.zeros_like(ink)
    for top, left, bottom, right in one.objects.boxes.astype(int):
      window = ink[top:bottom, left:right]
      assert window[0].any() and window[-1].any()
      assert window[:, 0].any() and window[:, -1].any()
      assert not covered[top:bottom, left:right].any()
      covered[top:bottom, left:right] = True
    assert not (ink & ~covered).any()
  again = canvas.read('train', DataContext(None, None, {})).example(3)
  np.testing.assert_array_equal(again.picture, found.example(3).picture)
  other = canvas.read('test', DataContext(None, None, {})).example(1)
  assert (other.picture != found.example(1).picture).any()


def test_a_split_can_be_sent_to_workers(capsys):
  source = data.Detection(data.boxes.DigitCanvas({'train': 3}), (96, 96))
  dataset = source.open(DataContext(None, None, {}, say=lambda line: None))
  there = pickle.loads(pickle.dumps(dataset.read))(np.array([1]))
  assert capsys.readouterr().out == (
    'pictures grey, with three equal channels (such as canvas 1)\n')
  for name, column in dataset.read(np.array([1])).items():
    np.testing.assert_array_equal(there[name], column)


@pytest.mark.parametrize('settings, message', [
  ({'digits': (3, 2)}, r'digits: must be \(smallest, largest\), from 0'),
  ({'enlarged': (0, 2)}, r'enlarged: must be \(smallest, largest\), from 1'),
  ({'size': (20, 90)}, 'size: must be >= 40, the largest digit'),
  ({'counts': {'test': 0}}, "counts: 'test' must be >= 1, got 0")])
def test_wrong_canvases(settings, message):
  with pytest.raises(ValueError, match=message):
    data.boxes.DigitCanvas(**{'counts': {'train': 1}, **settings})


# --- TFDS -----------------------------------------------------------------------------


def test_objects_of_tfds(tmp_path):
  context = written.tfds(tmp_path)
  source = data.Detection(data.boxes.TfdsObjects('coco/2017'), (32, 48))
  dataset = source.open(context)
  found = dataset.load()
  assert dataset.classes == written.CLASSES and dataset.length == 6
  first = written.examples(6)[0]
  np.testing.assert_allclose(found['sizes'][0], first.size)
  scale = np.tile(found['scales'][0], 2)
  count = len(first.objects.labels)
  np.testing.assert_allclose(found['boxes'][0, :count], first.objects.boxes * scale,
                             rtol=1e-4, atol=1e-3)
  np.testing.assert_array_equal(found['labels'][0, :count], first.objects.labels)
  assert found['crowd'].sum() == sum(
    each.objects.crowd.sum() for each in written.examples(6))
  np.testing.assert_allclose(found['areas'][0, :count], first.objects.areas)
  streamed = dataclasses.replace(source, max_objects=9).open(context)
  np.testing.assert_array_equal(
    streamed.read(np.array([2]))['inputs'], found['inputs'][2:3])
  with pytest.raises(UserError, match="no split 'tset'"):
    source.split('tset').open(context)


def test_shapes_of_a_dataset_that_is_not_read(tmp_path):
  context = written.tfds(tmp_path)
  context.shapes_only = True
  dataset = data.Detection(data.boxes.TfdsObjects('coco/2017'), (32, 48)).open(context)
  assert dataset.shapes_only and dataset.length == 6
  assert dataset.read(np.array([0]))['boxes'].shape == (1, 100, 4)
  # The size is known, so that mean and std are those of a split that fits.
  assert dataset.nbytes == sum(array.nbytes for array in dataset.load().values())


def test_bccd_as_it_is(shared_tfds):
  lines = []
  context = DataContext(str(shared_tfds), None, {}, say=lines.append)
  dataset = data.Detection(data.boxes.TfdsObjects('bccd'), (48, 64)).split(
    'validation').open(context)
  assert dataset.classes == ('RBC', 'WBC', 'Platelets') and dataset.length == 87
  assert lines == [
    'bccd validation: 87 pictures, 1,137 boxes: RBC 967, WBC 87, Platelets 83',
    'bccd validation: 1 box of no area left out (such as in bccd validation, example '
    '51)']
