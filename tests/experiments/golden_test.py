"""Every experiment: resolves, has its golden text, and reads back as it was.

A missing text is written. To write all anew, after a change that is meant: delete
`tests/golden/*.txt` and run this file.
"""

import pathlib

import pytest

from bigmodels.config import config_file, resolving

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / 'golden'
NAMES = sorted(p.stem for p in resolving.EXPERIMENTS.glob('[!_]*.py'))


@pytest.mark.parametrize('name', NAMES)
def test_has_its_golden_text(name):
  path, text = GOLDEN / f'{name}.txt', config_file.to_text(resolving.resolve(name, {}))
  if not path.is_file():
    path.write_text(text)
    pytest.skip(f'tests/golden/{name}.txt was missing and is written now: commit it')
  assert text == path.read_text()


@pytest.mark.parametrize('name', NAMES)
def test_reads_back(name):
  text = config_file.to_text(resolving.resolve(name, {}))
  assert config_file.to_text(config_file.from_text(text, 'config.txt', {})) == text


@pytest.mark.parametrize('name', NAMES)
def test_has_a_summary_of_one_line(name):
  assert 10 < len(resolving.summaries()[name]) <= 88


@pytest.mark.parametrize('name', NAMES)
def test_every_knob_changes_the_record(name):
  resolved = resolving.resolve(name, {})
  before = resolved.values()
  for knob, value in resolved.knobs.items():
    if type(value) not in (int, float):
      continue
    other = value + 1 if value >= 1 else value / 2
    if not value:
      other = 1 if type(value) is int else 0.5
    after = resolving.resolve(name, {knob: repr(other)}).values()
    changed = {k for k, v in after.items() if before.get(k) != v}
    assert changed - {f'knob.{knob}'}, knob


def test_no_golden_text_is_left_over():
  assert {p.stem for p in GOLDEN.glob('*.txt')} <= {*NAMES}
