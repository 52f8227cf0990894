"""Tests of --mode=chat: what is read, what is kept, and how it ends."""

import contextlib
import io
import subprocess
import sys

import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import chat, sample, train

FILE = '''
from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import texts, tokenizers


def config(*, length: int = 48):
  source = data.Packed(texts.TextFiles({path!r}), tokenizers.Characters(), 16)
  return Experiment(
    model=partial(models.Gpt, length=length, depth=1, width=16, heads=2),
    task=tasks.next_token,
    optimizer=partial(optax.adam, 1e-2),
    train=data.Batches(source=source.split('train'), batch_size=4),
    evals={{}}, duration=Duration(steps=2))
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('chat')
  (folder / 'text.txt').write_text('a dog: sat\nthe cat> ran\n' * 40)
  (folder / 'text.py').write_text(FILE.format(path=str(folder / 'text.txt')))
  return folder


@pytest.fixture
def trained(folder, request_for, capsys):
  if not (folder / 'run').is_dir():
    train.run(request_for(folder / 'text.py', folder / 'run'))
  capsys.readouterr()
  return folder / 'run'


@pytest.fixture
def talk(request_for, trained, monkeypatch, capsys):
  """(messages, flags) -> what is printed, through a pipe; `failed` have no reply."""

  def talk(*messages, workdir=trained, failed=0, **flags):
    monkeypatch.setattr(sys, 'stdin', io.StringIO(''.join(f'{m}\n' for m in messages)))
    with (pytest.raises(UserError, match=f'{failed} messages? without a reply')
          if failed else contextlib.nullcontext()):
      chat.run(request_for(None, workdir), **flags)
    return capsys.readouterr().out

  return talk


@pytest.fixture
def writes(request_for, trained, capsys):
  """(prompt, flags) -> the text of --mode=sample, for the first turn."""

  def write(prompt, **flags):
    sample.run(request_for(None, trained), prompt=[prompt], **flags)
    return capsys.readouterr().out.partition(' tokens\n')[2].rpartition('\n---')[0]

  return write


def test_a_conversation_is_a_prompt_that_grows(talk, writes):
  """Messages that cannot be read are reported, and the conversation continues."""
  flags = {'temperature': 0.0, 'tokens': 5}
  out = talk('a dog Ω', '', '   ', 'bad \udcff', 'a dog', 'the cat', failed=2,
             **flags)
  errors = [line for line in out.splitlines() if line.startswith('error')]
  assert len(errors) == 2 and "the character 'Ω'" in errors[0]
  assert errors[1] == 'error: the message is not UTF-8'
  one = out.splitlines()[-2:]
  first = writes('a dog\\n', stop=['\\n'], **flags)
  second = writes(f'a dog\\n{first}\\nthe cat\\n', stop=['\\n'], **flags)
  assert one == [first, second]


SLOW = pytest.mark.slow('conversations')


@SLOW
def test_names_and_history(talk, writes):
  flags = {'temperature': 0.0, 'tokens': 5}
  named = talk('a dog', user='the ', reply='cat> ', **flags).splitlines()[-1]
  assert named == writes('the a dog\\ncat> ', stop=['\\n'], **flags)
  alone = talk('a dog', 'the cat', history=1, **flags).splitlines()[-1]
  assert alone == writes('the cat\\n', stop=['\\n'], **flags)


@SLOW
def test_a_reply_ends_before_a_stop_text(talk, writes):
  flags = {'temperature': 0.0, 'tokens': 20}
  whole = writes('a dog\\n', **flags)
  letter = next(c for c in whole if c.strip())
  out = talk('a dog', stop=[letter], **flags).splitlines()[-1]
  assert out == whole.partition(letter)[0].partition('\n')[0]


def test_the_oldest_turns_are_left_out_if_they_do_not_fit(talk):
  flags = {'temperature': 0.0, 'tokens': 20}
  out = talk('the cat sat on the dog and', 'a dog', **flags)  # 27 and 6 and 20 tokens
  assert '(the oldest ' in out and 'turns are left out: they do not fit' in out
  out = talk('the cat ' * 8, 'the cat ' * 5, failed=2, **flags)
  assert 'error: the message is too long: the prompt has 64 tokens' in out
  assert 'error: --tokens=20: the prompt has 40 tokens' in out


@SLOW
def test_a_message_that_leaves_less_room_gets_that(talk, writes):
  out = talk('the cat ' * 4, temperature=0.0).splitlines()
  assert out[-1] == writes('the cat ' * 3 + 'the cat\\n', temperature=0.0, tokens=17,
                           stop=['\\n'])


@SLOW
def test_what_is_kept_of_a_reply(talk, writes):
  flags = {'temperature': 0.0, 'tokens': 6}
  first = writes('a dog\\n', stop=['\\n'], **flags)
  mark = first[2]
  out = talk('a dog', 'the cat', after=mark, **flags).splitlines()[-1]
  kept = first.rpartition(mark)[2]
  assert out == writes(f'a dog\\n{kept}\\nthe cat\\n', stop=['\\n'], **flags)


def test_ctrl_c_ends_a_reply_and_then_the_talk(talk, monkeypatch, capsys):
  def stream(*args):
    yield 'the '
    raise KeyboardInterrupt

  assert chat._printed(stream()) == 'the ' and capsys.readouterr().out == 'the \n'
  monkeypatch.setattr('builtins.input', lambda prompt: (_ for _ in ()).throw(
    KeyboardInterrupt))
  talk()


def test_control_characters_do_not_reach_the_terminal(capsys):
  chat._printed(iter(['a\x1b[2J', 'b']))
  assert capsys.readouterr().out == 'a\\x1b[2Jb\n'


@pytest.mark.parametrize(('flags', 'message'), [
  ({'history': 0}, '--history: must be >= 1, got 0'),
  ({'tokens': 0}, '--tokens: must be >= 1, got 0'),
  ({'temperature': -1.0}, '--temperature: must be a number >= 0'),
  ({'sample_seed': -1}, '--sample_seed: must be in'),
  ({'stop': ['']}, '--stop: must be texts that are not empty')])
def test_flags_are_checked(talk, flags, message):
  with pytest.raises(UserError, match=message):
    talk('a dog', **flags)


def test_a_run_that_writes_no_text(request_for, tmp_path, talk, capsys):
  train.run(request_for('diabetes_linear', tmp_path / 'run', steps=2))
  with pytest.raises(UserError, match='the task regression, which writes no text'):
    talk('hello', workdir=tmp_path / 'run')


@SLOW
def test_a_process_ends_with_its_input(trained, command):
  found = subprocess.run(
    command('--mode=chat', f'--workdir={trained}', '--tokens=3', '--temperature=0'),
    input=b'a dog\n\xff\xfe\nthe cat\n', capture_output=True, timeout=200, check=False)
  assert found.returncode == 2, found.stderr
  assert b'error: the message is not UTF-8' in found.stdout
  assert b'1 message without a reply' in found.stderr + found.stdout
