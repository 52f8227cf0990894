"""MLflow, with a server, a database or a folder (`MLFLOW_TRACKING_URI`).

`MLFLOW_EXPERIMENT_NAME`, `MLFLOW_RUN_NAME` and the other variables of the library
apply.
"""

import os
import pathlib
import re
import time

from bigmodels.logs.trackers import About, Opened

PACKAGE = 'mlflow'
_STATUS = {'finished': 'FINISHED', 'failed': 'FAILED'}
_LONGEST = 6000  # characters of a parameter
_MOST = 100  # parameters of a request; it may have ten times as many metrics


def start(about: About, id: str | None) -> Opened:
  """Opens a run; a new one if it was deleted, or is in another store."""
  import mlflow

  client = mlflow.MlflowClient()
  run = _find(client, id)
  if run is None:
    name = os.environ.get('MLFLOW_EXPERIMENT_NAME', about.project)
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    run = client.create_run(
      experiment, run_name=os.environ.get('MLFLOW_RUN_NAME', about.name),
      tags={f'version.{k}': v for k, v in about.versions.items()} | {
        'mlflow.source.name': str(about.workdir), 'mlflow.source.git.commit':
        about.versions.get('bigmodels', '').partition('+')[2]})
    params = [mlflow.entities.Param(_name(k), str(v)[:_LONGEST])
              for k, v in about.config.items()]
    for first in range(0, len(params), _MOST):
      client.log_batch(run.info.run_id, params=params[first:first + _MOST])
  else:
    client.update_run(run.info.run_id, status='RUNNING')
  return Opened(client, run.info.run_id,
                f'{mlflow.get_tracking_uri()}, experiment {run.info.experiment_id}, '
                f'run {run.info.run_id}', _last_step(client, run))


def _find(client, id):
  from mlflow.exceptions import MlflowException

  try:
    run = client.get_run(id) if id else None
  except MlflowException as error:
    if error.error_code != 'RESOURCE_DOES_NOT_EXIST':
      raise
    return None
  return run if run and run.info.lifecycle_stage == 'active' else None


def _last_step(client, run) -> int:
  """The step of the latest value of any metric that is logged along the way."""
  names = [name for name in run.data.metrics if not name.startswith('result/')]
  return max((client.get_metric_history(run.info.run_id, name)[-1].step
              for name in names), default=-1)


def _name(text: str) -> str:
  """A name that MLflow allows."""
  return re.sub(r'[^\w./: -]', '_', text)


def log(opened: Opened, records: list[tuple[int, dict[str, float]]]) -> None:
  """Sends records in requests of at most a thousand numbers."""
  from mlflow.entities import Metric

  now = int(time.time() * 1000)
  metrics = [Metric(_name(name), value, now, step)
             for step, values in records for name, value in values.items()]
  for first in range(0, len(metrics), 10 * _MOST):
    opened.run.log_batch(opened.id, metrics=metrics[first:first + 10 * _MOST])


def discard(opened: Opened) -> None:
  """Deletes the run; `mlflow.MlflowClient().restore_run` would bring it back."""
  opened.run.delete_run(opened.id)


def finish(opened: Opened, status: str, result: dict, report: pathlib.Path | None
           ) -> None:
  """Sends the result, numbers as metrics and texts as tags, and the report.

  Args:
    opened: the run.
    status: 'finished', 'stopped', 'failed' or 'killed'.
    result: flat name -> number or text.
    report: path of the report, or None.
  """
  numbers = {f'result/{k}': v for k, v in result.items() if isinstance(v, int | float)}
  log(opened, [(int(result.get('step') or 0), numbers)])
  for name, value in result.items():
    if isinstance(value, str):
      opened.run.set_tag(opened.id, f'result.{_name(name)}', value)
  if report:
    opened.run.log_artifact(opened.id, str(report))
  opened.run.set_terminated(opened.id, status=_STATUS.get(status, 'KILLED'))
