"""Tests of recordings.SoundTable: sines of all kinds, and what is said of bad ones."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.recordings import SoundTable
from tests.data.folders.written import context
from tests.data.recordings import written

LIBRARIES = 'the packages of requirements-audio.txt are not installed'
soundfile = pytest.importorskip('soundfile', reason=LIBRARIES)
soxr = pytest.importorskip('soxr', reason=LIBRARIES)

RATE = 8000


def sine(seconds, frequency=440, rate=RATE, amplitude=0.5):
  time = np.arange(round(seconds * rate)) / rate
  return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def write(path, samples, rate=RATE, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, samples, rate, **options)


@pytest.fixture
def talk(tmp_path):
  """Twelve sounds of four speakers, and their table."""
  rows = []
  for index in range(12):
    write(tmp_path / 'talk' / f'{index}.wav', sine(0.1 + index / 100, 300 + 10 * index))
    rows.append({'file': f'{index}.wav', 'text': 'ab'[index % 2] * (1 + index % 3),
                 'speaker': f's{index // 3}', 'split': 'train' if index < 9 else 'dev'})
  written.table(tmp_path / 'talk' / 'index.csv', rows)
  return tmp_path / 'talk'


def table(talk, rows):
  return SoundTable(str(written.table(talk / 'more.csv', rows)), rate=RATE)


def test_sounds_with_their_lengths_and_transcripts(tmp_path, talk):
  source = SoundTable(str(talk / 'index.csv'), split='split', speaker='speaker')
  dataset = written.speech(source).open(asked := context(tmp_path))
  columns = dataset.load()
  assert dataset.length == 9 and columns['inputs'].shape == (9, 1440)
  assert columns['inputs'].dtype == np.float32 and not columns['corrupt'].any()
  for row in range(9):
    expected = sine(0.1 + row / 100, 300 + 10 * row)
    assert columns['lengths'][row] == len(expected)
    np.testing.assert_allclose(columns['inputs'][row, : len(expected)], expected,
                               atol=2**-15)
    assert not columns['inputs'][row, len(expected) :].any()
  dataset = written.speech(source, selected='validation').open(asked)
  assert dataset.length == 3 and dataset.load()['inputs'].shape == (3, 1680)
  assert any("in the column 'split', dev is the split validation" in line
             for line in asked.said)


def test_speakers_divide_what_has_no_splits(tmp_path, talk):
  splits = {'train': 0.5, 'test': 0.5}
  source = SoundTable(str(talk / 'index.csv'), speaker='speaker', splits=splits)
  found = {name: source.read(name, context(tmp_path)) for name in splits}
  train, test = ({*each.speakers} for each in found.values())
  assert len(train) == len(test) == 2 and not train & test
  assert "divided by the column 'speaker': 0.5 train, 0.5 test" in (
    found['train'].notes[0])
  given = SoundTable(str(talk / 'index.csv'), speaker='text', split='split')
  assert 'warning: 3 of 6 speakers are in several splits' in given.read(
    'train', context(tmp_path)).notes[-1]


def test_other_rates_channels_and_amplitudes_are_said(tmp_path, talk):
  write(talk / 'fast.wav', sine(0.2, rate=16_000), 16_000)
  write(talk / 'two.wav', np.stack([sine(0.2)] * 2, 1))
  write(talk / 'silent.wav', np.zeros(800))
  write(talk / 'loud.wav', np.clip(sine(0.2, 450, amplitude=5), -1, 1))
  write(talk / 'beyond.wav', sine(0.2, 460, amplitude=2), subtype='FLOAT')
  names = ('fast', 'two', 'silent', 'loud', 'beyond')
  source = table(talk, [{'file': f'{name}.wav', 'text': 'a'} for name in names])
  object.__setattr__(source, 'splits', {'train': 1.0})
  asked = context(tmp_path)
  dataset = written.speech(source).open(asked)
  columns = dataset.load()
  np.testing.assert_allclose(columns['inputs'][0, 50:1550], sine(0.2)[50:1550],
                             atol=1e-3)
  assert columns['lengths'].tolist() == [1600, 1600, 800, 1600, 1600]
  said = '; '.join(asked.said)
  for line in ('1 of 5 sounds: resampled to 8,000 Hz',
               '1 of 5 sounds: several channels, which are averaged',
               '1 sound silent (such as silent.wav)', '1 sound clipped to [-1, 1]',
               '2 sounds at full scale in more than 1% of the samples'):
    assert line in said, said


def test_long_sounds_are_left_out_of_training_alone(tmp_path, talk):
  source = SoundTable(str(talk / 'index.csv'), split='split', seconds=0.15)
  found = source.read('train', context(tmp_path))
  assert len(found.texts) == 6 and found.shape == (1200,)
  assert '3 sounds of train longer than 0.15 s, so left out' in ' '.join(found.notes)
  assert len(source.read('validation', context(tmp_path)).texts) == 3
  short = SoundTable(str(talk / 'index.csv'), split='split', seconds=0.01)
  with pytest.raises(UserError, match=r'every sound of train is longer than 0.01 s'):
    short.read('train', context(tmp_path))


def test_damaged_sounds_are_masked_with_the_reason(tmp_path, talk):
  write(talk / 'none.wav', sine(0.1)[:0])
  (talk / 'text.wav').write_bytes(b'no sound')
  rows = [{'file': name, 'text': 'a'} for name in ('0.wav', 'none.wav', 'text.wav')]
  source = table(talk, rows)
  object.__setattr__(source, 'splits', {'train': 1.0})
  dataset = written.speech(source).open(context(tmp_path))
  assert dataset.load()['corrupt'].tolist() == [False, True, True]
  assert dataset.describe(1) == 'none.wav: it has no samples'
  only = table(talk, rows[1:])
  object.__setattr__(only, 'splits', {'train': 1.0})
  with pytest.raises(UserError, match=r'none of 2 sounds of train can be read, such as '
                                      r'none.wav'):
    only.read('train', context(tmp_path))


def test_a_header_without_a_length_is_damage(tmp_path, talk):
  write(talk / 'pipe.flac', sine(0.1))
  data = bytearray((talk / 'pipe.flac').read_bytes())
  data[21] &= 0xf0  # the number of samples is 36 bits, all 0 if it is written to a pipe
  data[22:26] = bytes(4)
  (talk / 'pipe.flac').write_bytes(data)
  data[21] |= 0xf
  data[22:26] = b'\xff' * 4
  (talk / 'huge.flac').write_bytes(data)
  write(talk / 'calm.flac', np.zeros(80_000))  # few bytes, and right
  names = ('calm.flac', 'pipe.flac', 'huge.flac')
  source = table(talk, [{'file': name, 'text': 'a'} for name in names])
  object.__setattr__(source, 'splits', {'train': 1.0})
  dataset = written.speech(source).open(context(tmp_path))
  assert dataset.load()['corrupt'].tolist() == [False, True, True]
  assert '68,719,476,735 cannot be in' in dataset.describe(2)
  reader = written.speech(source).reader(context(tmp_path))
  chunk, = reader.examples([talk / 'pipe.flac', talk / '0.wav'], labels=False).chunks(0)
  assert 'its header does not say how many samples it has' in chunk.faults[0]
  assert chunk.columns['inputs'].shape == (2, 800) and [*chunk.faults] == [0]


def test_tables_that_do_not_fit(tmp_path, talk):
  path = str(talk / 'index.csv')
  for settings, message in (
    ({'text': 'transcript'}, "index.csv: no column 'transcript'"),
    ({'file': 'files'}, "no column 'files'.*did you mean 'file'"),
    ({'speaker': 'who'}, "no column 'who'")):
    with pytest.raises(UserError, match=message):
      SoundTable(path, **settings).read('train', context(tmp_path))
  with pytest.raises(UserError, match=r"more.csv: 1 of 2 sounds are not in .*, such as "
                                      r"'gone.wav' \(line 3\); folder= sets where"):
    table(talk, [{'file': name, 'text': 'a'} for name in ('0.wav', 'gone.wav')]).read(
      'train', context(tmp_path))
  with pytest.raises(UserError, match=r"line 2: no value of 'split'"):
    SoundTable(str(written.table(talk / 'other.csv', [
      {'file': '0.wav', 'text': 'a', 'split': ''}])), split='split').read(
        'train', context(tmp_path))
  with pytest.raises(UserError, match="no split 'test' given by the column 'split'"):
    SoundTable(path, split='split').read('test', context(tmp_path))
  write(talk / '9.wav', sine(0.1, 300))  # as 0.wav, which is of another split
  with pytest.raises(UserError, match='makes scores on validation meaningless'):
    SoundTable(path, split='split').read('train', context(tmp_path))
  found = SoundTable(path, split='split', duplicates='drop').read(
    'train', context(tmp_path))
  assert '0.wav' not in found.names and len(found.names) == 8


def test_new_sounds_of_any_length(tmp_path, talk):
  source = written.speech(SoundTable(str(talk / 'index.csv'), rate=RATE))
  write(talk / 'new' / 'fast.wav', sine(0.3, rate=16_000), 16_000)
  write(talk / 'new' / 'short.wav', sine(0.05))
  (talk / 'new' / 'text.wav').write_bytes(b'no sound')
  write(talk / 'new' / 'very_long.flac', np.tile(sine(1), 61))
  reader = source.reader(asked := context(tmp_path))
  examples = reader.examples([talk / 'new'], labels=False)
  chunk, = examples.chunks(0)
  names = [name.rsplit('/', 1)[1] for name in chunk.names]
  assert names == ['fast.wav', 'short.wav', 'text.wav', 'very_long.flac']
  assert chunk.columns['inputs'].shape == (4, 2400)
  assert chunk.columns['lengths'][:2].tolist() == [2400, 400]
  assert chunk.faults == {2: 'cannot be decoded: Format not recognised.',
                          3: 'is 61 s long, must be at most 60 s: cut it at pauses'}
  assert '1 of 3 sounds: resampled to 8,000 Hz' in asked.said
  with pytest.raises(UserError, match='there is no sound'):
    (talk / 'empty').mkdir()
    reader.examples([talk / 'empty'], labels=False)


def test_sounds_in_memory(tmp_path, talk):
  reader = written.speech(SoundTable(str(talk / 'index.csv'), rate=RATE)).reader(
    asked := context(tmp_path))
  columns = reader.columns([sine(0.1), sine(0.2)], {})
  assert columns['inputs'].shape == (2, 1600)
  assert columns['lengths'].tolist() == [800, 1600]
  for wrong in (['a.wav'], [np.zeros((2, 3))], [np.zeros(4, np.int16)], []):
    with pytest.raises(UserError, match='reads sounds: a list of float arrays'):
      reader.columns(wrong, {})
  loud = reader.columns([sine(0.1), 3 * sine(0.1)], {})['inputs']
  np.testing.assert_array_equal(loud[1], np.clip(3 * sine(0.1), -1, 1))
  assert asked.said == ['1 of 2 sounds clipped to [-1, 1]']
  with pytest.raises(UserError, match='sound 1: has values that are not finite'):
    reader.columns([sine(0.1), np.array([0.0, np.nan])], {})
