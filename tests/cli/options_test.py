"""Tests of flags: overrides, and those of each mode."""

import importlib
import inspect

import pytest

from bigmodels.cli import options
from bigmodels.core.errors import UserError


def test_overrides_are_split_off():
  rest, overrides = options.split([
    'run.py', '--config.a=1', '--mode=print', '-config.b.c', '-2', '--config.d=x=y',
    '--config.e=', 'rest', '--config.a=1'])
  assert rest == ['run.py', '--mode=print', 'rest']
  assert overrides == {'a': '1', 'b.c': '-2', 'd': 'x=y', 'e': ''}


@pytest.mark.parametrize(('arguments', 'message'), [
  (['--config.a'], '--config.a: must have a value'),
  (['--config.a', '--mode=print'], '--config.a: must have a value'),
  (['--config=5'], 'name a knob'), (['--config.=5'], 'name a knob'),
  (['--config'], 'name a knob'), (['--config.a=1', '--config.a=2'], 'given twice'),
])
def test_overrides_without_name_or_value(arguments, message):
  with pytest.raises(UserError, match=message):
    options.split(['run.py', *arguments])


def test_every_mode_is_a_file():
  assert {'train', 'eval', 'print'} <= {*options.MODES}


@pytest.mark.parametrize('mode', options.MODES)
def test_flags_are_the_arguments_of_run(mode):
  run = importlib.import_module(f'bigmodels.modes.{mode}').run
  own = options.of_mode(mode)
  request, *parameters = inspect.signature(run).parameters.values()
  assert request.name == 'request'
  assert {name: own[name].default for name in own} == {
    p.name: p.default for p in parameters}
  assert all(own[name].help for name in own), 'Args: of the docstring'


def mode_file(folder, arguments, rest=''):
  path = folder / 'mine.py'
  path.write_text(f'def run({arguments}):\n  pass\n{rest}')
  return str(path)


@pytest.mark.parametrize('argument', [
  "x: int = 'abc'", 'x: int = 2.5', 'x: int = True', 'x: bool = 1', 'x: str = 3',
  "x: list[str] = 'ab'", 'x: float = False', 'x=1', 'x: int', 'x: int = int(3)'])
def test_a_flag_needs_a_type_and_a_default_of_it(argument, tmp_path):
  with pytest.raises(UserError, match=r'line 1: x: a flag must be annotated .* type'):
    options.of_mode(mode_file(tmp_path, f'request, *, {argument}'))


def test_defaults_of_every_type(tmp_path):
  own = options.of_mode(mode_file(
    tmp_path, "request, *, a: float = 1, b: list[str] = ('x', 'y'), c: int | None = "
    "None, d: bool = True, e: int = -3, f: str = ''"))
  assert {name: own[name].value for name in own} == {
    'a': 1.0, 'b': ['x', 'y'], 'c': None, 'd': True, 'e': -3, 'f': ''}


@pytest.mark.parametrize('name', ['config', 'workdir'])
def test_names_of_flags_that_are_taken(name, tmp_path):
  with pytest.raises(UserError, match=f'line 1: {name}: choose another name'):
    options.of_mode(mode_file(tmp_path, f'request, *, {name}: str = "a"'))


@pytest.mark.parametrize('arguments', ['', 'request, x', 'request, x: int = 3', '*, x'])
def test_run_takes_a_request_and_flags_after_a_star(arguments, tmp_path):
  with pytest.raises(UserError, match='line 1: run must take one argument, request'):
    options.of_mode(mode_file(tmp_path, arguments))


def test_of_two_functions_run_the_last_one_has_the_flags(tmp_path):
  own = options.of_mode(mode_file(
    tmp_path, 'request, *, x: int = 1', 'def run(request, *, y: int = 2):\n  pass\n'))
  assert [*own] == ['y']


def test_a_file_that_is_no_text_of_python_is_named(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_bytes(b'\x00')
  with pytest.raises(UserError, match=r'mine\.py, line 1: SyntaxError'):
    options.of_mode(str(path))


@pytest.mark.parametrize(('arguments', 'message'), [
  (['--experiment=digits_cnn', '--epochs=3'],
   '--epochs: no such flag; --config.epochs sets it in the experiment'),
  (['--experiment', 'digits_cnn', '--model.dropout=0.1'],
   '--model.dropout: no such flag; --config.model.dropout sets it in'),
  (['--seed=3'], '--seed: no such flag; --config.seed sets it in the experiment'),
  (['--workdir=RUN', '--width=3'], '--width: no such flag; --config.width sets it'),
  (['--experiment=RUN/config.txt', '--width=3'], '--width: no such flag; --config.wi'),
  (['--experiment=digits_cnn', '--wide=3'], '--wide: no such flag'),
  (['--smoke'], r'--smoke: no such flag; did you mean --mode=smoke\?')])
def test_an_unknown_flag_that_a_config_has_is_suggested(arguments, message, tmp_path):
  (tmp_path / 'config.txt').write_text('experiment = x\nknob.width = 4\n')
  arguments = [a.replace('RUN', str(tmp_path)) for a in arguments]
  with pytest.raises(UserError, match=f'^{message}'):
    options.parse(['run.py', *arguments])
