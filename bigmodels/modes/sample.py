"""--mode=sample: lets the best checkpoint of a workdir write."""

import codecs
import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable

import jax

from bigmodels.cli.request import Request, Sampling
from bigmodels.core import paths
from bigmodels.core.errors import UserError
from bigmodels.distributed import processes
from bigmodels.hardware import devices
from bigmodels.storage.workdir import Workdir
from bigmodels.tasks import decoding
from bigmodels.training import initialize, opening
from bigmodels.training.runs import Run


def run(request: Request) -> None:
  sampling = request.sampling
  settings, prompts = _settings(sampling), _prompts(sampling)
  if (request.address.num_processes or 1) > 1:
    raise UserError(f'--num_processes={request.address.num_processes}: --mode=sample '
                    'runs in one process')
  with contextlib.ExitStack() as stack:
    group = stack.enter_context(processes.joined(
      request.address, request.hang_timeout, shared=request.shared))
    if group.count > 1:
      raise UserError(f'--mode=sample runs in one process, here are {group.count}')
    say = group.say
    opened = (_from_workdir if request.workdir else _from_experiment)(request, say)
    stack.callback(opened.built.close)
    tokenizer, writer = opened.tokenizer, opened.writer
    if '' in prompts and tokenizer and 'end' not in tokenizer.special:
      raise UserError(f'{_place(sampling, prompts.index(""))}: wants one that is not '
                      "empty: the tokenizer has no 'end', which could begin a text")
    key = jax.random.PRNGKey(sampling.sample_seed)

    def write(sample, settings):
      try:
        return writer(prompts, jax.random.fold_in(key, sample), settings)
      except (jax.errors.JaxRuntimeError, OverflowError) as error:
        if not isinstance(error, OverflowError) and (
          'RESOURCE_EXHAUSTED' not in str(error)):
          raise
        raise UserError(
          f'--tokens={settings.count}: there is no memory for so many after '
          f'{len(prompts)} prompts' + (
            f' with --beams={settings.beams}' if settings.beams else '')) from error

    start = time.perf_counter()
    try:
      write(0, settings)
    except decoding.TooLong as error:
      if error.room < 1:
        raise UserError(f'--prompt: {error}') from None
      if sampling.tokens is not None:
        raise UserError(f'--tokens={sampling.tokens}: {error}') from None
      say(f'{error}: --tokens={error.room}')
      settings = dataclasses.replace(settings, count=error.room)
      write(0, settings)
    first, times, tokens = time.perf_counter() - start, [], 0
    for sample in range(sampling.samples):
      start = time.perf_counter()
      found = write(sample, settings)
      times.append(time.perf_counter() - start)
      tokens += sum(count for _, count in found)
      for prompt, (text, count) in zip(prompts, found, strict=True):
        say(f'--- sample {sample + 1} of {sampling.samples}, after {prompt!r}: '
            f'{count:,} tokens')
        say(text)
    say(f'--- compiled in {max(first - times[0], 0):.1f} s; {tokens:,} tokens in '
        f'{sum(times):.2f} s: {tokens / sum(times):,.0f} tokens/s')


def _settings(sampling: Sampling) -> decoding.Settings:
  given = {'count': sampling.tokens, 'temperature': sampling.temperature,
           'top_k': sampling.top_k, 'top_p': sampling.top_p, 'beams': sampling.beams,
           'stop': tuple(sampling.stop or ()), 'samples': sampling.samples}
  try:
    settings = decoding.Settings(**{k: v for k, v in given.items() if v is not None})
  except ValueError as error:
    raise UserError(f'--{error}'.replace('--count', '--tokens')) from None
  if not 0 <= sampling.sample_seed < 2**32:
    raise UserError(f'--sample_seed: wants 0 to {2**32 - 1}, got '
                    f'{sampling.sample_seed}')
  return settings


def _prompts(sampling: Sampling) -> list[str]:
  prompts = list(sampling.prompt or ())
  if sampling.prompt_file is not None:
    path = paths.checked(sampling.prompt_file, '--prompt_file')
    try:
      prompts += _lines(path)
    except OSError as error:
      raise UserError(f'--prompt_file={path}: cannot be read: {error.strerror}'
                      ) from None
    except ValueError as error:
      raise UserError(f'--prompt_file={path}: {error}') from None
  return prompts or ['']


_MOST_BYTES = 2**26  # of a file of prompts, which are all written to at once


def _lines(path: pathlib.Path) -> list[str]:
  """The lines of a file of text.

  Raises:
    ValueError: if it is not text, or has no line.
    OSError: if it cannot be read.
  """
  # Not to wait for who may write into a pipe that nobody has opened.
  with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb') as file:
    os.set_blocking(file.fileno(), True)
    data = file.read(_MOST_BYTES + 1)
  if len(data) > _MOST_BYTES:
    raise ValueError(f'has more than {_MOST_BYTES:,} bytes')
  if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
    raise ValueError('is text in UTF-16; save it as UTF-8')
  try:
    text = data.decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = error.object.count(b'\n', 0, error.start) + 1
    raise ValueError(f'line {line}: byte {error.object[error.start]:#04x} is not '
                     'UTF-8') from None
  if '\0' in text:
    line = text.count('\n', 0, text.index('\0')) + 1
    raise ValueError(f'line {line}: is not text, there is a NUL character in it')
  lines = text.replace('\r\n', '\n').replace('\r', '\n').split('\n')
  if lines == ['']:
    raise ValueError('there is no line in it')
  return lines[:-1] if lines[-1] == '' else lines


def _place(sampling: Sampling, index: int) -> str:
  """Where one of the prompts is from."""
  line = index - len(sampling.prompt or ())
  if line < 0 or sampling.prompt_file is None:
    return '--prompt'
  return f'--prompt_file={sampling.prompt_file}, line {line + 1}'


def _from_workdir(request: Request, say: Callable[[str], None]) -> Run:
  """A run at its best checkpoint."""
  workdir = Workdir(request.workdir)
  resolved = workdir.recorded({}, trusted=request.trust)
  for note in resolved.notes:
    say(note)
  if request.experiment or request.overrides:
    workdir.claim(request.resolve())
  if not any(workdir.checkpoints.glob('*')):
    raise UserError(f'--workdir={workdir.path}: there is no checkpoint to sample from')
  say(f'device: {devices.require(request.require_backend)}')
  return opening.open_run(
    workdir, request.layout(resolved.experiment), data_dir=request.data_dir,
    cache_dir=request.cache_dir, resolved=resolved, trust=request.trust, say=say)


def _from_experiment(request: Request, say: Callable[[str], None]) -> Run:
  """An experiment with the parameters, and a run's tokenizer, of somewhere else."""
  resolved = request.resolve()
  for note in resolved.notes:
    say(note)
  experiment = resolved.experiment
  if not experiment.init_from:
    raise UserError('--mode=sample: name the --workdir of a run, or with --experiment '
                    'one to take the parameters from, --init_from')
  initialize.require(experiment.init_from)
  say(f'device: {devices.require(request.require_backend)}')
  return opening.initialized(
    resolved, request.layout(experiment), data_dir=request.data_dir,
    cache_dir=request.cache_dir, trust=request.trust, say=say)
