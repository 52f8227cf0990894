"""A tracker that keeps what it is sent in a file, and fails where its settings say so.

`$FAKE_TRACKER` is the folder of its runs; `$FAKE_TRACKER_FAULT` is `FUNCTION:FAULT`,
with FAULT one of raise, hang, die.
"""

import json
import os
import pathlib
import signal
import time

from bigmodels.logs.trackers import Opened

ROOT = pathlib.Path(os.environ.get('FAKE_TRACKER', '.'))


def _fault(name):
  function, _, fault = os.environ.get('FAKE_TRACKER_FAULT', '').partition(':')
  if name == function:
    if fault == 'die':
      os.kill(os.getpid(), signal.SIGKILL)
    if fault == 'hang':
      time.sleep(1000)
    raise ConnectionError('no route\nto the host')


def _add(path, value):
  with open(path, 'a') as file:
    print(json.dumps(value), file=file)


def start(about, id):
  _fault('start')
  id = id or f'run{len(list(ROOT.glob("run*")))}'
  path = ROOT / id
  if not path.exists():
    _add(path, ['start', about.name, about.config, about.versions])
  steps = [value[1] for value in map(json.loads, path.read_text().splitlines())
           if value[0] == 'log']
  return Opened(path, id, str(path), max(steps, default=-1))


def log(opened, records):
  _fault('log')
  for step, values in records:
    _add(opened.run, ['log', step, values])


def discard(opened):
  opened.run.rename(opened.run.with_name(f'old-{opened.id}'))


def finish(opened, status, result, report):
  _fault('finish')
  _add(opened.run, ['finish', status, result, report and report.name])
