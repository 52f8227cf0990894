"""Spoken digits as TFDS prepares them, of tones of a speaker and a digit."""

import json
import pathlib

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

SPEAKERS = ('george', 'jackson', 'nicolas', 'theo', 'yweweler')


def sound(digit, speaker, number, count=300):
  """Int `[samples]`, another one for every recording."""
  time = np.arange(count + 10 * number + digit)
  pitch = 0.05 + 0.03 * digit + 0.004 * SPEAKERS.index(speaker) + 0.0005 * number
  return np.round(9000 * np.sin(2 * np.pi * pitch * time)).astype(np.int64)


def write(root: pathlib.Path, numbers: int = 7) -> pathlib.Path:
  """Writes `spoken_digit` 1.0.9 with a few recordings; returns `root`."""
  folder = root / 'spoken_digit' / '1.0.9'
  folder.mkdir(parents=True)
  name = 'spoken_digit-train.array_record-00000-of-00001'
  writer, count = ArrayRecordWriter(str(folder / name), 'group_size:1'), 0
  for number in range(numbers):
    for digit in range(10):
      for speaker in SPEAKERS:
        example = tf_example_pb2.Example()
        feature = example.features.feature
        feature['audio'].int64_list.value.extend(sound(digit, speaker, number).tolist())
        feature['label'].int64_list.value.append(digit)
        feature['audio/filename'].bytes_list.value.append(
          f'{digit}_{speaker}_{number}.wav'.encode())
        writer.write(example.SerializeToString())
        count += 1
  writer.close()
  module = 'tensorflow_datasets.core.features'
  features = {
    'audio': {'pythonClassName': f'{module}.tensor_feature.Tensor', 'tensor': {
      'dtype': 'int64', 'encoding': 'none', 'shape': {'dimensions': ['-1']}}},
    'audio/filename': {'pythonClassName': f'{module}.text_feature.Text', 'text': {}},
    'label': {'pythonClassName': f'{module}.class_label_feature.ClassLabel',
              'classLabel': {'numClasses': '10'}}}
  (folder / 'features.json').write_text(json.dumps({
    'pythonClassName': f'{module}.features_dict.FeaturesDict',
    'featuresDict': {'features': features}}))
  (folder / 'dataset_info.json').write_text(json.dumps({
    'name': 'spoken_digit', 'version': '1.0.9', 'fileFormat': 'array_record',
    'splits': [{'name': 'train', 'shardLengths': [str(count)], 'numBytes': '1',
                'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'}]}))
  return root
