"""Weights & Biases, online or offline (`WANDB_MODE=offline`).

`WANDB_PROJECT`, `WANDB_ENTITY`, `WANDB_NAME`, `WANDB_DIR` and the other variables of
the library apply.
"""

import os
import pathlib
import shutil
import uuid

from bigmodels.logs.trackers import About, Opened

PACKAGE = 'wandb'


def start(about: About, id: str | None) -> Opened:
  """Opens a run. Offline, this is a new folder, which replaces one not yet uploaded."""
  import wandb

  folder = os.environ.get('WANDB_DIR', str(about.workdir))
  if id and wandb.setup().settings.mode == 'offline':
    _remove_offline(pathlib.Path(folder), id)
    id = None
  run = wandb.init(
    project=os.environ.get('WANDB_PROJECT', about.project),
    name=os.environ.get('WANDB_NAME', about.name), id=id or uuid.uuid4().hex[:8],
    resume='allow', dir=folder, config=about.config | {'versions': about.versions},
    # The process that sends has no output, code or commit of the run.
    settings=wandb.Settings(console='off', disable_git=True, save_code=False))
  where = run.url or f'offline; to upload: wandb sync {run.settings.sync_dir}'
  return Opened(run, run.id, where, run.step - 1 if run.resumed else -1)


def _remove_offline(folder: pathlib.Path, id: str) -> None:
  for path in folder.glob(f'wandb/offline-run-*-{id}'):
    if not any(path.glob('*.synced')):
      shutil.rmtree(path, ignore_errors=True)


def log(opened: Opened, records: list[tuple[int, dict[str, float]]]) -> None:
  """Sends records; W&B merges those of one step."""
  for step, values in records:
    opened.run.log(values, step=step)


def discard(opened: Opened) -> None:
  """Marks the run as superseded; offline, removes its folder unless it was uploaded."""
  folder = pathlib.Path(opened.run.settings.sync_dir).parents[1]
  opened.run.tags = (*(opened.run.tags or ()), 'superseded')
  opened.run.finish(exit_code=1)
  _remove_offline(folder, opened.id)


def finish(opened: Opened, status: str, result: dict, report: pathlib.Path | None
           ) -> None:
  """Sends the result as the summary, and the report as an artifact.

  Args:
    opened: the run.
    status: 'finished', 'stopped', 'failed' or 'killed'.
    result: flat name -> number or text.
    report: path of the report, or None.
  """
  import wandb

  opened.run.summary.update({f'result/{k}': v for k, v in result.items()})
  opened.run.summary['status'] = status
  if report:
    artifact = wandb.Artifact(f'report-{opened.id}', 'report')
    artifact.add_file(str(report))
    opened.run.log_artifact(artifact)
  opened.run.finish(exit_code=0 if status in ('finished', 'stopped') else 1)
