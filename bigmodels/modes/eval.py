"""--mode=eval: evaluates the best checkpoint of a workdir again."""

import contextlib

from bigmodels import build, config, initialize, loop, results
from bigmodels.checkpoint import Checkpoints, Damaged
from bigmodels.errors import UserError
from bigmodels.parallel import devices, hosts
from bigmodels.parallel.compile import compile_programs
from bigmodels.request import Request
from bigmodels.workdir import Workdir


def run(request: Request) -> None:
  if request.workdir is None:
    raise UserError('--mode=eval: name the --workdir of a run')
  workdir = Workdir(request.workdir)
  experiment = workdir.recorded({}).experiment
  if request.experiment or request.overrides:
    workdir.claim(request.resolve())
  if not workdir.checkpoints.is_dir():
    raise UserError(f'--workdir={workdir.path}: there is no checkpoint to evaluate')
  with contextlib.ExitStack() as stack:
    all_hosts = stack.enter_context(hosts.joined(
      request.address, request.hang_timeout, shared=request.shared))
    say, text = all_hosts.say, config.read(workdir.config)
    request.agree(all_hosts, text)
    # The same file for all: two runs may well have the same text in it.
    all_hosts.agree('the workdir', str(workdir.config.stat().st_mtime_ns))
    all_hosts.announce()
    say(f'workdir: {workdir.path}')
    say(f'device: {devices.require(request.require_backend)}')
    checkpoints = Checkpoints(workdir.checkpoints, experiment.keep, workdir.seal(),
                              read_only=True)
    stack.callback(checkpoints.release)
    layout = request.layout(experiment)
    built = build.open_run(experiment, layout, workdir, request.data_dir,
                           request.cache_dir, say=say)
    stack.callback(built.close)
    programs = compile_programs(built.learner, built.train, built.evals, layout)
    build.check_classes(built, programs.traced.outputs)
    try:
      step, carry = initialize.best(checkpoints, lambda step: programs.traced.carry)
    except Damaged as error:
      raise UserError(f'the best checkpoint is damaged ({error}); there is '
                      f'{", ".join(map(str, checkpoints.steps))}') from error
    found = {}
    for name, feed in built.evals.items():
      found |= loop.evaluate(built, programs, name, feed, carry.state)[0]
    say(f'step {step:,} of {workdir.path}, the best checkpoint:')
    for name, value in found.items():
      say(f'  {name}: {value!r}')
    before = (results.read(workdir, say) or {'metrics': {}})['metrics']
    changed = [k for k, v in found.items() if k in before and before[k] != v]
    if changed:
      say('not as in result.json: ' + ', '.join(
        f'{k} was {before[k]!r}' for k in changed))
    elif before:
      say('the same numbers as in result.json')
