"""Trackio: a local database, or a Space or a server.

`TRACKIO_SPACE_ID` or `TRACKIO_SERVER_URL` name these, `TRACKIO_PROJECT` the project.
The other variables of the library, such as `TRACKIO_DIR`, apply.
"""

import contextlib
import os
import pathlib
import uuid
from typing import Any

from bigmodels.logs.trackers import About, Opened

PACKAGE = 'trackio'


def start(about: About, id: str | None) -> Opened:
  """Opens a run. Trackio finds runs by name, so that of a new one has a suffix."""
  import trackio

  project = os.environ.get('TRACKIO_PROJECT', about.project)
  remote = os.environ.get('TRACKIO_SPACE_ID') or os.environ.get('TRACKIO_SERVER_URL')
  name = id or f'{about.name}-{uuid.uuid4().hex[:4]}'
  config = about.config | {f'version.{k}': v for k, v in about.versions.items()}
  run = trackio.init(
    project, name, config=config, resume='allow' if id else 'never', embed=False,
    auto_log_gpu=False, auto_log_cpu=False)
  step = None
  if not remote:
    last = trackio.SQLiteStorage.get_max_step_for_run(project, name)
    step = -1 if last is None else last
  where = remote or f'{trackio.TRACKIO_DIR} (to view: trackio show --project {project})'
  return Opened(run, name, f'{where}, run {name}', step)


def log(opened: Opened, records: list[tuple[int, dict[str, float]]]) -> None:
  """Sends records, one row each."""
  for step, values in records:
    opened.run.log(values, step=step)


def discard(opened: Opened) -> None:
  """Deletes the run from the local database; a Space or server keeps it."""
  import trackio

  opened.run.finish()
  with contextlib.suppress(ValueError):  # no project here
    for run in trackio.Api().runs(opened.run.project):
      if run.name == opened.id:
        run.delete()


def finish(opened: Opened, status: str, result: dict[str, Any],
           report: pathlib.Path | None) -> None:
  """Sends the result of a finished run as the last row, and the report.

  Args:
    opened: the run.
    status: 'finished', 'stopped', 'failed' or 'killed'.
    result: flat name -> number or text.
    report: path of the report, or None.
  """
  import trackio

  if status == 'finished':  # a row cannot be replaced when a stopped run goes on
    opened.run.log({f'result/{k}': v for k, v in result.items()},
                   step=int(result['step']))
  if report:
    artifact = trackio.Artifact(f'report-{opened.id}', 'report')
    artifact.add_file(str(report))
    opened.run.log_artifact(artifact)
  opened.run.finish()
