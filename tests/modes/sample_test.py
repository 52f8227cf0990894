"""Tests of --mode=sample: what it writes, from where, and what it refuses."""

import os
import subprocess

import jax
import pytest

from bigmodels.core.errors import UserError
from bigmodels.distributed.cluster import Address
from bigmodels.modes import sample, train
from bigmodels.tasks import decoding
from tests.processes import of_devices

SENTENCE = 'the quick brown fox jumps over the lazy dog\n'
FILE = '''
from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.data import texts, tokenizers
from bigmodels.config import Duration, Experiment


def config(*, steps: int = 2):
  source = data.Packed(texts.TextFiles({path!r}), tokenizers.Characters(), 16)
  return Experiment(
    model=partial(models.Gpt, length=16, depth=1, width=16, heads=2),
    task=tasks.next_token,
    optimizer=partial(optax.adam, 1e-3),
    train=data.Batches(source=source.split('train'), batch_size=4),
    evals={{'validation': data.Batches(source=source.split('validation'),
                                       batch_size=4)}},
    evaluate_every=Duration(steps=steps), log_every=Duration(steps=steps),
    duration=Duration(steps=steps))
'''


@pytest.fixture(scope='module')
def experiment(tmp_path_factory):
  folder = tmp_path_factory.mktemp('text')
  (folder / 'text.txt').write_text(SENTENCE * 20)
  (folder / 'text.py').write_text(FILE.format(path=str(folder / 'text.txt')))
  return folder / 'text.py'


@pytest.fixture
def trained(experiment, request_for, capsys):
  """The workdir of a run; trained once."""
  workdir = experiment.parent / 'run'
  if not workdir.is_dir():
    train.run(request_for(experiment, workdir))
  capsys.readouterr()
  return workdir


@pytest.fixture
def write(request_for, capsys):
  """(experiment, workdir, flags) -> what is printed."""

  def call(*where, overrides=None, **flags):
    sample.run(request_for(*where, **(overrides or {})), **flags)
    return capsys.readouterr().out

  return call


def found(text):
  """The texts that were written, by their headings."""
  parts = text.split('--- ')[1:]
  assert parts.pop().startswith('compiled in ')
  return {heading: body[:-1] for heading, _, body in (
    part.partition('\n') for part in parts)}


def test_every_sample_of_every_prompt(write, trained, tmp_path):
  (tmp_path / 'prompts.txt').write_text('dog\nover the\n')
  flags = {'prompt': ['the'], 'prompt_file': str(tmp_path / 'prompts.txt'),
           'tokens': 5, 'samples': 2}
  text = write(None, trained, **flags)
  texts = found(text)
  assert list(texts) == [
    f"sample {i} of 2, after '{prompt}': 5 tokens"
    for i in (1, 2) for prompt in ('the', 'dog', 'over the')]
  assert all(len(body) == 5 and set(body) <= set(SENTENCE) for body in texts.values())
  assert len(set(texts.values())) > 3
  assert 'step 2 of' in text and '30 tokens in' in text and 'tokens/s' in text
  assert found(write(None, trained, **flags)) == texts
  assert found(write(None, trained, **flags, sample_seed=1)) != texts


def test_parameters_of_a_run_under_an_experiment(write, experiment, trained, tmp_path):
  flags = {'prompt': ['the'], 'tokens': 8, 'temperature': 0.0}
  expected = found(write(None, trained, **flags))
  text = write(experiment, None, overrides={'init_from': trained}, **flags)
  assert found(text) == expected and f'parameters from {trained}' in text
  with pytest.raises(UserError, match='--init_from'):
    write(experiment, None, **flags)
  with pytest.raises(UserError, match='another run'):
    write(experiment, trained, overrides={'model__width': 32}, **flags)


def test_no_data_is_needed(write, trained, experiment):
  flags = {'prompt': ['the'], 'tokens': 5, 'temperature': 0}
  expected = write(None, trained, **flags)
  text = experiment.parent / 'text.txt'
  gone = text.rename(text.with_suffix('.gone'))
  try:
    assert found(write(None, trained, **flags)) == found(expected)
  finally:
    gone.rename(text)


@pytest.mark.slow('train on eight devices')
def test_more_devices_than_its_batch_could_be_cut_over(trained, command):
  found = subprocess.run(
    command('--mode=sample', f'--workdir={trained}', '--prompt=the', '--tokens=3'),
    capture_output=True, text=True, timeout=200, check=False,
    env=of_devices(8))
  assert found.returncode == 0, found.stderr
  assert "after 'the': 3 tokens" in found.stdout


@pytest.mark.parametrize('content', [None, '{}', '[]', '{"data_dir": 1, "kept": null}'])
def test_checkpoints_without_what_was_fitted(content, write, trained, request_for):
  whole = (trained / 'data.json').read_text()
  (trained / 'data.json').unlink()
  try:
    if content is not None:
      (trained / 'data.json').write_text(content)
    message = 'data.json is gone' if content is None else 'not as a run writes it'
    with pytest.raises(UserError, match=message):
      write(None, trained, prompt=['the'])
    (trained / 'result.json').rename(trained / 'result')
    with pytest.raises(UserError, match=message):
      train.run(request_for(None, trained))
  finally:
    (trained / 'data.json').write_text(whole)
    if (trained / 'result').exists():
      (trained / 'result').rename(trained / 'result.json')


@pytest.mark.parametrize('kept', ['{}', '{"train": {}}'])
def test_a_run_of_an_older_version(kept, write, trained):
  whole = (trained / 'data.json').read_text()
  (trained / 'data.json').write_text(f'{{"data_dir": null, "kept": {kept}}}')
  try:
    with pytest.raises(UserError, match='an older version of bigmodels did'):
      write(None, trained, prompt=['the'])
  finally:
    (trained / 'data.json').write_text(whole)


def test_parameters_without_the_tokenizer_they_were_taught_with(
  write, trained, experiment):
  whole = (trained / 'data.json').read_text()
  (trained / 'data.json').unlink()
  try:
    with pytest.raises(UserError, match=r'data\.json is gone'):
      write(experiment, None, overrides={'init_from': trained}, prompt=['the'])
  finally:
    (trained / 'data.json').write_text(whole)


def test_prompts_at_the_length_of_the_model(write, trained):
  text = write(None, trained, prompt=['the lazy'])
  assert ('the prompt has 8 tokens and 256 new tokens were requested; the '
          "model's length is 16, which leaves room for 9: --tokens=9\n") in text
  assert list(found(text)) == ["sample 1 of 1, after 'the lazy': 9 tokens"]
  with pytest.raises(UserError, match=r'--tokens=10: the prompt has 8 tokens and 10 '
                                      r'new tokens .* leaves room for 9'):
    write(None, trained, prompt=['the lazy'], tokens=10)
  with pytest.raises(UserError, match='--prompt: the prompt has 44 tokens; the model'):
    write(None, trained, prompt=[SENTENCE])


def test_prompts_that_are_refused(write, trained, tmp_path):
  with pytest.raises(UserError, match='--prompt: must not be empty'):
    write(None, trained)
  with pytest.raises(UserError, match="--prompt: the character 'Z'"):
    write(None, trained, prompt=['Z'])
  (tmp_path / 'gap.txt').write_text('dog\n\nfox\n')
  with pytest.raises(UserError, match=r'gap\.txt, line 2: must not be empty'):
    write(None, trained, prompt=['the'], prompt_file=str(tmp_path / 'gap.txt'))


@pytest.mark.parametrize('error', [
  jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.'),
  OverflowError('Python int too large to convert to C long')])
def test_more_than_there_is_room_for(error, write, trained, monkeypatch):
  def fail(*arguments, **settings):
    raise error

  monkeypatch.setattr(decoding, 'generate', fail)
  with pytest.raises(UserError, match='not enough memory for so many tokens after'):
    write(None, trained, prompt=['the', 'dog'], tokens=4)


def test_an_end_begins_a_text(write, experiment, request_for, tmp_path):
  other, workdir = tmp_path / 'bytes.py', tmp_path / 'bytes'
  other.write_text(experiment.read_text().replace('Characters()', 'Bytes()'))
  train.run(request_for(other, workdir))
  heading, = found(write(None, workdir, tokens=3))
  assert heading.startswith("sample 1 of 1, after ''")


@pytest.mark.parametrize(('flags', 'message'), [
  ({'temperature': -1.0}, '--temperature: .*got -1'),
  ({'tokens': 0}, '--tokens: .*got 0'),
  ({'top_k': 0}, '--top_k: .*got 0'), ({'top_p': 2.0}, '--top_p: .*got 2.0'),
  ({'beams': 4, 'top_k': 3}, '--top_k: .* with 4 beams'),
  ({'stop': ['']}, '--stop: '), ({'samples': 0}, '--samples: .*got 0'),
  ({'samples': 2, 'temperature': 0.0}, '--samples: .* with temperature=0'),
  ({'samples': 2, 'beams': 3}, '--samples: .* with 3 beams'),
  ({'sample_seed': -1}, r'--sample_seed: must be in \[0, '),
  ({'prompt_file': 'gone.txt'}, '--prompt_file=gone.txt: cannot be read: No such'),
])
def test_flags_are_checked_before_anything_is_read(flags, message, write, tmp_path):
  with pytest.raises(UserError, match=message):
    write(None, tmp_path / 'nothing', **flags)


def test_where_there_is_nothing_to_write_with(
  write, tiny, trained, request_for, tmp_path):
  (tmp_path / 'empty.txt').write_text('')
  with pytest.raises(UserError, match='must have a line, is empty'):
    write(None, tmp_path, prompt_file=str(tmp_path / 'empty.txt'))
  with pytest.raises(UserError, match='name an --experiment'):
    write(None, None)
  with pytest.raises(UserError, match='no run to resume or open'):
    write(None, tmp_path / 'nothing')
  with pytest.raises(UserError, match='classification, which writes no text'):
    write(tiny, None, overrides={'init_from': trained})
  with pytest.raises(UserError, match='--mode=sample runs in one process, got 2'):
    sample.run(request_for(None, trained)._replace(
      address=Address('localhost:1', 2, 0)))


@pytest.mark.parametrize(('flags', 'message'), [
  (['--mode=sample', '--temperature=-1'], '--temperature: '),
  (['--mode=sample', '--top_k=many'], '--top_k'),
  (['--mode=train', '--prompt=a'], '--prompt: is a flag of --mode=sample only'),
])
def test_on_the_command_line(run_py, flags, message):
  done = run_py(*flags)
  assert done.returncode == 2 and done.stdout == '', done.stderr
  assert done.stderr.startswith('error: ') and message in done.stderr


@pytest.mark.parametrize(('data', 'expected'), [
  (b'\xef\xbb\xbfthe\ndog\n', ['the', 'dog']), (b'the', ['the']),
  (b'the\r\ndog\r\n', ['the', 'dog']), (b'the\rdog', ['the', 'dog']),
  (b'the\n\ndog\n', ['the', '', 'dog']), (b'\n', ['']),
  (b'the\n\n', ['the', '']), ('größe\n'.encode(), ['größe']),
  (b'\xef\xbb\xbf\r\na', ['', 'a']), (b' a \n', [' a ']),
  ('a\u2028b\x0cc\n'.encode(), ['a\u2028b\x0cc'])])
def test_the_lines_of_a_prompt_file(data, expected, tmp_path):
  (tmp_path / 'prompts.txt').write_bytes(data)
  path = str(tmp_path / 'prompts.txt')
  assert sample._prompts(['x'], path) == ['x', *expected]


def test_prompts_of_several_lines(tmp_path):
  (tmp_path / 'prompts.txt').write_text('---\nthe quick\n\nbrown\n---\nfox\n---\n')
  assert sample._prompts(None, str(tmp_path / 'prompts.txt')) == [
    'the quick\n\nbrown', 'fox']


@pytest.mark.parametrize(('typed', 'meant'), [
  (r'a\nb', 'a\nb'), (r'\t', '\t'), (r'a\\nb', r'a\nb'), (r'C:\dir', r'C:\dir'),
  ('a\nb', 'a\nb'), (r'\\', '\\')])
def test_escapes_in_a_prompt(typed, meant):
  assert sample._prompts([typed], None) == [meant]
  assert sample.unescaped(typed) == meant


@pytest.mark.parametrize(('data', 'message'), [
  (b'', 'must have a line, is empty'), (b'\xef\xbb\xbf', 'must have a line'),
  ('the'.encode('utf-16'), 'it is UTF-16 or UTF-32; save it as UTF-8'),
  (b'\xfe\xff\0t', 'is UTF-16'), (b'the\nd\0g', 'line 2: has a zero byte'),
  (b'a\nb\n\xff', 'line 3: byte 0xff is not UTF-8'),
  (b'gr\xf6sse', 'line 1: byte 0xf6 is not UTF-8'),
  (b'x' * (2**26 + 1), 'has more than 67,108,864 bytes')])
def test_a_prompt_file_that_is_refused(data, message, tmp_path):
  (tmp_path / 'prompts.txt').write_bytes(data)
  with pytest.raises(UserError, match=f'^--prompt_file=.*prompts.txt: .*{message}'):
    sample._prompts(None, str(tmp_path / 'prompts.txt'))


def test_a_pipe_of_prompts(tmp_path):
  read, write = os.pipe()
  os.write(write, b'the\ndog\n')
  os.close(write)
  assert sample._prompts(None, f'/dev/fd/{read}') == ['the', 'dog']
  os.close(read)
  os.mkfifo(tmp_path / 'pipe')  # that nobody writes into
  with pytest.raises(UserError, match='must have a line, is empty'):
    sample._prompts(None, str(tmp_path / 'pipe'))
  with pytest.raises(UserError, match='has more than 67,108,864 bytes'):
    sample._prompts(None, '/dev/zero')
