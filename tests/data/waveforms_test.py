"""Tests of data.Waveforms: samples, lengths, classes, and what is refused."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import Waveforms
from bigmodels.data.recordings import FeatureTable, SpokenDigits
from bigmodels.data.recordings.digit_strings import WORDS
from tests.data.folders.written import context
from tests.data.recordings import digits, written

DIGITS = SpokenDigits({'train': (1, 3), 'test': (0, 1)})


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return digits.write(tmp_path_factory.mktemp('tfds'), 3)


def test_samples_and_lengths(root):
  asked = context(root)
  dataset = Waveforms(DIGITS).open(asked)
  columns = dataset.load()
  assert {*columns} == {'inputs', 'lengths'} and dataset.classes is None
  assert columns['inputs'].dtype == np.int16 and dataset.length == 100
  found = DIGITS.read('train', context(root))
  np.testing.assert_array_equal(columns['lengths'], found.lengths)
  np.testing.assert_array_equal(dataset.read(np.array([7, 3]))['inputs'],
                                columns['inputs'][[7, 3]])
  assert dataset.provides['rate']() == asked.kept['rate'] == 8000
  assert asked.said == ['spoken_digit, train: 100 recordings, 0.1 minutes at 8,000 Hz, '
                        'the longest 0.0 s']
  assert dataset.words(np.array([0]))[0]['text'] == found.texts[0]


@pytest.mark.parametrize(('labels', 'expected'), [
  ('text', sorted(WORDS)), ('speaker', sorted(digits.SPEAKERS))])
def test_classes(root, labels, expected):
  asked = context(root)
  for split in ('test', 'train'):  # the classes are those of train, whichever is first
    dataset = Waveforms(DIGITS, split, labels=labels).open(asked)
    assert list(dataset.classes) == expected
    found = DIGITS.read(split, context(root))
    names = found.texts if labels == 'text' else found.speakers
    assert [expected[i] for i in dataset.load()['labels']] == [*names]
  assert asked.kept['classes of sounds'] == expected


def test_shapes_alone(root):
  asked = context(root)
  asked.shapes_only = True
  dataset = Waveforms(DIGITS, labels='text').open(asked)
  assert dataset.shapes_only and not dataset.read(np.arange(3))['inputs'].any()
  asked.shapes_only = False
  whole = Waveforms(DIGITS, labels='text').open(asked)
  for name, column in whole.load().items():
    assert dataset.load()[name].shape == column.shape
    assert dataset.load()[name].dtype == column.dtype


class Changed:
  """Recordings that are changed before they are read."""

  name = 'recordings'

  def __init__(self, **changes):
    self.changes = changes

  def read(self, split, asked):
    found = DIGITS.read(split, asked)
    return found._replace(**{name: change(split, getattr(found, name))
                             for name, change in self.changes.items()})


@pytest.mark.parametrize(('source', 'message'), [
  (Waveforms(Changed(speakers=lambda *_: None), labels='speaker'), 'has no speakers'),
  (Waveforms(Changed(texts=lambda split, texts: [f'{i}' for i, _ in enumerate(
    texts * 20)][: len(texts) * 20]), labels='text'), 'at most 1,000 can be classes'),
  (Waveforms(Changed(texts=lambda split, texts: ['tow', *texts[1:]] if split == 'test'
                  else texts), 'test', labels='text'),
   "the text 'tow' is not in train; did you mean 'two'"),
  (Waveforms(Changed(texts=lambda split, texts: ['one', '', *texts[2:]]),
             labels='text'), 'has no text, which is its class')])
def test_classes_that_cannot_be(root, source, message):
  with pytest.raises(UserError, match=message):
    source.open(context(root))


def test_other_rates_and_features(root, tmp_path):
  asked = context(root)
  source = Waveforms(Changed(rate=lambda split, rate: rate + (split == 'test')))
  source.open(asked)
  with pytest.raises(UserError, match='test has 8,001 samples per second, training '
                                      '8,000: set rate=8000'):
    source.split('test').open(asked)
  features = FeatureTable(written.features(tmp_path / 'speech'))
  with pytest.raises(UserError, match=r'speech: has features \(5, 2\), must have soun'):
    Waveforms(features).open(context(tmp_path))
  with pytest.raises(ValueError, match="labels: must be 'text', 'speaker' or None"):
    Waveforms(DIGITS, labels='words')
