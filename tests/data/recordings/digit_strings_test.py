"""Tests of recordings.DigitStrings: strings are recordings and silence, one by one."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.recordings import DigitStrings
from bigmodels.data.recordings.digit_strings import WORDS
from tests.data.folders.written import context
from tests.data.recordings import digits

STRINGS = DigitStrings(
  {'train': ('george', 'theo'), 'validation': ('george', 'theo'), 'test': ('nicolas',)},
  {'train': 30, 'validation': 10, 'test': 12}, digits=(2, 4), pause=0.01,
  held_out={'train': (2, 50), 'validation': (0, 2)})


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return digits.write(tmp_path_factory.mktemp('tfds'), 4)


@pytest.mark.parametrize(('split', 'speakers', 'numbers'), [
  ('train', ('george', 'theo'), (2, 3)), ('validation', ('george', 'theo'), (0, 1)),
  ('test', ('nicolas',), (0, 1, 2, 3))])
def test_strings_are_recordings_of_one_speaker_and_silence(
    root, split, speakers, numbers):
  found = STRINGS.read(split, context(root))
  sounds = found.read(np.arange(len(found.texts)))['inputs']
  assert sounds.dtype == np.int16 and sounds.shape[1] == found.lengths.max()
  for row, text in enumerate(found.texts):
    assert found.speakers[row] == speakers[row % len(speakers)]
    words, at = text.split(), 0
    assert 2 <= len(words) <= 4
    for word in words:
      of = [digits.sound(WORDS.index(word), found.speakers[row], n) for n in numbers]
      here = [each for each in of
              if np.array_equal(sounds[row, at : at + len(each)], each)]
      assert here, (row, word)
      at += len(max(here, key=len))
      rest = np.flatnonzero(sounds[row, at:])
      at += int(rest[0]) - 1 if len(rest) else 0  # the first sample of a tone is 0
    assert found.lengths[row] - 80 <= at <= found.lengths[row]
    assert not sounds[row, found.lengths[row] :].any()


def test_strings_are_the_same_in_every_run(root):
  one, two = (STRINGS.read('test', context(root)) for _ in range(2))
  assert one.identity == two.identity and one.texts == two.texts
  np.testing.assert_array_equal(one.read(np.array([3]))['inputs'],
                                two.read(np.array([3]))['inputs'])
  assert one.texts != STRINGS.read('train', context(root)).texts[:12]


def test_what_is_missing_is_named(root, tmp_path):
  with pytest.raises(UserError, match=r"no split 'tests'.*did you mean 'test'"):
    STRINGS.read('tests', context(root))
  with pytest.raises(UserError, match="looked for 'spoken_digit' in"):
    STRINGS.read('test', context(tmp_path))
  with pytest.raises(UserError, match=r"no recordings of the speaker 'nicholas'"):
    DigitStrings({'train': ('nicholas',)}, {'train': 2}).read('train', context(root))
  for settings, message in (({'digits': (3, 2)}, 'digits: must be'),
                            ({'counts': {}}, 'counts: must be of the splits'),
                            ({'counts': {'train': 0}},
                             "counts: 'train' must be >= 1, got 0"),
                            ({'pause': -1.0}, 'pause: must be >= 0, got -1.0')):
    with pytest.raises(ValueError, match=message):
      DigitStrings(**{'speakers': {'train': ('theo',)}, 'counts': {'train': 1},
                      **settings})
