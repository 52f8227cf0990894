"""Tests of --mode=sample with sounds: the files it writes, and what it refuses."""

import io
import wave

import numpy as np
import pytest

import bigmodels
from bigmodels.core.errors import UserError
from bigmodels.modes import sample, train
from tests.data.recordings import digits

SMALL = {'steps': 2, 'batch_size': 4, 'length': 64, 'width': 4, 'skip': 4, 'depth': 3,
         'stacks': 1, 'evals__test__batch_size': 50}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return digits.write(tmp_path_factory.mktemp('tfds'), 7)


@pytest.fixture
def trained(root, request_for, capsys):
  """The workdir of a run of digits_wavenet; trained once."""
  workdir = root / 'run'
  if not workdir.is_dir():
    train.run(request_for('digits_wavenet', workdir, data_dir=root, **SMALL))
  capsys.readouterr()
  return workdir


@pytest.fixture
def write(request_for, capsys):
  """(workdir, flags) -> what is printed."""

  def call(workdir, **flags):
    sample.run(request_for(None, workdir), **flags)
    return capsys.readouterr().out

  return call


def samples_of(path):
  with wave.open(str(path)) as file:
    assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
    return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), '<i2')


def test_a_sound_of_a_class(write, trained, tmp_path):
  path = tmp_path / 'seven.wav'
  text = write(trained, prompt=['seven'], output=str(path), seconds=0.05)
  assert f"'seven': 0.05 s at 8,000 Hz: {path}" in text
  rate, found = samples_of(path)
  assert rate == 8000 and len(found) == 400 and len(np.unique(found)) > 10
  with pytest.raises(UserError, match=r'seven.wav exists; set --overwrite to replace'):
    write(trained, prompt=['seven'], output=str(path), seconds=0.05)
  write(trained, prompt=['seven'], output=str(path), seconds=0.05, overwrite=True)
  np.testing.assert_array_equal(samples_of(path)[1], found)
  write(trained, prompt=['seven'], output=str(path), seconds=0.05, overwrite=True,
        sample_seed=1)
  assert (samples_of(path)[1] != found).any()


def test_several_prompts_and_samples(write, trained, tmp_path):
  text = write(trained, prompt=['one', 'two'], samples=2, seconds=0.02,
               output=str(tmp_path / 'a.wav'))
  names = [f'a-{i}.wav' for i in (1, 2, 3, 4)]
  assert sorted(path.name for path in tmp_path.iterdir()) == names
  assert [line.partition(':')[0] for line in text.splitlines() if 'Hz' in line] == [
    "'one'", "'one'", "'two'", "'two'"]
  found = {samples_of(tmp_path / name)[1].tobytes() for name in names}
  assert len(found) == 4


def test_the_same_from_python(write, trained, tmp_path):
  write(trained, prompt=['six'], seconds=0.02, output=str(tmp_path / 'a.wav'))
  run = bigmodels.load(trained)
  sound, = run.generate_sounds(['six'], seconds=0.02)
  with wave.open(io.BytesIO(sound.wav())) as file:
    assert file.readframes(160) == samples_of(tmp_path / 'a.wav')[1].tobytes()
  with pytest.raises(UserError, match='seconds: must be > 0 and <= 3,600, got 0'):
    run.generate_sounds(['six'], seconds=0)
  with pytest.raises(UserError, match="no setting 'temprature'; did you mean"):
    run.generate_sounds(['six'], temprature=1)
  with pytest.raises(UserError, match='task waveform, which writes no text'):
    run.generate(['six'])


@pytest.mark.parametrize(('flags', 'message'), [
  ({'prompt': ['six']}, '--output: this run makes sounds; set the path of a .wav file'),
  ({'prompt': ['sixx'], 'output': 'a.wav'}, "must be a class; did you mean 'six'"),
  ({'prompt': ['six'], 'output': 'a.wav', 'tokens': 5}, '--tokens=5: .*set --seconds'),
  ({'prompt': ['six'], 'output': 'a.wav', 'beams': 2}, '--beams: sounds are sampled')])
def test_what_a_run_of_sounds_refuses(flags, message, write, trained, tmp_path,
                                      monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=message):
    write(trained, **flags)
  assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(('flags', 'message'), [
  ({'output': 'a.mp3'}, '--output=a.mp3'), ({'output': 'gone/a.wav'}, '--output=gone'),
  ({'output': 'folder.wav'}, '--output=folder.wav'), ({'output': ''}, '--output'),
  ({'output': 'a.wav', 'seconds': 0.0}, '--seconds: must be > 0 and <= 3,600, got 0'),
  ({'output': 'a.wav', 'seconds': float('nan')}, '--seconds: must be > 0 .*got nan')])
def test_files_that_cannot_be_written(flags, message, write, tmp_path, monkeypatch):
  """Before anything is read: there is no run."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'folder.wav').mkdir()
  with pytest.raises(UserError, match=message):
    write(tmp_path / 'nothing', **flags)


def test_a_run_of_text_has_no_sounds(tiny, request_for, tmp_path, write):
  train.run(request_for(tiny, tmp_path / 'run'))
  with pytest.raises(UserError, match='classification, which writes no text'):
    write(tmp_path / 'run', output=str(tmp_path / 'a.wav'))
  with pytest.raises(UserError, match='classification, which makes no sounds'):
    bigmodels.load(tmp_path / 'run').generate_sounds([''])
