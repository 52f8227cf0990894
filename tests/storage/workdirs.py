"""Workdirs as finished runs leave them, without training."""

import json
import pathlib

from bigmodels.core import digests


def write(path: pathlib.Path, metrics, *, seed=0, rate=0.1, rows='9 rows', **more):
  """A workdir as a run leaves it; `seeds` of a population among `more`."""
  path.mkdir(parents=True)
  (path / 'config.txt').write_text(
    f"experiment = a\nknob.seed = {seed}\nseed = {seed}\nrate = {rate}\n"
    "monitor.metric = 'test/loss'\nmonitor.goal = 'min'\n")
  result = {'status': 'finished', 'step': 5, 'steps': 5, 'metrics': metrics, **more}
  (path / 'result.json').write_text(json.dumps(
    {**result, 'digest': digests.of_json(result)}))
  (path / 'data.json').write_text(json.dumps({'kept': {'identity test': rows}}))
  return path
