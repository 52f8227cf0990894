"""Tests of the files of records: lines that are no records, numbers that change."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import train
from bigmodels.storage.records import RecordsFile, read_metrics


@pytest.mark.parametrize('line', [
  b'\xff\xfe\n', b'{"step": 1\n', b'[]\n', b'{"step": "1"}\n', b'{"step": true}\n',
  b'\n', b'\0\0\0\n', b'{"loss": 1}\n', b'null\n', b'[' * 100_000 + b'\n'])
@pytest.mark.parametrize('name', ['metrics', 'utilization'])
def test_a_line_that_is_no_record_is_named(run, name, line):
  path = getattr(run, name)
  first, *rest = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b''.join([first, line, *rest]))
  with pytest.raises(UserError, match=rf'{path.name}, line 2: must be a record'):
    RecordsFile(run, path, 30)


def test_a_changed_number_in_the_log_is_said(run, request_for, capsys):
  before = run.metrics.read_text()
  loss = read_metrics(run)[0]['train/loss']
  run.metrics.write_text(before.replace(repr(loss), repr(loss + 1)))
  run.result.unlink()
  train.run(request_for(None, run.path))
  assert 'metrics.jsonl is not as this run wrote it' in capsys.readouterr().out
