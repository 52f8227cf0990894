"""Small TFDS datasets of images with boxes, written as TFDS prepares BCCD."""

import json
import pathlib

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from tests.data.tfds import prepared

CLASSES = ('RBC', 'WBC', 'Platelets')
_CORE = 'tensorflow_datasets.core.features'


def boxes_of(row: int, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
  """The boxes of an image, as fractions, float32 `[count, 4]`, and their classes."""
  rng = np.random.default_rng(row)
  corners = rng.uniform(0, 0.6, (count, 2))
  sizes = rng.uniform(0.1, 0.4, (count, 2))
  return np.concatenate([corners, corners + sizes], 1).astype(np.float32), (
    np.arange(count) + row) % 3


def write(root: pathlib.Path, counts: dict[str, int], *, shape=(20, 30),
          name: str = 'bccd', empty: bool = False) -> None:
  """Writes a dataset, version 1.0.0.

  Args:
    root: of datasets, the `data_dir`.
    counts: split -> number of images; each has the boxes of its row.
    shape: height and width of the images.
    name: of the dataset.
    empty: whether the first box of each image is a point.
  """
  folder = root / name / '1.0.0'
  folder.mkdir(parents=True)
  splits = []
  for split, count in counts.items():
    file = f'{name}-{split}.array_record-00000-of-00001'
    writer, size = ArrayRecordWriter(str(folder / file), 'group_size:1'), 0
    for row in range(count):
      pixels = np.random.default_rng([row, len(split)]).integers(0, 256, (*shape, 3))
      boxes, labels = boxes_of(row)
      if empty:
        boxes[0, 2:] = boxes[0, :2]
      example = tf_example_pb2.Example()
      feature = example.features.feature
      feature['image'].bytes_list.value.append(prepared.jpeg(pixels.astype(np.uint8)))
      feature['objects/bbox'].float_list.value.extend(boxes.ravel().tolist())
      feature['objects/label'].int64_list.value.extend(labels.tolist())
      data = example.SerializeToString()
      writer.write(data)
      size += len(data)
    writer.close()
    splits.append({'name': split, 'shardLengths': [str(count)], 'numBytes': str(size),
                   'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'})
  boxes = {'pythonClassName': f'{_CORE}.bounding_boxes.BBoxFeature', 'boundingBox': {
    'bboxFormat': 'REL_YXYX', 'dtype': 'float32', 'shape': {'dimensions': ['4']}}}
  label = {'pythonClassName': f'{_CORE}.class_label_feature.ClassLabel',
           'classLabel': {'numClasses': '3'}}
  image = {'pythonClassName': f'{_CORE}.image_feature.Image', 'image': {
    'dtype': 'uint8', 'encodingFormat': 'jpeg',
    'shape': {'dimensions': [*map(str, (*shape, 3))]}}}

  def dictionary(**features):
    return {'pythonClassName': f'{_CORE}.features_dict.FeaturesDict',
            'featuresDict': {'features': features}}

  sequence = {'pythonClassName': f'{_CORE}.sequence_feature.Sequence', 'sequence': {
    'feature': dictionary(bbox=boxes, label=label), 'length': '-1'}}
  (folder / 'features.json').write_text(json.dumps(
    dictionary(image=image, objects=sequence)))
  (folder / 'dataset_info.json').write_text(json.dumps({
    'name': name, 'version': '1.0.0', 'fileFormat': 'array_record',
    'moduleName': name, 'splits': splits}))
  (folder / 'objects-label.labels.txt').write_text('\n'.join(CLASSES) + '\n')
  prepared.forget()
