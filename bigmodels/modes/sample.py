"""--mode=sample: generates text or sounds from the best checkpoint of a workdir."""

import dataclasses
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import jax

from bigmodels.cli.request import Request
from bigmodels.config.resolving import Resolved
from bigmodels.core import files, paths
from bigmodels.core.errors import UserError
from bigmodels.tasks import decoding
from bigmodels.training import generation, initialize
from bigmodels.training.runs import Run

_BETWEEN = '---'  # a line between prompts of several lines
_ESCAPES = {'n': '\n', 't': '\t', '\\': '\\'}


def run(request: Request, *, prompt: list[str] | None = None,
        prompt_file: str | None = None, tokens: int | None = None,
        temperature: float | None = None, top_k: int | None = None,
        top_p: float | None = None, beams: int | None = None,
        stop: list[str] | None = None, samples: int = 1, sample_seed: int = 0,
        output: str | None = None, seconds: float | None = None,
        overwrite: bool = False) -> None:
  """Prints texts, or writes sounds, and how fast they were generated.

  Args:
    request: the flags of every mode.
    prompt: text to continue, to translate or to speak, in which \\n is a newline, \\t a
      tab and \\\\ a backslash; may be given several times.
    prompt_file: path of a file with a prompt on each line; or, if some lines are ---,
      with prompts of several lines between these.
    tokens: maximum number of tokens to generate; if omitted, 256 or as many as the
      model's length allows.
    temperature: logits are divided by it; 1 if omitted, 0 takes the most likely token.
    top_k: sample only from this many of the most likely tokens.
    top_p: sample from the fewest tokens whose probabilities add up to this.
    beams: hypotheses of a beam search, which does not sample.
    stop: end before this text, with \\n and \\t as in a prompt; may be given several
      times.
    samples: number of texts for each prompt.
    sample_seed: seed of the sampling.
    output: the file of a sound, .wav; of several, NAME-1.wav, NAME-2.wav, ...
    seconds: maximum length of a sound; if omitted, as the task says.
    overwrite: replace files of sounds that exist.

  Raises:
    UserError: for a flag that is out of range, or a run that generates nothing.
  """
  settings = settings_of(
    tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, beams=beams,
    stop=tuple(map(unescaped, stop or ())), samples=samples)
  if not 0 <= sample_seed < 2**32:
    raise UserError(f'--sample_seed: must be in [0, {2**32 - 1}], got {sample_seed}')
  generation.check_seconds(seconds, '--seconds')
  target = paths.output(output, ('.wav',)) if output is not None else None
  prompts = _prompts(prompt, prompt_file)
  workdir, resolved = request.recorded(with_data=False) if request.workdir else (
    None, _initialized(request))
  with request.opened(workdir, resolved, alone='sample') as (group, opened):
    say = group.say
    if opened.built.task.sounds is not None:
      if target is None:
        raise UserError('--output: this run makes sounds; set the path of a .wav file')
      if tokens is not None:
        raise UserError(f'--tokens={tokens}: this run makes sounds; set --seconds')
      _write_sounds(opened, prompts, target, seconds, sample_seed, settings,
                    overwrite=overwrite, say=say)
      return
    tokenizer, writer = opened.tokenizer, opened.writer
    for name, value in (('output', output), ('seconds', seconds)):
      if value is not None:
        raise UserError(f'--{name}={value}: of runs that make sounds; this run writes '
                        'text, which is printed')
    if '' in prompts and tokenizer and 'end' not in tokenizer.special:
      raise UserError(f'{_origin(prompt, prompt_file, prompts.index(""))}: must not be '
                      "empty: the tokenizer has no 'end' to begin a text with")
    key = jax.random.PRNGKey(sample_seed)

    def write(sample, settings):
      try:
        return writer(prompts, jax.random.fold_in(key, sample), settings)
      except (jax.errors.JaxRuntimeError, OverflowError) as error:
        if not isinstance(error, OverflowError) and (
          'RESOURCE_EXHAUSTED' not in str(error)):
          raise
        raise UserError(
          f'--tokens={settings.tokens}: not enough memory for so many tokens '
          f'after {len(prompts)} prompts' + (
            f' with --beams={settings.beams}' if settings.beams else '')) from error

    start = time.perf_counter()
    try:
      write(0, settings)
    except decoding.TooLong as error:
      if error.room < 1:
        raise UserError(f'--prompt: {error}') from None
      if tokens is not None:
        raise UserError(f'--tokens={tokens}: {error}') from None
      say(f'{error}: --tokens={error.room}')
      settings = dataclasses.replace(settings, tokens=error.room)
      write(0, settings)
    first, times, total = time.perf_counter() - start, [], 0
    for sample in range(samples):
      start = time.perf_counter()
      found = write(sample, settings)
      times.append(time.perf_counter() - start)
      total += sum(count for _, count in found)
      for before, (text, count) in zip(prompts, found, strict=True):
        say(f'--- sample {sample + 1} of {samples}, after {before!r}: {count:,} tokens')
        say(text)
    say(f'--- compiled in {max(first - times[0], 0):.1f} s; {total:,} tokens in '
        f'{sum(times):.2f} s: {total / sum(times):,.0f} tokens/s')


def _write_sounds(run: Run, prompts: list[str], target: pathlib.Path,
                  seconds: float | None, seed: int, settings: decoding.Settings, *,
                  overwrite: bool, say: Callable[[str], None]) -> None:
  """Writes the sounds of prompts.

  Args:
    run: that makes them.
    prompts: texts.
    target: the file of a single sound.
    seconds: maximum length; None for the task's own.
    seed: of the draws.
    settings: of the draws.
    overwrite: whether to replace files.
    say: prints a line.
  """
  count = len(prompts) * settings.samples
  targets = [target] if count == 1 else [
    target.with_name(f'{target.stem}-{i + 1}{target.suffix}') for i in range(count)]
  there = [path for path in targets if path.exists()]
  if there and not overwrite:
    raise UserError(f'--output: {there[0]} exists; set --overwrite to replace it')
  start = time.perf_counter()
  sounds = run.generate_sounds(
    prompts, seconds=seconds, seed=seed, **dataclasses.asdict(settings))
  took = time.perf_counter() - start
  for index, (path, sound) in enumerate(zip(targets, sounds, strict=True)):
    prompt = prompts[index // settings.samples]
    try:
      data = sound.wav()
    except ValueError as error:
      raise UserError(f'{prompt!r}: {error}; was the run trained?') from None
    files.write(path, data)
    loudest = float(abs(sound.samples).max(initial=0))
    notes = [f'louder than a file can be, so divided by {loudest:.2f}'
             ] if loudest > 1 else ['silent'] if not loudest else []
    say('; '.join([f'{prompt!r}: {sound.seconds:.2f} s at {sound.rate:,} Hz: {path}',
                   *filter(None, (sound.note, *notes))]))
  total = sum(sound.seconds for sound in sounds)
  say(f'--- {total:.1f} s of sound in {took:.1f} s, with compilation')


def settings_of(**given: Any) -> decoding.Settings:
  """The settings of decoding, with defaults in place of None.

  Raises:
    UserError: for a setting that is out of range.
  """
  try:
    return decoding.Settings(**{k: v for k, v in given.items() if v is not None})
  except ValueError as error:
    raise UserError(f'--{error}') from None


def _prompts(prompt: list[str] | None, prompt_file: str | None) -> list[str]:
  """All prompts; the empty one if none is given."""
  prompts = [*map(unescaped, prompt or ())]
  if prompt_file is not None:
    path = paths.checked(prompt_file, '--prompt_file')
    text = files.read_text(path, '--prompt_file')
    lines = text.replace('\r\n', '\n').replace('\r', '\n').split('\n')
    if lines == ['']:
      raise UserError(f'--prompt_file={prompt_file}: must have a line, is empty')
    lines = lines[:-1] if lines[-1] == '' else lines
    prompts += _between(lines) if _BETWEEN in lines else lines
  return prompts or ['']


def unescaped(text: str) -> str:
  r"""The text of a flag, in which \n, \t and \\ are escapes."""
  return re.sub(r'\\([nt\\])', lambda found: _ESCAPES[found[1]], text)


def _between(lines: list[str]) -> list[str]:
  """The texts between lines of ---; one before the first or after the last too."""
  parts: list[list[str]] = [[]]
  for line in lines:
    if line == _BETWEEN:
      parts.append([])
    else:
      parts[-1].append(line)
  return ['\n'.join(part) for part in parts if part]


def _origin(prompt: list[str] | None, prompt_file: str | None, index: int) -> str:
  """The flag, or the line of a file, that gave one of the prompts."""
  line = index - len(prompt or ())  # without ---, for then no prompt is empty
  if line < 0 or prompt_file is None:
    return '--prompt'
  return f'--prompt_file={prompt_file}, line {line + 1}'


def _initialized(request: Request) -> Resolved:
  """An experiment whose `init_from` names parameters."""
  resolved = request.resolve()
  if not resolved.experiment.init_from:
    raise UserError('--mode=sample: set the --workdir of a run, or --experiment and '
                    '--init_from, the source of its parameters')
  initialize.require(resolved.experiment.init_from)
  return resolved
