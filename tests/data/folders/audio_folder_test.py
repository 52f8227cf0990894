"""Tests of data.AudioFolder: sounds against soundfile, soxr and sines by hand."""

import json

import numpy as np
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data.folders import audio_files
from bigmodels.modes import train
from tests.data.folders.written import context

LIBRARIES = 'the packages of requirements-audio.txt are not installed'
soundfile = pytest.importorskip('soundfile', reason=LIBRARIES)
soxr = pytest.importorskip('soxr', reason=LIBRARIES)

RATE = 8000


def sine(frequency, seconds=0.1, rate=RATE, amplitude=0.5):
  time = np.arange(round(seconds * rate)) / rate
  return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def write(path, samples, rate=RATE, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, samples, rate, **options)


@pytest.fixture
def words(tmp_path):
  """Ten sounds of each of two classes, of 800 samples."""
  for index in range(10):
    write(tmp_path / 'words' / 'low' / f'{index}.wav', sine(200 + index))
    write(tmp_path / 'words' / 'high' / f'{index}.wav', sine(2000 + index))
  return str(tmp_path / 'words')


def test_splits_of_sounds_with_their_samples(tmp_path, words):
  asked, lengths = context(tmp_path), {}
  for split in ('train', 'validation', 'test'):
    dataset = data.AudioFolder(words).split(split).open(asked)
    columns, lengths[split] = dataset.load(), dataset.length
    assert dataset.classes == ('high', 'low')
    assert columns['inputs'].dtype == np.float32
    for row in range(dataset.length):
      kind, _, name = dataset.describe(row).partition('/')
      expected = sine((200 if kind == 'low' else 2000) + int(name[0]))
      np.testing.assert_allclose(columns['inputs'][row], expected, atol=2**-15)
      assert dataset.classes[columns['labels'][row]] == kind
    np.testing.assert_array_equal(
      dataset.read(np.array([0]))['inputs'], columns['inputs'][:1])
  assert lengths == {'train': 16, 'validation': 2, 'test': 2}
  assert '  test: 2 sounds: high 1, low 1' in asked.said


@pytest.mark.parametrize(('ending', 'options', 'error'), [
  ('wav', {'subtype': 'PCM_24'}, 2**-23), ('wav', {'subtype': 'FLOAT'}, 0),
  ('flac', {}, 2**-15), ('ogg', {}, 0.05), ('aiff', {}, 2**-15), ('mp3', {}, 0.2)])
def test_formats(tmp_path, ending, options, error):
  path = tmp_path / f'x.{ending}'
  write(path, sine(440, 0.5), **options)
  found, rate, notes = audio_files.decode(path)
  assert rate == RATE and notes == () and found.dtype == np.float32
  assert audio_files.header(path.read_bytes()) == (len(found), RATE, 1)
  np.testing.assert_allclose(found[:4000], sine(440, 0.5), atol=error)


def test_channels_are_averaged_and_rates_resampled(tmp_path):
  left, right = sine(300, 1, 44_100), sine(500, 1, 44_100, 0.25)
  write(tmp_path / 'x.wav', np.stack([left, right], 1), 44_100, subtype='FLOAT')
  found, rate, _ = audio_files.decode(tmp_path / 'x.wav', RATE)
  expected = (sine(300, 1) + sine(500, 1, amplitude=0.25)) / 2
  assert rate == RATE and len(found) == RATE
  np.testing.assert_allclose(found[100:-100], expected[100:-100], atol=1e-3)


def test_values_beyond_one_are_clipped_and_said(tmp_path):
  write(tmp_path / 'x.wav', sine(440, amplitude=1.5), subtype='FLOAT')
  found, _, notes = audio_files.decode(tmp_path / 'x.wav')
  np.testing.assert_array_equal(found, np.clip(sine(440, amplitude=1.5), -1, 1))
  assert notes == ('clipped to [-1, 1]',)


def test_lengths():
  samples, rng = np.arange(1, 8, dtype=np.float32), np.random.default_rng(0)
  np.testing.assert_array_equal(audio_files.to_length(samples, 3), [1, 2, 3])
  np.testing.assert_array_equal(audio_files.to_length(samples, 3, 'center'), [3, 4, 5])
  np.testing.assert_array_equal(audio_files.to_length(samples[:2], 4), [1, 2, 0, 0])
  starts = {int(audio_files.to_length(samples, 3, 'random', rng)[0])
            for _ in range(200)}
  assert starts == {1, 2, 3, 4, 5}


def test_one_rate_and_length_with_lines_on_what_is_changed(tmp_path, words):
  write(tmp_path / 'words' / 'low' / 'short.flac', sine(210, 0.04))
  write(tmp_path / 'words' / 'low' / 'long.wav', sine(220, 0.3, 16_000), 16_000)
  write(tmp_path / 'words' / 'high' / 'two.wav', np.stack([sine(2100)] * 2, 1))
  asked = context(tmp_path)
  dataset = data.AudioFolder(words, rate=RATE, seconds=0.1, selected=None).open(asked)
  columns = dataset.load()
  assert columns['inputs'].shape == (23, 800) and not columns['corrupt'].any()
  found = {dataset.describe(row): columns['inputs'][row] for row in range(23)}
  np.testing.assert_allclose(found['low/short.flac'],
                             np.pad(sine(210, 0.04), (0, 480)), atol=2**-15)
  np.testing.assert_allclose(found['high/two.wav'], sine(2100), atol=2**-15)
  np.testing.assert_allclose(found['low/long.wav'][50:], sine(220)[50:], atol=1e-3)
  for line in ('1 of 23 sounds: resampled to 8,000 Hz',
               '1 of 23 sounds: several channels, which are averaged',
               '1 of 23 sounds: longer than 800 samples, of which the first ones are '
               'kept (seconds= and crop= set this)',
               '1 of 23 sounds: shorter than 800 samples, and padded with zeros '
               '(seconds= sets this)'):
    assert f'  {line}' in asked.said
  with pytest.raises(UserError, match=r'sounds have 2 sample rates, from 8,000 \(.*\) '
                                      r'to 16,000 \(low/long.wav\): set rate='):
    data.AudioFolder(words).open(context(tmp_path))
  with pytest.raises(UserError, match=r'sounds have 3 lengths, from 320 \(low/sho.*\) '
                                      r'to 2,400 \(low/long.*\): set seconds='):
    data.AudioFolder(words, rate=RATE).open(context(tmp_path))


def test_damaged_sounds_are_masked_with_the_reason(tmp_path, words):
  whole = (tmp_path / 'words' / 'low' / '0.wav').read_bytes()
  write(tmp_path / 'x.flac', np.random.default_rng(0).uniform(-1, 1, 9000))
  flac = (tmp_path / 'x.flac').read_bytes()
  not_finite = sine(1)
  not_finite[7] = np.nan
  write(tmp_path / 'words' / 'low' / 'nan.wav', not_finite, subtype='FLOAT')
  write(tmp_path / 'words' / 'low' / 'none.wav', sine(1)[:0])
  for name, content in (('cut.wav', whole[:-400]), ('cut.flac', flac[:-5000]),
                        ('text.wav', b'no sound')):
    (tmp_path / 'words' / 'low' / name).write_bytes(content)
  made = data.AudioFolder(words, rate=RATE, seconds=0.1, selected=None)
  dataset = made.open(context(tmp_path))
  corrupt = dataset.load()['corrupt']
  reasons = dict(dataset.describe(row).split(': ', 1)
                 for row in np.flatnonzero(corrupt))
  assert reasons.pop('low/cut.flac')
  assert reasons == {
    'low/nan.wav': 'has values that are not finite',
    'low/none.wav': 'it has no samples',
    'low/cut.wav': 'truncated: has 1,200 of 1,600 bytes',
    'low/text.wav': 'Format not recognised.'}
  paths = [tmp_path / 'words' / 'low' / name for name in ('text.wav', '0.wav')]
  found, = made.reader(context(tmp_path)).examples(paths, labels=False).chunks(0)
  assert found.faults == {0: 'cannot be decoded: Format not recognised.'}
  assert found.columns['inputs'].shape == (2, 800)
  np.testing.assert_allclose(found.columns['inputs'][1], sine(200), atol=2**-15)


def test_a_random_crop_is_a_function_of_the_seed(tmp_path, words):
  dataset = data.AudioFolder(words, seconds=0.05, crop='random').open(context(tmp_path))
  rows, seeds = np.arange(4), np.arange(8, dtype=np.uint64).reshape(4, 2)
  one, same = (dataset.read(rows, seeds)['inputs'] for _ in range(2))
  np.testing.assert_array_equal(one, same)
  assert (one != dataset.read(rows, seeds + np.uint64(1))['inputs']).any()
  assert one.shape == (4, 400) and dataset.nbytes is None
  with pytest.raises(UserError, match='sounds with `fit` or a random crop change'):
    dataset.load()


@pytest.mark.parametrize(('options', 'said'), [
  ({'rate': 0}, 'rate: must be 1 to 1,000,000 samples per second, got 0'),
  ({'rate': 10**9}, 'got 1000000000'),
  ({'seconds': 0}, 'seconds: must be above 0, got 0'),
  ({'crop': 'centre', 'seconds': 1}, "crop: no part 'centre'; did you mean 'center'"),
  ({'crop': 'random'}, "crop: 'random' needs seconds=")])
def test_settings_that_are_refused(options, said):
  with pytest.raises(ValueError, match=said):
    data.AudioFolder('words', **options)


def test_a_model_learns_from_sounds(request_for, tmp_path, words):
  experiment = tmp_path / 'tones.py'
  experiment.write_text(f'''
"""Low and high tones."""
from functools import partial
import optax
from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment

def config() -> Experiment:
  words = data.AudioFolder({words!r})
  return Experiment(
    model=partial(models.Mlp, widths=(8,)), task=tasks.classification,
    optimizer=partial(optax.adam, 1e-2),
    train=data.Batches(source=words.split('train'), batch_size=8),
    evals={{'test': data.Batches(source=words.split('test'), batch_size=2)}},
    duration=Duration(epochs=20))
''')
  train.run(request_for(experiment, tmp_path / 'run'))
  result = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert result['metrics']['test/accuracy'] == 1.0
