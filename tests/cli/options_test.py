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
