"""The time since the process was started, in a process that knows when that was."""

import json
import subprocess
import sys
import time

import pytest

from bigmodels.core import stopwatch

PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from bigmodels.core.import_times import ImportTimes
ImportTimes.install()
from bigmodels.core.stopwatch import Stopwatch
time.sleep(0.3)
watch = Stopwatch()
time.sleep(0.1)
import slow_package
import slow_package.module
watch.mark('work')
time.sleep(0.05)
watch.mark('more')
time.sleep(0.05)
watch.mark('work')
import json
print(json.dumps([watch.exact, watch.seconds, ImportTimes.installed().seconds]))
"""


def test_phases_add_up_to_the_wall_time_and_imports_are_a_phase(tmp_path):
  (tmp_path / 'slow_package').mkdir()
  (tmp_path / 'slow_package' / '__init__.py').write_text(
    'import time, other_package\ntime.sleep(0.2)\n')
  (tmp_path / 'slow_package' / 'module.py').write_text('import time\ntime.sleep(0.1)\n')
  (tmp_path / 'other_package.py').write_text('import time\ntime.sleep(0.4)\n')
  start = time.perf_counter()
  root = str(stopwatch.__file__).rpartition('bigmodels')[0]
  out = subprocess.run(
    [sys.executable, '-c', PROGRAM, root], cwd=tmp_path, check=True, text=True,
    capture_output=True, env={'PYTHONPATH': str(tmp_path)}).stdout
  wall = time.perf_counter() - start
  exact, seconds, packages = json.loads(out)
  assert exact == sys.platform.startswith('linux')
  assert list(seconds) == ['Python and imports', 'work', 'more']
  assert 0.15 <= seconds['work'] < 0.7 and 0.05 <= seconds['more'] < 0.5
  assert seconds['Python and imports'] >= 0.3 + 0.7
  assert sum(seconds.values()) <= wall + 0.02
  assert packages['other_package'] == pytest.approx(0.4, abs=0.1)
  assert packages['slow_package'] == pytest.approx(0.3, abs=0.1)


def test_without_proc_the_processor_time_is_told(monkeypatch):
  monkeypatch.setattr(stopwatch, '_process_age', lambda: None)
  watch = stopwatch.Stopwatch()
  assert not watch.exact
  assert watch.seconds['Python and imports'] == pytest.approx(
    time.process_time(), abs=0.1)
