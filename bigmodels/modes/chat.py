"""--mode=chat: holds a conversation with a run that generates text."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator

import jax

from bigmodels.cli.request import Request
from bigmodels.core.errors import UserError, escape_controls
from bigmodels.modes.sample import settings_of, unescaped
from bigmodels.tasks import decoding
from bigmodels.tasks.decoding import Settings

_TOKENS = 64  # of a reply


def run(request: Request, *, tokens: int | None = None,
        temperature: float | None = None, top_k: int | None = None,
        top_p: float | None = None, beams: int | None = None,
        stop: list[str] | None = None, user: str = '', reply: str = '',
        between: str = '\\n', after: str = '', history: int | None = None,
        sample_seed: int = 0) -> None:
  """Reads a message a line from the terminal, or stdin, and prints replies to them.

  The run continues the conversation so far: each turn, and what separates turns. If it
  becomes too long for the model, the oldest turns are left out. A run that does not
  continue its prompts, such as a translation, reads each message alone. Ctrl-C ends a
  reply, Ctrl-D or Ctrl-C at a message ends the conversation.

  Args:
    request: the flags of every mode.
    tokens: maximum number of tokens of a reply; if omitted, 64 or as many as fit.
    temperature: logits are divided by it; 1 if omitted, 0 takes the most likely token.
    top_k: sample only from this many of the most likely tokens.
    top_p: sample from the fewest tokens whose probabilities add up to this.
    beams: hypotheses of a beam search, of a translation.
    stop: a reply ends before this text, with \\n and \\t as in --mode=sample; a newline
      if omitted; may be given several times.
    user: text before each message, such as 'ROMEO: '.
    reply: text before each reply, such as 'JULIET: '.
    between: text between turns, in which \\n is a newline.
    after: of a reply, only what follows this text is kept in the conversation.
    history: maximum number of turns that are read, including the message; all that fit
      if omitted.
    sample_seed: seed of the sampling.

  Raises:
    UserError: for a flag that is out of range, or a run that generates no text; from a
      pipe, at the end, if a message had no reply.
  """
  between, user, reply, after = map(unescaped, (between, user, reply, after))
  settings = settings_of(
    tokens=_TOKENS if tokens is None else tokens, temperature=temperature,
    top_k=top_k, top_p=top_p, beams=beams,
    stop=tuple(map(unescaped, ['\\n'] if stop is None else stop)))
  if history is not None and history < 1:
    raise UserError(f'--history: must be >= 1, got {history}')
  if not 0 <= sample_seed < 2**32:
    raise UserError(f'--sample_seed: must be in [0, {2**32 - 1}], got {sample_seed}')
  workdir, resolved = request.recorded(with_data=False)
  with request.opened(workdir, resolved, alone='chat') as (group, opened):
    _ = opened.writer  # refuses a run that writes no text
    stream = opened.built.task.stream
    if stream is None:
      group.say('each message is read alone: the run does not continue its prompts')
      history = 1
    else:
      stream = functools.partial(stream, opened.params, opened.model_state)
    turns: list[str] = []
    failed = 0

    def refuse(why: object) -> None:
      nonlocal failed
      failed += 1
      group.say(f'error: {why}')

    for number, message in enumerate(_messages(refuse)):
      key = jax.random.fold_in(jax.random.PRNGKey(sample_seed), number)
      given = [*turns, message if stream is None else f'{user}{message}']
      given = given[-history:] if history else given
      try:
        if stream is None:
          (text, _), = opened.writer(given, key, settings)
          print(escape_controls(text), flush=True)
          continue
        pieces, left = _fitting(
          functools.partial(_stream, stream, key, between, reply), given, settings,
          tokens, group.say)
      except UserError as error:
        refuse(error)
        continue
      if left:
        group.say(f'(the oldest {left} of {len(given)} turns are left out: they do not '
                  "fit in the model's length)")
      said = _printed(pieces)
      turns = [*given[left:], f'{reply}{said.rpartition(after)[2] if after else said}']
    if failed and not sys.stdin.isatty():
      raise UserError(f'{failed:,} message{"s" * (failed != 1)} without a reply')


def _stream(stream: Callable, key: jax.Array, between: str, reply: str,
            turns: list[str], settings: Settings) -> Iterator[str]:
  return stream(f'{between.join(turns)}{between}{reply}', key, settings)


def _fitting(stream: Callable, turns: list[str], settings: Settings,
             tokens: int | None, say: Callable[[str], None]
             ) -> tuple[Iterator[str], int]:
  """The reply to the last turns that fit, and how many do not.

  Args:
    stream: (turns, settings) -> the pieces of a reply.
    turns: of the conversation, the message last.
    settings: of the reply.
    tokens: what --tokens is, or None.
    say: prints a line.

  Raises:
    UserError: if the message alone does not fit.
  """
  for left in range(len(turns)):
    try:
      return stream(turns[left:], settings), left
    except decoding.TooLong as error:
      last = error
  if last.room < 1:
    raise UserError(f'the message is too long: {last}')
  if tokens is not None:
    raise UserError(f'--tokens={tokens}: {last}')
  return stream(turns[-1:], settings_of(**{
    **vars(settings), 'tokens': last.room})), len(turns) - 1


def _printed(pieces: Iterator[str]) -> str:
  """The whole reply, printed as it is generated; Ctrl-C ends it."""
  found = ''
  with contextlib.suppress(KeyboardInterrupt):
    for piece in pieces:
      found += piece
      print(escape_controls(piece), end='', flush=True)
  print(flush=True)
  return found


def _messages(refuse: Callable[[str], None]) -> Iterator[str]:
  """The messages that are not empty."""
  while True:
    try:
      message = input('> ' if sys.stdin.isatty() else '')
    except (EOFError, KeyboardInterrupt):
      if sys.stdin.isatty():
        print()
      return
    except UnicodeDecodeError:
      refuse('the message is not UTF-8')
      continue
    try:
      message.encode()
    except UnicodeEncodeError:
      refuse('the message is not UTF-8')
      continue
    if message.strip():
      yield message.strip()
