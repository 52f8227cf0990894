"""--mode=train: trains, or goes on where a workdir stopped."""

import contextlib
from typing import Any

import jax

from bigmodels import build, config, initialize, loop, results
from bigmodels.checkpoint import Checkpoints, Damaged
from bigmodels.logs.progress import Progress
from bigmodels.logs.tensorboard import TensorBoard
from bigmodels.parallel import devices
from bigmodels.parallel.compile import compile_programs
from bigmodels.request import Request
from bigmodels.workdir import MetricsFile, Workdir


def run(request: Request) -> None:
  resolved = request.resolve()
  workdir = Workdir(request.workdir) if request.workdir else (
    Workdir.fresh(resolved.name))
  print(f'workdir: {workdir.path}', flush=True)
  with workdir.lock(), loop.Stop() as stop:
    workdir.claim(resolved)
    device = devices.require(request.require_backend)
    print(f'device: {device}', flush=True)
    finished = results.finished(workdir)
    if finished:
      print(results.headline(finished))
      print(f'this run is finished: {workdir.report}')
      return
    _train(request, resolved, workdir, device, stop)


def _train(request: Request, resolved: config.Resolved, workdir: Workdir, device: str,
           stop: loop.Stop) -> None:
  experiment = resolved.experiment
  with contextlib.ExitStack() as stack:
    built = build.open_run(
      experiment, workdir, request.data_dir, request.cache_dir)
    stack.callback(built.close)
    programs = compile_programs(built.learner, built.train, built.evals)
    build.check_classes(built, programs.outputs)
    workdir.keep(resolved, built.data)
    with workdir.blame():
      checkpoints = Checkpoints(workdir.checkpoints, experiment.keep)
    stack.callback(checkpoints.release)
    carry = programs.init(jax.random.PRNGKey(experiment.seed))
    ledger = loop.Ledger()
    restored = checkpoints.restore_latest(carry, print)
    if restored:
      carry, progress = restored
      ledger = loop.Ledger(**progress)
      print(f'going on from step {ledger.step:,} of {built.steps:,}')
    elif experiment.init_from:
      carry = initialize.from_workdir(experiment.init_from, carry)
      print(f'parameters from {experiment.init_from}')
    if not restored and workdir.metrics.is_file():
      print('no checkpoint was saved before this run stopped: starting at step 0')
    if ledger.step == 0:
      loop.check_monitor(built, programs, carry.state)
    ledger.seconds['compile'] += programs.seconds
    parameters = sum(p.size for p in jax.tree.leaves(carry.state.params))
    print(f'{parameters:,} parameters, {built.steps:,} steps of '
          f'{built.train.order.batch_size} examples, compiled in '
          f'{programs.seconds:.1f} s', flush=True)
    metrics_file = MetricsFile(workdir, ledger.step)
    stack.callback(metrics_file.close)
    if metrics_file.records < ledger.records:
      print(f'{workdir.metrics} has lost {ledger.records - metrics_file.records} of '
            f'{ledger.records} records from before step {ledger.step:,}')
    tensorboard = TensorBoard(workdir, ledger.step)
    stack.callback(tensorboard.close)
    progress_bar = Progress(built.steps, built.train.order.batch_size, ledger.step)
    stack.callback(progress_bar.close)
    running = loop.Loop(
      built, programs, carry, ledger, checkpoints, metrics_file, tensorboard,
      progress_bar, stop)
    running.run()
    progress_bar.close()
    state = _best_state(running) if ledger.done else running.carry.state
    results.write(workdir, resolved, built, programs, state, ledger, device)
  if ledger.done:
    print(results.headline(workdir.read_json(workdir.result)))
    print(f'report: {workdir.report}')
  else:
    print(f'{stop.name}: saved step {ledger.step:,} in {workdir.checkpoints}; to go '
          f'on: python run.py --workdir={workdir.path}')


def _best_state(running: loop.Loop) -> Any:
  """The state of the best checkpoint: what a run is told and used by."""
  best = running.ledger.best_step
  if best in (None, running.ledger.step):
    return running.carry.state
  try:
    carry, _ = running.checkpoints.restore(best, running.carry)
  except Damaged as error:
    print(f'the best checkpoint, of step {best}, is damaged ({error}): the results are '
          f'those of step {running.ledger.step}')
    running.ledger.best_step = running.ledger.step
    return running.carry.state
  return carry.state
