"""Small TFDS datasets of images, written as TFDS prepares them, whole or damaged."""

import functools
import io
import json
import pathlib

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from bigmodels.data import images
from bigmodels.data.sources import DataContext, Dataset
from bigmodels.data.tfds import builders, tfds, tfds_examples

CLASSES = ('cat', 'dog', 'newt')
FIT = functools.partial(images.random_resized_crop, size=6)


def jpeg(image: np.ndarray) -> bytes:
  """An image `[height, width, 3]`, as JPEG."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, 'JPEG', quality=95)
  return file.getvalue()


def flat(row: int, shape: tuple[int, int] = (8, 8)) -> bytes:
  """An image of one grey, 10 times the row: JPEG keeps those as they are."""
  return jpeg(np.full((*shape, 3), 10 * row, np.uint8))


def record(image: bytes, label: int, name: str) -> bytes:
  """An example as TFDS serialises it."""
  example = tf_example_pb2.Example()
  feature = example.features.feature
  feature['image'].bytes_list.value.append(image)
  feature['label'].int64_list.value.append(label)
  feature['file_name'].bytes_list.value.append(name.encode())
  return example.SerializeToString()


def write(root: pathlib.Path, records: dict[str, list[bytes]], *, name: str = 'pets',
          classes: tuple[str, ...] = CLASSES, shape: tuple[str, ...] = ('8', '8', '3'),
          shards: int = 1) -> pathlib.Path:
  """Writes a dataset, version 1.0.0.

  Args:
    root: of datasets, the `data_dir`.
    records: split -> what `record` gives.
    name, classes: of the dataset.
    shape: of the images as the dataset declares it; '-1' for any.
    shards: files for each split.

  Returns:
    `root`.
  """
  folder = root / name / '1.0.0'
  folder.mkdir(parents=True)
  splits = []
  for split, examples in records.items():
    parts = np.array_split(np.arange(len(examples)), shards)
    for number, part in enumerate(parts):
      file = f'{name}-{split}.array_record-{number:05}-of-{shards:05}'
      writer = ArrayRecordWriter(str(folder / file), 'group_size:1')
      for row in part:
        writer.write(examples[row])
      writer.close()
    splits.append({
      'name': split, 'shardLengths': [str(len(part)) for part in parts],
      'numBytes': str(sum(map(len, examples))),
      'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'})

  def feature(kind, **fields):
    module = {'Image': 'image', 'Text': 'text', 'ClassLabel': 'class_label'}[kind]
    return {'pythonClassName':
            f'tensorflow_datasets.core.features.{module}_feature.{kind}', **fields}

  features = {
    'image': feature('Image', image={'dtype': 'uint8', 'encodingFormat': 'jpeg',
                                     'shape': {'dimensions': list(shape)}}),
    'label': feature('ClassLabel', classLabel={'numClasses': str(len(classes))}),
    'file_name': feature('Text', text={})}
  (folder / 'features.json').write_text(json.dumps({
    'pythonClassName': 'tensorflow_datasets.core.features.features_dict.FeaturesDict',
    'featuresDict': {'features': features}}))
  (folder / 'dataset_info.json').write_text(json.dumps({
    'name': name, 'version': '1.0.0', 'fileFormat': 'array_record',
    'moduleName': name, 'splits': splits}))
  (folder / 'label.labels.txt').write_text('\n'.join(classes) + '\n')
  return root


GOOD = [record(flat(row), row % 3, f'p{row}.jpg') for row in range(8)]
TRUNCATED = record(flat(1)[:-40], 1, 'bad.jpg')


def fresh_context(folder: pathlib.Path, say=lambda line: None) -> DataContext:
  """A context of datasets that nothing is known of yet."""
  forget()
  return DataContext(str(folder / 'tfds'), folder / 'cache', {}, say=say)


def forget() -> None:
  """Drops what this process keeps of the datasets that it has opened."""
  builders.from_files.cache_clear()
  tfds_examples.data_source.cache_clear()


def pets(context: DataContext, records: list[bytes], selected: str = 'train',
         **keywords) -> Dataset:
  """The dataset of some records, opened."""
  write(pathlib.Path(context.data_dir), {'train': records}, **keywords)
  return tfds.Tfds('pets', selected).open(context)


def of_any_size(context: DataContext, fit=FIT, bad=()) -> tfds.Tfds:
  """Eight images of noise, of as many sizes; the `bad` ones are damaged."""
  rng = np.random.default_rng(0)
  records = [record(jpeg(rng.integers(0, 256, (10 + row, 20 - row, 3), np.uint8)),
                    row % 3, f'p{row}.jpg') for row in range(8)]
  for row in bad:
    records[row] = TRUNCATED
  write(pathlib.Path(context.data_dir), {'train': records}, shape=('-1', '-1', '3'))
  return tfds.Tfds('pets', fit=fit)
