"""--mode=train: trains, or resumes the run in a workdir."""

import contextlib
import dataclasses
import importlib.util
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from bigmodels.cli.request import Request
from bigmodels.config import config_file, resolving
from bigmodels.core import console
from bigmodels.core.errors import UserError
from bigmodels.core.stopwatch import Stopwatch
from bigmodels.core.tree_paths import name_of
from bigmodels.distributed.processes import ProcessGroup
from bigmodels.hardware import devices
from bigmodels.logs import tracking
from bigmodels.logs.writers import Silent, Writers
from bigmodels.storage import manifest
from bigmodels.storage.checkpoint import Checkpoints, Damaged
from bigmodels.storage.fingerprint import copies
from bigmodels.storage.workdir import Workdir
from bigmodels.techniques import freezing
from bigmodels.training import (
  build,
  cross_validation,
  extending,
  initialize,
  loop,
  member_runs,
  opening,
  profiler,
  results,
  temperatures,
  thresholds,
)
from bigmodels.training.compile import Carry, Programs, compile_traced, trace
from bigmodels.training.evaluation import check_monitor
from bigmodels.training.progress import TrainingProgress
from bigmodels.training.stop import Stop
from bigmodels.training.throughput import Throughput


def run(request: Request, *, seeds: int | None = None, folds: int | None = None,
        track: str | None = None, extend: str | None = None, profile: str | None = None
        ) -> pathlib.Path:
  """Trains the experiment in its workdir, from the latest checkpoint there.

  Args:
    request: the flags of every mode.
    seeds: number of runs that train in one program, with the seeds seed, seed + 1, ...;
      each has a folder in the workdir. As --config.seeds.
    folds: number of folds of a cross-validation: of the training split, each trains on
      part and is evaluated on the rest. Their runs follow one another, each has a
      folder in the workdir. As --config.folds --config.fold=none.
    track: wandb, mlflow, trackio, or the path of a .py file; several with commas. The
      log is sent there while the run trains; of a finished run, afterwards.
    extend: how much longer a finished run trains, such as 20epochs or 5000steps.
    profile: steps:N for a trace of N steps and a table of their operations, or startup
      for the phases until the first step.

  Returns:
    the path of the workdir.

  Raises:
    UserError: if it cannot be built, resumed or written, or a tracker is not installed.
  """
  watch = Stopwatch()
  trackers, profiled = tracking.parse(track), profiler.parse(profile)
  if seeds is not None:
    request = request._replace(overrides={**request.overrides, 'seeds': str(seeds)})
  if folds is not None:
    request = request._replace(overrides={
      **request.overrides, 'folds': str(folds), 'fold': 'None'})
  if extend is not None:
    extending.check(extend, request.workdir)
  resolved = request.resolve()
  with request.joined() as group:
    say, text = group.say, config_file.to_text(resolved)
    request.agree(group, text, resolved.source.digest)
    group.agree('the versions', repr(results.versions()))
    found = request.workdir and Workdir(request.workdir).path.exists()
    if request.workdir:
      workdir = Workdir(request.workdir)
    else:
      workdir = Workdir(group.broadcast(
        str(Workdir.fresh(resolved.name).path) if group.main else None))
    say(f'workdir: {workdir.path}')
    with contextlib.ExitStack() as stack:
      # One process locks the folder; the others must see what it wrote there.
      locked = stack.enter_context(workdir.lock()) if group.main else None
      if group.main and not found:
        stack.callback(workdir.remove_if_unused)
      group.barrier('locked')
      group.agree('the workdir', locked or workdir.lock_text())
      stop = stack.enter_context(Stop())
      workdir.claim(resolved)
      for note in resolved.notes:
        say(note)
      watch.mark('config and workdir')
      device = devices.require_backend(request.require_backend)
      watch.mark('starting JAX')
      group.announce()
      say(f'device: {device}')
      finished = json.loads(group.broadcast(
        json.dumps(results.finished(workdir, say)) if group.main else None))
      runs = member_runs.runs_of(resolved, workdir)
      if extend is not None and len(runs) > 1:
        raise UserError(f'--extend={extend}: {workdir.path} holds {len(runs)} runs; '
                        'extend each of them, such as '
                        f'--workdir={runs[0].workdir.path}')
      if extend is not None:
        resolved = extending.longer(resolved, workdir, finished, extend)
        if group.main:
          workdir.extend(resolved, finished['step'])
        group.barrier('extended')
        say(f'extended by {extend}, to a duration of '
            f'{extending.text(resolved.experiment.duration)}; the results so far are '
            f'result_{finished["step"]}.json and report_{finished["step"]}.html')
      elif finished:
        if profiled is not None:
          raise UserError(f'--profile={profile}: this run is finished; --extend trains '
                          'it further')
        say(results.headline(finished, _monitored(resolved)))
        if group.main:
          with tracking.tracked(trackers, workdir, finished['versions'], say) as sent:
            sent.status = 'finished'
        say(f'this run is finished: {workdir.report}')
        return workdir.path
      if len(runs) == 1 or resolved.experiment.seeds > 1:
        train(request, resolved, workdir, device, group, stop, watch,
              trackers=trackers, before=finished if extend else None,
              profiled=profiled)
        return workdir.path
      if profiled is not None:
        raise UserError(f'--profile={profile}: of one fold; set --config.fold=0')

      def train_run(run, store):
        train(request, run.resolved, run.workdir, device, group, stop, Stopwatch(),
              trackers=trackers, store=store)

      def open_run(run):
        return opening.open_run(
          run.workdir, request.layout(run.resolved.experiment), opening.Access(
            request.data_dir, request.cache_dir, request.trust, lambda line: None),
          with_data=True, resolved=run.resolved)

      cross_validation.train(resolved, workdir, group, stop, train_run=train_run,
                             open_run=open_run)
  return workdir.path


def train(request: Request, resolved: resolving.Resolved, workdir: Workdir,
          device: str, group: ProcessGroup, stop: Stop, watch: Stopwatch, *,
          trackers: Sequence[str] = (), before: dict[str, Any] | None = None,
          batches: int | None = None, profiled: int | None = None,
          store: Callable[[dict[str, Any]], None] = lambda data: None) -> None:
  """Trains in a workdir that no other run uses, and writes the results.

  Args:
    request: the flags of every mode.
    resolved: the experiment.
    workdir: of the run.
    device: what it runs on, in words.
    group: the processes of the run.
    stop: asked after every dispatch.
    watch: since the start.
    trackers: where the log is sent; see `tracking.parse`.
    before: the result of the run if it is extended now.
    batches: batches of a split that an evaluation looks at; None for all.
    profiled: see `profiler.parse`.
    store: called with `Built.data` when the run is stored, before it trains.

  Raises:
    UserError: if the run cannot be built, resumed or written.
  """
  experiment, say = resolved.experiment, group.say
  with contextlib.ExitStack() as stack:
    startup = profiler.StartupProfiler(watch, say) if profiled == 0 else None
    if startup:
      stack.callback(startup.close)
    runs = member_runs.runs_of(resolved, workdir)
    if len(runs) > 1 and group.main:
      for run in runs:
        stack.enter_context(run.workdir.lock())
    fresh = not any(any(run.workdir.checkpoints.glob('*')) for run in runs)
    if fresh and experiment.init_from:
      initialize.require(experiment.init_from)
    layout = request.layout(experiment)
    for run in runs:
      manifest.read_all(run.workdir.checkpoints, run.workdir.seal(),
                        run.workdir.earlier_seals())
    access = opening.Access(request.data_dir, request.cache_dir, request.trust, say)
    watch.mark('config and workdir')
    built = opening.build_run(experiment, layout, workdir, access, mark=watch.mark)
    stack.callback(built.close)
    profiler.check_length(profiled or 0, built.steps)
    traced = trace(built.learner, built.train, built.evals, layout)
    watch.mark('tracing')
    # A mismatch is reported before anything is compiled or written.
    build.check_task(built, traced.output_shapes, say)
    for chosen in (thresholds, temperatures):
      chosen.split_of(built)  # refuses a test split
    taken = initialize.read(built, traced.carry.state, say) if (
      fresh and experiment.init_from) else None
    watch.mark('initializing')
    with profiler.names_compiled(profiled):
      programs = compile_traced(traced, mark=watch.mark)
    if group.main:
      workdir.store(resolved, built.data)
      store(built.data)
      for run in runs:
        run.workdir.store(run.resolved, built.data)
    group.barrier('stored')
    checkpoints = [stack.enter_context(_checkpoints(run.workdir, experiment.keep))
                   for run in runs]
    watch.mark('config and workdir')
    carry, every = _restored(built, programs, runs, checkpoints, say) or (
      _initial(built, programs, taken, runs, say), [TrainingProgress() for _ in runs])
    for progress in every:
      extending.reopen(progress, built.data['kept'])
    progress = _joint(every)
    if before:
      for line in extending.rates(built, carry.state, before['steps']):
        say(line)
    if group.count > 1:  # a fingerprint is another program to compile
      group.agree('the parameters', str(copies(carry.state.params)[0]))
    if progress.step == 0:
      check_monitor(built, programs.of_member(0), carry.state)
    watch.mark('initializing')
    _print_run(built, programs, say)
    joined = [member_runs.Member(run, own, saved, _writers(
      run.workdir, own, built, request, group, shown=len(runs) == 1),
      own.done is not None) for run, own, saved in zip(
        runs, every, checkpoints, strict=True)]
    for run, each in zip(runs, joined, strict=True):
      stack.callback(each.writers.close)
      _check_log(run.workdir, each.writers, each.progress, say, main=group.main)
    writers = joined[0].writers if len(runs) == 1 else _writers(
      workdir, progress, built, request, group)
    stack.callback(writers.close)
    sent = stack.enter_context(tracking.tracked(
      trackers if group.main else (), workdir, results.versions(), writers.say))
    progress.seconds['compile'] += programs.seconds
    progress.seconds['start'] += time.perf_counter() - watch.begin - programs.seconds
    running = loop.Loop(built, programs, carry, progress, joined, writers, group,
                        Throughput(built, traced.step), stop, batches, startup)
    if profiled:
      running.profiler = profiler.StepProfiler(
        profiled, workdir, programs.hlo(), step=progress.step, steps=built.steps,
        record=group.main, say=writers.say)
      stack.callback(running.profiler.close)
    watch.mark('config and workdir')
    running.run()
    for each in (*joined, running):
      each.writers.close()
    results.write(workdir, resolved, running, device)
    sent.status = 'finished' if progress.done else 'stopped'
  if progress.done and group.main:
    say(results.headline(workdir.read_json(workdir.result), _monitored(resolved)))
    if batches is None:  # a smoke test keeps no report
      say(f'report: {workdir.report}')
    if batches is None and importlib.util.find_spec('tensorboard'):
      say(f'curves: tensorboard --logdir={workdir.path}')
  elif not progress.done:
    say(f'{stop.name or "stopped"}: saved step {progress.step:,} in '
        f'{workdir.checkpoints}; to resume: {console.COMMAND} --workdir={workdir.path}')


def _monitored(resolved: resolving.Resolved) -> str | None:
  monitor = resolved.experiment.monitor
  return monitor and monitor.metric


@contextlib.contextmanager
def _checkpoints(workdir: Workdir, keep: int) -> Iterator[Checkpoints]:
  """The checkpoints of a run."""
  with workdir.writing():
    checkpoints = Checkpoints(workdir.checkpoints, keep, workdir.seal(),
                              workdir.earlier_seals())
  try:
    yield checkpoints
  finally:
    checkpoints.release()


def _writers(workdir: Workdir, progress: TrainingProgress, built: build.Built,
             request: Request, group: ProcessGroup, *, shown: bool = True) -> Writers:
  """The writers of a run, in the first process."""
  if not group.main:
    return Silent(progress.records)
  return Writers(workdir, progress.step, built.steps, built.train.order.batch_size,
                 request.say, shown=shown)


def _restored(built: build.Built, programs: Programs,
              runs: Sequence[member_runs.MemberRun],
              checkpoints: Sequence[Checkpoints], say: Callable[[str], None]
              ) -> tuple[Carry, list[TrainingProgress]] | None:
  """The latest checkpoint of each run, at the same step; None before there is one."""
  traced = programs.traced
  diverged = [len(runs) > 1 and member_runs.diverged(run) for run in runs]
  found = [None if wrong else each.restore_latest(traced.carry, say)
           for each, wrong in zip(checkpoints, diverged, strict=True)]
  some = next(filter(None, found), None)
  if some is None or not all(map(any, zip(found, diverged, strict=True))):
    return None
  # The carry of a member that diverged is never read.
  found = [each or (some[0], {'done': member_runs.NOT_FINITE}) for each in found]
  every = [TrainingProgress(**progress) for _, progress in found]
  step = min((p.step for p in every if not p.done), default=max(
    p.step for p in every))
  for index, progress in enumerate(every):
    if not progress.done and progress.step > step:  # stopped between two saves
      try:
        carry, values = checkpoints[index].restore(step, traced.carry)
      except Damaged as error:
        raise UserError(f'{runs[index].workdir.path}: the checkpoint of step {step:,}, '
                        f'the last that all seeds have, cannot be used: {error}'
                        ) from error
      found[index], every[index] = (carry, values), TrainingProgress(**values)
  say(f'resuming from step {step:,} of {built.steps:,}')
  return traced.members.joined([carry for carry, _ in found], traced.carry), every


def _joint(every: Sequence[TrainingProgress]) -> TrainingProgress:
  """The progress that the loop advances; of a single run, its own."""
  if len(every) == 1:
    return every[0]
  going = [progress for progress in every if not progress.done]
  first = (going or every)[0]
  return dataclasses.replace(first, seconds=dict(first.seconds))


def _initial(built: build.Built, programs: Programs, taken: dict | None,
             runs: Sequence[member_runs.MemberRun], say: Callable[[str], None]
             ) -> Carry:
  """The start of runs, with new parameters or those of `init_from`."""
  experiment, traced = built.experiment, programs.traced
  keys = [np.asarray(jax.random.PRNGKey(seed)) for seed in experiment.every_seed]
  carry = programs.init(traced.members.put(
    keys[0] if len(runs) == 1 else np.stack(keys)))
  if experiment.init_from:
    taken = taken or initialize.read(built, traced.carry.state, say)
    carry = traced.members.joined([
      initialize.with_parameters(each, taken)
      for each in traced.members.split(carry, traced.carry)], traced.carry)
  if runs[0].workdir.metrics.is_file():
    say('no checkpoint was saved before this run stopped: starting at step 0')
  return carry


def _print_run(built: build.Built, programs: Programs, say: Callable[[str], None]
               ) -> None:
  """Prints the size of the run, and which statistics do not cover a whole batch."""
  size, microbatches = built.train.order.batch_size, built.experiment.accumulate
  layout, padding = built.layout, built.train.order.padding
  shapes = programs.traced.carry.state  # of one run
  statistics = any('batch_stats' in name_of(path) for path, _ in
                   jax.tree.leaves_with_path(shapes.model_state))
  if microbatches > 1 and statistics:
    say(f'accumulate={microbatches}: batch statistics are over each microbatch of '
        f'{size // microbatches} examples, not over all {size}')
  if statistics and padding:
    say(f'{padding} masked examples pad the batch for {layout.shape}: batch '
        'statistics include them')
  frozen, parameters = freezing.sizes(shapes.params, built.experiment.freeze)
  if frozen:
    fresh = '' if built.experiment.init_from else (
      ' at their random initial values: --init_from=PATH gives them others')
    say(f'{frozen:,} of {parameters:,} parameters are frozen{fresh}')
  count = built.experiment.seeds
  say(f'{f"{count} runs of " * (count > 1)}{parameters:,} parameters in '
      f'{built.precision}, {built.steps:,} steps of '
      f'{size} examples over {layout.shape} ({layout.strategy}), compiled in '
      f'{programs.seconds:.1f} s')


def _check_log(workdir: Workdir, writers: Writers, progress: TrainingProgress,
               say: Callable[[str], None], *, main: bool) -> None:
  """Prints a warning if the log differs from what the run wrote."""
  if writers.records < progress.records:
    say(f'{workdir.metrics} has lost {progress.records - writers.records} of '
        f'{progress.records} records from before step {progress.step:,}')
  elif main and progress.step and writers.digest != progress.log:
    say(f'{workdir.metrics} is not as this run wrote it: the curves of the report '
        f'may be wrong before step {progress.step:,}')
