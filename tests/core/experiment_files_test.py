"""What the files of experiments say, read without executing them."""

import dataclasses
import inspect

import pytest

from bigmodels.config import resolving
from bigmodels.config.experiment import Experiment
from bigmodels.core import experiment_files


@pytest.mark.parametrize('name', experiment_files.files())
def test_knobs_are_the_arguments_of_config(name):
  found = experiment_files.describe(experiment_files.files()[name])
  config = resolving.load(resolving.source_of(name))
  parameters = inspect.signature(config).parameters
  assert [knob.name for knob in found.knobs] == [*parameters]
  for knob, parameter in zip(found.knobs, parameters.values(), strict=True):
    assert eval(knob.default) == parameter.default
  assert found.needs and len(found.needs) < 80


def test_fields_are_those_of_the_record():
  names = [field.name for field in dataclasses.fields(Experiment)]
  assert [*experiment_files.fields()] == names


def test_a_file_of_ones_own(tmp_path):
  path = tmp_path / 'mine.py'
  path.write_text('"""One.\n\nNeeds: a GPU;\none hour.\n\nMore.\n"""\nimport gone\n'
                  'def config(a, *, b: int = 3, c=None):\n'
                  '  """Makes it.\n\n  Args:\n    b: how\n      many.\n  """\n')
  found = experiment_files.describe(path)
  assert (found.summary, found.needs) == ('One.', 'a GPU; one hour')
  assert [*map(tuple, found.knobs)] == [
    ('a', '', '', ''), ('b', 'int', '3', 'how many'), ('c', '', 'None', '')]
  path.write_text('def (')
  assert experiment_files.describe(path).summary.startswith('(cannot be read: ')
  path.write_text('x = 1')
  assert experiment_files.describe(path) == ('', '', '', ())
