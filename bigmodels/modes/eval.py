"""--mode=eval: re-evaluates the best checkpoint of a workdir."""

import contextlib

from bigmodels.cli.request import Request
from bigmodels.config.resolving import Resolved
from bigmodels.core import files
from bigmodels.core.errors import UserError
from bigmodels.hardware import devices
from bigmodels.training import opening, results


def run(request: Request) -> None:
  """Evaluates the best checkpoint, and compares the result with `result.json`.

  Raises:
    UserError: if there is no workdir, or its run cannot be opened.
  """
  if request.workdir is None:
    raise UserError('--mode=eval: set the --workdir of a run')
  workdir, resolved = request.recorded()
  with contextlib.ExitStack() as stack:
    group = stack.enter_context(request.joined())
    say, text = group.say, files.read_text(workdir.config)
    request.agree(group, text, resolved.source.digest)
    # Compares the file, not its text, which may be the same in two runs.
    group.agree('the workdir', str(workdir.config.stat().st_mtime_ns))
    group.announce()
    say(f'workdir: {workdir.path}')
    for note in resolved.notes:
      say(note)
    say(f'device: {devices.require_backend(request.require_backend)}')
    access = opening.Access(request.data_dir, request.cache_dir, request.trust, say)
    run = opening.open_run(workdir, request.layout(resolved.experiment), access,
                           with_data=True, resolved=resolved)
    stack.callback(run.built.close)
    found = run.evaluate()
    for name, value in found.items():
      say(f'  {name}: {value!r}')
    result = results.read(workdir, say) or {'metrics': {}}
    before = result['metrics']
    changed = [k for k, v in found.items() if k in before and before[k] != v]
    if changed:
      say('different from result.json: ' + ', '.join(
        f'{k} was {before[k]!r}' for k in changed))
      for line in _causes(result, resolved, run.step):
        say(f'  {line}')
    elif before:
      say('the same numbers as in result.json')


def _causes(result: dict, resolved: Resolved, step: int) -> list[str]:
  """Changes since a result was written that can change its numbers."""
  before, now = result.get('versions', {}), results.versions()
  gone = result['best_step'] not in (None, step)
  return [*resolved.notes, *[f'result.json is of step {result["best_step"]}, whose '
                             'checkpoint is missing'] * gone, *(
    f'{name} was {before[name]} when result.json was written, it is {now[name]} now'
    for name in now if name in before and before[name] != now[name])] or [
    'result.json was written with the same code and versions']
