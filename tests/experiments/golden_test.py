"""Every experiment: resolves, prints the golden text, and reads back as it was.

After a change that is meant: `python tests/experiments/golden_test.py` writes the texts
  anew.
"""

import pathlib
import sys

import pytest

if __name__ == '__main__':
  sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from bigmodels.config import resolving

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / 'golden'
NAMES = sorted(p.stem for p in resolving.EXPERIMENTS.glob('[!_]*.py'))


@pytest.mark.parametrize('name', NAMES)
def test_prints_the_golden_text(name):
  path = GOLDEN / f'{name}.txt'
  assert path.is_file(), 'python tests/experiments/golden_test.py writes it'
  assert resolving.to_text(resolving.resolve(name, {})) == path.read_text()


@pytest.mark.parametrize('name', NAMES)
def test_reads_back(name):
  text = (GOLDEN / f'{name}.txt').read_text()
  assert resolving.to_text(resolving.from_text(text, 'config.txt', {})) == text


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
    after = resolving.resolve(name, {knob: repr(value + 1 if value >= 1 else value / 2
                                             if value else 1)}).values()
    changed = {k for k, v in after.items() if before.get(k) != v}
    assert changed - {f'knob.{knob}'}, knob


def test_no_golden_text_is_left_over():
  assert [p.stem for p in sorted(GOLDEN.glob('*.txt'))] == NAMES


if __name__ == '__main__':
  GOLDEN.mkdir(exist_ok=True)
  for stale in GOLDEN.glob('*.txt'):
    stale.unlink()
  for name in NAMES:
    (GOLDEN / f'{name}.txt').write_text(resolving.to_text(resolving.resolve(name, {})))
