"""--mode=train: trains, or goes on where a workdir stopped."""

import contextlib
import json
import time
from typing import Any

import jax
import numpy as np

from bigmodels import build, checkpoint, config, initialize, loop, results
from bigmodels.checkpoint import Checkpoints, Damaged
from bigmodels.logs.writers import Silent, Writers
from bigmodels.names import name_of
from bigmodels.parallel import devices, hosts
from bigmodels.parallel.compile import compile_traced, trace
from bigmodels.parallel.hosts import Hosts
from bigmodels.parallel.meter import Meter
from bigmodels.request import Request
from bigmodels.workdir import Workdir


def run(request: Request) -> None:
  start = time.perf_counter()
  resolved = request.resolve()
  with hosts.joined(request.address, request.hang_timeout,
                    shared=request.shared) as all_hosts:
    say, text = all_hosts.say, config.to_text(resolved)
    request.agree(all_hosts, text, resolved.source.digest)
    all_hosts.agree('the versions', repr(results.versions()))
    if request.workdir:
      workdir = Workdir(request.workdir)
    else:
      workdir = Workdir(all_hosts.tell(
        str(Workdir.fresh(resolved.name).path) if all_hosts.main else None))
    say(f'workdir: {workdir.path}')
    with contextlib.ExitStack() as stack:
      # One process locks the folder; the others must see in it what that one wrote.
      locked = stack.enter_context(workdir.lock()) if all_hosts.main else None
      all_hosts.barrier('locked')
      all_hosts.agree('the workdir', locked or workdir.lock_text())
      stop = stack.enter_context(loop.Stop())
      workdir.claim(resolved)
      for note in resolved.notes:
        say(note)
      device = devices.require(request.require_backend)
      all_hosts.announce()
      say(f'device: {device}')
      finished = json.loads(all_hosts.tell(
        json.dumps(results.finished(workdir, say)) if all_hosts.main else None))
      if finished:
        say(results.headline(finished))
        say(f'this run is finished: {workdir.report}')
        return
      _train(request, resolved, workdir, device, all_hosts, stop, start)


def _train(request: Request, resolved: config.Resolved, workdir: Workdir, device: str,
           all_hosts: Hosts, stop: loop.Stop, start: float) -> None:
  experiment, say = resolved.experiment, all_hosts.say
  with contextlib.ExitStack() as stack:
    beginning = experiment.init_from and not any(workdir.checkpoints.glob('*'))
    if beginning:
      initialize.require(experiment.init_from)
    layout = request.layout(experiment)
    checkpoint.check(workdir.checkpoints, workdir.seal())
    built = build.open_run(experiment, layout, workdir, request.data_dir,
                           request.cache_dir, trust=request.trust, say=say)
    stack.callback(built.close)
    traced = trace(built.learner, built.train, built.evals, layout)
    # What does not fit is told before anything is compiled, or written.
    build.check_classes(built, traced.outputs, say)
    taken = initialize.read(built, traced.carry.state, say) if beginning else None
    programs = compile_traced(traced, built.train, built.evals, layout)
    if all_hosts.main:
      workdir.keep(resolved, built.data)
    all_hosts.barrier('kept')
    with workdir.blame():
      checkpoints = Checkpoints(workdir.checkpoints, experiment.keep, workdir.seal())
    stack.callback(checkpoints.release)
    ledger = loop.Ledger()
    restored = checkpoints.restore_latest(programs.traced.carry, say)
    if restored:
      carry, progress = restored
      ledger = loop.Ledger(**progress)
      say(f'going on from step {ledger.step:,} of {built.steps:,}')
    else:
      carry = programs.init(layout.everywhere(
        np.asarray(jax.random.PRNGKey(experiment.seed))))
      if experiment.init_from:
        carry = initialize.put(
          carry, taken or initialize.read(built, carry.state, say))
      if workdir.metrics.is_file():
        say('no checkpoint was saved before this run stopped: starting at step 0')
    all_hosts.agree('the parameters', str(loop.copies(carry.state.params)[0]))
    if ledger.step == 0:
      loop.check_monitor(built, programs, carry.state)
    size = built.train.order.batch_size
    parts = experiment.accumulate
    statistics = any('batch_stats' in name_of(path) for path, _ in
                     jax.tree.leaves_with_path(carry.state.extra))
    if parts > 1 and statistics:
      say(f'accumulate={parts}: batch statistics are those of each part of '
          f'{size // parts} examples, not of all {size}')
    if statistics and built.train.order.filling:
      say(f'{built.train.order.filling} masked examples fill up the batch for '
          f'{layout.shape}: batch statistics count them')
    meter = Meter(programs.traced.step, layout, size, built.precision)
    parameters = sum(p.size for p in jax.tree.leaves(carry.state.params))
    say(f'{parameters:,} parameters in {built.precision}, {built.steps:,} steps of '
        f'{size} examples over {layout.shape} ({layout.how}), compiled in '
        f'{programs.seconds:.1f} s')
    writers = Writers(workdir, ledger.step, built.steps, size) if all_hosts.main else (
      Silent(ledger.records))
    stack.callback(writers.close)
    if writers.records < ledger.records:
      say(f'{workdir.metrics} has lost {ledger.records - writers.records} of '
          f'{ledger.records} records from before step {ledger.step:,}')
    elif all_hosts.main and restored and writers.digest != ledger.log:
      say(f'{workdir.metrics} is not as this run wrote it: the curves of the report '
          f'may be wrong before step {ledger.step:,}')
    ledger.seconds['compile'] += programs.seconds
    ledger.seconds['start'] += time.perf_counter() - start - programs.seconds
    running = loop.Loop(
      built, programs, carry, ledger, checkpoints, writers, all_hosts, meter, stop)
    running.run()
    writers.close()
    state = _best_state(running) if ledger.done else running.carry.state
    results.write(workdir, resolved, built, programs, state, ledger, meter, device,
                  main=all_hosts.main)
  if ledger.done and all_hosts.main:
    say(results.headline(workdir.read_json(workdir.result)))
    say(f'report: {workdir.report}')
  elif not ledger.done:
    say(f'{stop.name or "stopped"}: saved step {ledger.step:,} in '
        f'{workdir.checkpoints}; to go on: python run.py --workdir={workdir.path}')


def _best_state(running: loop.Loop) -> Any:
  """The state of the best checkpoint: what a run is told and used by."""
  best = running.ledger.best_step
  if best in (None, running.ledger.step):
    return running.carry.state
  try:
    carry, _ = running.checkpoints.restore(best, running.programs.traced.carry)
  except Damaged as error:
    running.hosts.say(f'the best checkpoint, of step {best}, is damaged ({error}): the '
                      f'results are those of step {running.ledger.step}')
    running.ledger.best_step = running.ledger.step
    return running.carry.state
  return carry.state
