"""Annotated pictures that tests write: flat rectangles on noise, in TFDS's format."""

import json

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from bigmodels.data.boxes.annotations import Example, Objects
from bigmodels.data.sources import DataContext
from tests.data.folders.written import encoded
from tests.data.tfds import prepared

CLASSES = ('ball', 'box', 'cup')


def examples(count, seed=0):
  """Pictures of many sizes, of up to four rectangles each; the last has none."""
  rng, found = np.random.default_rng(seed), []
  for row in range(count):
    size = int(rng.integers(40, 60)), int(rng.integers(50, 80))
    picture = rng.integers(0, 60, (*size, 3), np.uint8)
    boxes, labels = [], []
    for _ in range(0 if row == count - 1 else int(rng.integers(1, 5))):
      top, left = int(rng.integers(0, 25)), int(rng.integers(0, 35))
      bottom, right = top + int(rng.integers(8, 15)), left + int(rng.integers(8, 15))
      labels.append(int(rng.integers(3)))
      picture[top:bottom, left:right, labels[-1]] = 220
      boxes.append([top, left, bottom, right])
    boxes = np.array(boxes, float).reshape(-1, 4)
    areas = np.round(0.8 * np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    found.append(Example(picture, size, Objects(
      boxes, np.array(labels, int), np.arange(len(labels)) == 3, areas)))
  return found


def record(example) -> bytes:
  """An example as TFDS serialises it."""
  made = tf_example_pb2.Example()
  feature, objects = made.features.feature, example.objects
  from PIL import Image

  feature['image'].bytes_list.value.append(encoded(Image.fromarray(example.picture)))
  feature['image/filename'].bytes_list.value.append(b'name.jpg')
  fractions = objects.boxes / np.array([*example.size, *example.size])
  feature['objects/bbox'].float_list.value.extend(fractions.ravel().tolist())
  for name, values in (('label', objects.labels), ('is_crowd', objects.crowd),
                       ('area', objects.areas)):
    feature[f'objects/{name}'].int64_list.value.extend(map(int, values))
  return made.SerializeToString()


def tfds(folder, name='coco/2017', counts=None) -> DataContext:
  """Writes a dataset in the format of `coco` of TFDS; returns its context.

  Args:
    folder: of datasets.
    name: NAME or NAME/CONFIG.
    counts: split -> number of pictures.
  """
  counts = counts or {'train': 6, 'validation': 3, 'test': 2}
  root = folder / name / '1.0.0'
  root.mkdir(parents=True)
  splits, (base, *config) = [], name.split('/')
  for split, count in counts.items():
    writer = ArrayRecordWriter(
      str(root / f'{base}-{split}.array_record-00000-of-00001'), 'group_size:1')
    seed = 0 if split == 'train' else len(split)
    records = [record(each) for each in examples(count, seed)]
    for each in records:
      writer.write(each)
    writer.close()
    splits.append({'name': split, 'shardLengths': [str(count)],
                   'numBytes': str(sum(map(len, records))), 'filepathTemplate':
                   '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'})
  (root / 'features.json').write_text(json.dumps(_features()))
  (root / 'dataset_info.json').write_text(json.dumps({
    'name': base, 'version': '1.0.0', 'fileFormat': 'array_record',
    'moduleName': base, 'splits': splits, **dict(zip(['configName'], config,
                                                     strict=False))}))
  (root / 'objects-label.labels.txt').write_text('\n'.join(CLASSES) + '\n')
  return prepared_context(folder)


def prepared_context(folder) -> DataContext:
  """A context of datasets that nothing is known of yet."""
  prepared.forget()
  return DataContext(str(folder), folder / 'cache', {}, say=lambda line: None)


def _features() -> dict:
  core = 'tensorflow_datasets.core.features'

  def tensor(dtype):
    return {'pythonClassName': f'{core}.tensor_feature.Tensor', 'tensor': {
      'shape': {}, 'dtype': dtype, 'encoding': 'none'}}

  objects = {
    'bbox': {'pythonClassName': f'{core}.bounding_boxes.BBoxFeature',
             'boundingBox': {'shape': {'dimensions': ['4']}, 'dtype': 'float32',
                             'bboxFormat': 'REL_YXYX'}},
    'label': {'pythonClassName': f'{core}.class_label_feature.ClassLabel',
              'classLabel': {'numClasses': str(len(CLASSES))}},
    'is_crowd': tensor('bool'), 'area': tensor('int64')}
  return {
    'pythonClassName': f'{core}.features_dict.FeaturesDict',
    'featuresDict': {'features': {
      'image': {'pythonClassName': f'{core}.image_feature.Image', 'image': {
        'shape': {'dimensions': ['-1', '-1', '3']}, 'dtype': 'uint8',
        'encodingFormat': 'jpeg'}},
      'image/filename': {'pythonClassName': f'{core}.text_feature.Text', 'text': {}},
      'objects': {
        'pythonClassName': f'{core}.sequence_feature.Sequence',
        'sequence': {'length': '-1', 'feature': {
          'pythonClassName': f'{core}.features_dict.FeaturesDict',
          'featuresDict': {'features': objects}}}}}}}
