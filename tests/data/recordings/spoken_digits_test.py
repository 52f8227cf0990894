"""Tests of recordings.SpokenDigits: every recording once, in the splits of its authors.
"""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.recordings import SpokenDigits
from bigmodels.data.recordings.digit_strings import WORDS
from tests.data.folders.written import context
from tests.data.recordings import digits


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return digits.write(tmp_path_factory.mktemp('tfds'), 7)


@pytest.mark.parametrize(('split', 'speakers', 'numbers'), [
  ('train', None, (5, 6)), ('test', None, (0, 1, 2, 3, 4)),
  ('test', ('theo', 'george'), (0, 1, 2, 3, 4))])
def test_every_recording_once(root, split, speakers, numbers):
  found = SpokenDigits(speakers=speakers).read(split, context(root))
  expected = {(WORDS[digit], speaker, number) for digit in range(10)
              for speaker in speakers or digits.SPEAKERS for number in numbers}
  assert len(found.texts) == len(expected)
  sounds, seen = found.read(np.arange(len(found.texts)))['inputs'], set()
  for row, (text, speaker, length) in enumerate(zip(
      found.texts, found.speakers, found.lengths, strict=True)):
    number = int(found.names[row].split()[1])
    sound = digits.sound(WORDS.index(text), speaker, number)
    assert length == len(sound)
    np.testing.assert_array_equal(sounds[row, :length], sound)
    assert not sounds[row, length:].any()
    seen.add((text, speaker, number))
  assert seen == expected


def test_splits_share_no_recording(root):
  train, test = (SpokenDigits().read(split, context(root)).origin
                 for split in ('train', 'test'))
  name, = train.rows
  assert len(train.rows[name]) == 100 and len(test.rows[name]) == 250
  assert not {*train.rows[name].tolist()} & {*test.rows[name].tolist()}


@pytest.mark.parametrize(('source', 'split', 'message'), [
  (SpokenDigits(), 'tset', "no split 'tset'; did you mean 'test'"),
  (SpokenDigits(speakers=('teo',)), 'train', "the speaker 'teo'; did you mean 'theo'"),
  (SpokenDigits({'train': (40, 50)}), 'train', 'numbers 0 to 6, asked for 40 to 49')])
def test_what_is_refused(root, source, split, message):
  with pytest.raises(UserError, match=message):
    source.read(split, context(root))
