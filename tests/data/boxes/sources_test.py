"""Tests of the sources of boxes in files: the same objects in every format, errors."""

import dataclasses
import json
import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from tests.data.boxes import written

EXAMPLES = written.examples(6)


def context(lines=None):
  return DataContext(None, None, {}, say=(lines if lines is not None else []).append)


def pictures(folder, suffix='.png'):
  folder.mkdir(parents=True, exist_ok=True)
  for row, example in enumerate(EXAMPLES):
    Image.fromarray(example.picture).save(folder / f'{row}{suffix}')


def coco(folder, **changes):
  """The examples as COCO has them; returns the JSON."""
  pictures(folder / 'images')
  boxes = [(row, index) for row, each in enumerate(EXAMPLES)
           for index in range(len(each.objects.labels))]
  found = {
    'images': [{'id': 100 + row, 'file_name': f'{row}.png', 'height': each.size[0],
                'width': each.size[1]} for row, each in enumerate(EXAMPLES)],
    'categories': [{'id': 7 * index + 1, 'name': name}
                   for index, name in enumerate(written.CLASSES)],
    'annotations': []}
  for number, (row, index) in enumerate(boxes):
    objects = EXAMPLES[row].objects
    top, left, bottom, right = objects.boxes[index].tolist()
    found['annotations'].append({
      'id': number, 'image_id': 100 + row,
      'category_id': 7 * int(objects.labels[index]) + 1,
      'bbox': [left, top, right - left, bottom - top],
      'area': float(objects.areas[index]), 'iscrowd': int(objects.crowd[index])})
  found |= changes
  (folder / 'boxes.json').write_text(json.dumps(found))
  return found


def voc(folder, first=1):
  """The examples as Pascal VOC has them; crowds are difficult."""
  pictures(folder / 'JPEGImages')
  (folder / 'Annotations').mkdir()
  for row, example in enumerate(EXAMPLES):
    objects = example.objects
    boxes = objects.boxes.astype(int) + np.array([first, first, 0, 0])
    inside = ''.join(
      f'<object><name>{written.CLASSES[label]}</name><difficult>{int(hard)}</difficult>'
      f'<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>'
      f'<ymax>{bottom}</ymax></bndbox></object>' for label, hard, (
        top, left, bottom, right) in zip(objects.labels, objects.crowd, boxes.tolist(),
                                         strict=True))
    (folder / 'Annotations' / f'{row}.xml').write_text(
      f'<annotation><filename>{row}.png</filename><size><width>{example.size[1]}'
      f'</width><height>{example.size[0]}</height></size>{inside}</annotation>')


def yolo(folder):
  """The examples as YOLO has them."""
  pictures(folder / 'images' / 'train')
  (folder / 'labels' / 'train').mkdir(parents=True)
  for row, example in enumerate(EXAMPLES[:-1]):  # the last has no objects
    size = np.tile(np.array(example.size), 2)
    lines = []
    for label, box in zip(example.objects.labels, example.objects.boxes / size,
                          strict=True):
      top, left, bottom, right = box.tolist()
      lines.append(f'{label} {(left + right) / 2:.7f} {(top + bottom) / 2:.7f} '
                   f'{right - left:.7f} {bottom - top:.7f}')
    (folder / 'labels' / 'train' / f'{row}.txt').write_text('\n'.join(lines) + '\n')
  (folder / 'data.yaml').write_text(
    'path: .\ntrain: images/train\nnames:\n' + ''.join(
      f'  {index}: {name}\n' for index, name in enumerate(written.CLASSES)))


WHOLE = {'train': 1.0}
FORMATS = {
  'coco': (coco, lambda folder: data.boxes.Coco(
    str(folder / 'boxes.json'), str(folder / 'images'), WHOLE)),
  'voc': (voc, lambda folder: data.boxes.Voc(str(folder), splits=WHOLE)),
  'yolo': (yolo, lambda folder: data.boxes.Yolo(str(folder / 'data.yaml')))}


@pytest.mark.parametrize('name', FORMATS)
def test_objects_are_those_that_were_written(name, tmp_path):
  if name == 'yolo':
    pytest.importorskip('yaml', reason='pip install -r requirements-detection.txt')
  write, source = FORMATS[name]
  write(tmp_path)
  annotations = source(tmp_path).read('train', context())
  assert annotations.classes == written.CLASSES and annotations.length == 6
  for row in range(6):
    number = int(pathlib.Path(annotations.example(row).picture).stem)
    found, expected = annotations.example(row), EXAMPLES[number]
    assert found.size == expected.size
    np.testing.assert_allclose(found.objects.boxes, expected.objects.boxes, atol=1e-4)
    np.testing.assert_array_equal(found.objects.labels, expected.objects.labels)
    if name != 'yolo':
      np.testing.assert_array_equal(found.objects.crowd, expected.objects.crowd)
    if name == 'coco':
      np.testing.assert_allclose(found.objects.areas, expected.objects.areas)
  dataset = data.Detection(source(tmp_path), (64, 96)).open(context())
  columns = pickle.loads(pickle.dumps(dataset.read))(np.arange(6))
  sizes = [each.size for each in EXAMPLES]
  np.testing.assert_array_equal(np.sort(columns['sizes'], 0), np.sort(sizes, 0))
  assert not columns['corrupt'].any()


def test_files_for_each_split(tmp_path):
  found = coco(tmp_path)
  for split, rows in (('a', (0, 1, 2)), ('b', (3, 4, 5))):
    ids = [100 + row for row in rows]
    (tmp_path / f'{split}.json').write_text(json.dumps({
      **found, 'images': [x for x in found['images'] if x['id'] in ids],
      'annotations': [x for x in found['annotations'] if x['image_id'] in ids],
      'categories': found['categories'][:: 1 if split == 'a' else -1]}))
  source = data.Detection(data.boxes.Coco(
    {'train': str(tmp_path / 'a.json'), 'val': str(tmp_path / 'b.json')},
    str(tmp_path / 'images')), (64, 96))
  here = context()
  train, other = (source.split(name).open(here) for name in ('train', 'validation'))
  assert train.length == other.length == 3 and train.classes == other.classes
  expected = EXAMPLES[3].objects.labels
  np.testing.assert_array_equal(other.read([0])['labels'][0, : len(expected)], expected)
  with pytest.raises(UserError, match="path: has no split 'test'"):
    source.split('test').open(here)


def test_lists_of_voc(tmp_path):
  voc(tmp_path)
  (tmp_path / 'ImageSets/Main').mkdir(parents=True)
  (tmp_path / 'ImageSets/Main/train.txt').write_text('0\n1\n')
  (tmp_path / 'ImageSets/Main/val.txt').write_text('4\n')
  (tmp_path / 'ImageSets/Main/cup_train.txt').write_text('0 -1\n')
  source = data.boxes.Voc(str(tmp_path))
  assert source.read('train', context()).length == 2
  found = source.read('validation', context())
  assert found.where(0) == '4.xml' and 'the list val is the split validation' in (
    found.notes)
  (tmp_path / 'ImageSets/Main/train.txt').write_text('0\nmissing\n')
  with pytest.raises(UserError, match=r"train\.txt: names 'missing', which has"):
    source.read('train', context())


def test_voc_that_counts_from_0(tmp_path):
  voc(tmp_path, first=0)
  found = data.boxes.Voc(str(tmp_path), first=0, splits=WHOLE).read('train', context())
  np.testing.assert_allclose(found.example(0).objects.boxes, EXAMPLES[0].objects.boxes)
  with pytest.raises(ValueError, match='first: must be 0 or 1, got 2'):
    data.boxes.Voc(str(tmp_path), first=2)


@pytest.mark.parametrize('changes, message', [
  ({'categories': {}}, "has no list 'categories'"),
  ({'categories': [{'id': 1, 'name': 'Cup'}, {'id': 8, 'name': 'cup'},
                   {'id': 15, 'name': 'x'}]}, "'Cup' and 'cup' are one class"),
  ({'categories': [{'id': 1, 'name': 'a'}]}, 'the category .* is none of its categori'),
  ({'images': [{'id': 100, 'file_name': 'no.png', 'height': 5, 'width': 5}],
    'annotations': []}, "1 picture of 1 is not in .*, such as 'no.png'; images= sets"),
  ({'images': []}, 'annotations are of the image 100, which is none of its images'),
  ({'images': [{'id': 100}]}, "an entry is not as COCO has it: no 'file_name'")])
def test_wrong_files_of_coco(changes, message, tmp_path):
  coco(tmp_path, **changes)
  with pytest.raises(UserError, match=message):
    FORMATS['coco'][1](tmp_path).read('train', context())


@pytest.mark.parametrize('change, message', [
  ({'bbox': [1, 2, 3, 4, 5, 6, 7, 8]}, r'boxes.json, 0.png: the bbox of an annotation '
   r'must be four numbers: left, top, width and height, got \[1, 2, 3'),
  ({'bbox': []}, r'must be four numbers: .*, got \[\]'),
  ({'iscrowd': '0'}, "the iscrowd of an annotation must be 0 or 1, got '0'"),
  ({'area': -1}, 'the area of an annotation must be a number >= 0, got -1')])
def test_wrong_annotations_of_coco(change, message, tmp_path):
  found = coco(tmp_path)
  found['annotations'][0] |= change
  (tmp_path / 'boxes.json').write_text(json.dumps(found))
  with pytest.raises(UserError, match=message):
    FORMATS['coco'][1](tmp_path).read('train', context())


@pytest.mark.parametrize('change, message', [
  ({'file_name': '1.png', 'id': 101}, '2 images have the id 101'),
  ({'file_name': '1.png'}, '1.png is annotated twice, in boxes.json, 1.png and box'),
  ({'width': float('inf')}, 'an entry is not as COCO has it: cannot convert')])
def test_wrong_images_of_coco(change, message, tmp_path):
  found = coco(tmp_path)
  found['images'][5] |= change  # which has no boxes
  (tmp_path / 'boxes.json').write_text(json.dumps(found))
  with pytest.raises(UserError, match=message):
    FORMATS['coco'][1](tmp_path).read('train', context())


def test_wrong_files_of_voc(tmp_path):
  voc(tmp_path)
  (tmp_path / 'ImageSets/Main').mkdir(parents=True)
  source, names = data.boxes.Voc(str(tmp_path)), tmp_path / 'ImageSets/Main/train.txt'
  for content, message in (
    ('\n', 'has no pictures'),
    ('0\n1\n0\n', '0.png is annotated twice, in 0.xml and 0.xml')):
    names.write_text(content)
    with pytest.raises(UserError, match=message):
      source.read('train', context())
  (tmp_path / 'Annotations/again').mkdir()
  path, again = tmp_path / 'Annotations/0.xml', tmp_path / 'Annotations/again/0.xml'
  again.write_text(path.read_text())
  with pytest.raises(UserError, match="two XML files are called '0'"):
    source.read('train', context())
  again.unlink()
  for side in ('inf', 'nan', '50.5'):
    path.write_text('<annotation><filename>0.png</filename><size><width>'
                    f'{side}</width><height>50</height></size></annotation>')
    with pytest.raises(UserError, match=f'0.xml: the size .* whole pixels, got {side}'):
      source.read('train', context())


def test_swapped_corners_and_fractions_of_voc(tmp_path):
  voc(tmp_path)
  path = tmp_path / 'Annotations' / '0.xml'
  text = path.read_text()
  path.write_text(text.replace('<xmin>', '<was>').replace('</xmin>', '</was>').replace(
    '<xmax>', '<xmin>').replace('</xmax>', '</xmin>').replace(
      '<was>', '<xmax>').replace('</was>', '</xmax>'))
  source = data.Detection(data.boxes.Voc(str(tmp_path), splits=WHOLE), (64, 96))
  with pytest.raises(UserError, match=r'0\.xml: box 0, .*, has swapped corners'):
    source.open(context())
  path.write_text('<annotation><filename>0.png</filename><size><width>50</width>'
                  '<height>50</height></size><object><name>cup</name><bndbox>'
                  '<xmin>0.1</xmin><ymin>0.1</ymin><xmax>0.5</xmax><ymax>0.5</ymax>'
                  '</bndbox></object></annotation>')
  with pytest.raises(UserError, match=r'0\.xml: box 0, .*, must be in pixels; it seem'):
    source.open(context())
  path.write_text('<annotation><object></annotation>')
  with pytest.raises(UserError, match=r'0\.xml: is not XML: '):
    source.open(context())


@pytest.mark.parametrize('line, message', [
  ('0 20 30 10 10', r'0\.txt: box 0, .*, must be in fractions of its picture, 0 to 1; '
   'it seems to be in pixels'),
  ('3 0.5 0.5 0.1 0.1', r'0\.txt, line 1: the class 3 must be 0 to 2'),
  ('0 0.5 0.5 0.1', r"line 1: must be a class and four numbers, got '0 0.5 0.5 0.1'"),
  ('0 0.5 0.5 -0.1 0.1', 'line 1: width and height must be >= 0')])
def test_wrong_lines_of_yolo(line, message, tmp_path):
  pytest.importorskip('yaml', reason='pip install -r requirements-detection.txt')
  yolo(tmp_path)
  (tmp_path / 'labels/train/0.txt').write_text(line)
  with pytest.raises(UserError, match=message):
    data.Detection(FORMATS['yolo'][1](tmp_path), (64, 96)).open(context())


@pytest.mark.parametrize('text, message', [
  ('train: images/train', 'has no names of classes, as in names: '),
  ('names: {1: a}\ntrain: images/train', 'the numbers of names must be 0 to 0, got 1'),
  ('names: [a]\ntrain: images/tarin', 'train: there is no folder .*tarin'),
  ('names: [a]\nval: images/train', "has no split 'train', only val"),
  ('names: [a', 'data.yaml: is not YAML: '),
  ('nc: 2\nnames: [a, b, c]\ntrain: images/train', 'nc, the number of classes, is 2, b'
   'ut there are 3 names: a, b, c'),
  ('names: [a, a, c]\ntrain: images/train', "'a' and 'a' are one class under two nam"),
  ('names: [a, yes, c]\ntrain: images/train', 'name of class 1 must be a text, got T'),
  ("names: [a, '', c]\ntrain: images/train", "name of class 1 must be a text, got ''"),
  ('names: [a, b, c]\ntrain: images', r'no picture has a text file of boxes; that of .*'
   r'would be .*labels.train.0.txt')])
def test_wrong_yaml(text, message, tmp_path):
  pytest.importorskip('yaml', reason='pip install -r requirements-detection.txt')
  yolo(tmp_path)
  (tmp_path / 'data.yaml').write_text(text)
  if text.endswith('images'):
    for path in (tmp_path / 'labels/train').iterdir():
      path.unlink()
  with pytest.raises(UserError, match=message):
    FORMATS['yolo'][1](tmp_path).read('train', context())


def test_a_size_that_is_not_that_of_the_file(tmp_path):
  found = coco(tmp_path)
  found['images'][0] |= {'height': 200, 'width': 100}
  (tmp_path / 'boxes.json').write_text(json.dumps(found))
  dataset = data.Detection(FORMATS['coco'][1](tmp_path), (64, 96)).open(context())
  with pytest.raises(UserError, match=r'boxes.json, 0.png: is annotated as 100 x 200 pi'
                                      'xels, the file has'):
    dataset.load()


def test_a_damaged_picture_is_corrupt(tmp_path):
  coco(tmp_path)
  (tmp_path / 'images/1.png').write_bytes(b'no picture')
  dataset = data.Detection(FORMATS['coco'][1](tmp_path), (64, 96)).open(context())
  corrupt = dataset.read(np.arange(6))['corrupt']
  assert corrupt.sum() == 1
  assert '1.png: cannot identify image file' in dataset.describe(int(corrupt.argmax()))


def test_a_damaged_picture_whose_boxes_are_fractions(tmp_path):
  pytest.importorskip('yaml', reason='pip install -r requirements-detection.txt')
  yolo(tmp_path)
  (tmp_path / 'images/train/1.png').write_bytes(b'')
  dataset = data.Detection(FORMATS['yolo'][1](tmp_path), (64, 96)).open(
    context(lines := []))
  found = dataset.read(np.arange(6))
  np.testing.assert_array_equal(found['corrupt'], np.arange(6) == 1)
  assert not found['present'][1].any()
  assert not any('no area' in line for line in lines)
  assert sum('1 picture without a box' in line for line in lines) == 1  # the last


def test_random_splits_are_apart(tmp_path):
  coco(tmp_path)
  source = dataclasses.replace(FORMATS['coco'][1](tmp_path), splits={
    'train': 0.5, 'test': 0.5})
  rows = [source.read(name, context()).origin.rows['paths of pictures']
          for name in ('train', 'test')]
  assert len(rows[0]) == len(rows[1]) == 3 and not {*rows[0]} & {*rows[1]}
