"""Opens runs: at their best checkpoint, with their data or without."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from bigmodels.config import Duration, Experiment
from bigmodels.config.resolving import Resolved
from bigmodels.core import paths
from bigmodels.core.errors import UserError
from bigmodels.data import dataset_spec
from bigmodels.data.batches import Batches
from bigmodels.data.sources import DataContext, in_lines
from bigmodels.hardware import devices
from bigmodels.parallel import layout as layouts
from bigmodels.parallel.layout import Layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.storage.records import read_result
from bigmodels.storage.stored_data import StoredData
from bigmodels.storage.workdir import Workdir, best_of_run
from bigmodels.training import build, inherited, initialize, temperatures, thresholds
from bigmodels.training.build import Built
from bigmodels.training.compile import trace
from bigmodels.training.folded import folded
from bigmodels.training.runs import Run


class Access(NamedTuple):
  """Where the data of a run is, and what opening it may execute and print.

  Attributes:
    data_dir: where its TFDS datasets are; None for where the run had them.
    cache_dir: for decoded data.
    trust: whether to import and execute whatever the run names.
    say: prints a line.
  """

  data_dir: str | None
  cache_dir: pathlib.Path
  trust: bool = False
  say: Callable[[str], None] = print

  def context(self, stored: StoredData) -> DataContext:
    """What sources need to know of a run, with what it keeps."""
    def opened(path):
      return load(path, cache_dir=self.cache_dir, trust=self.trust, say=self.say)

    data_dir = str(paths.resolved(self.data_dir)) if self.data_dir else stored.data_dir
    return DataContext(data_dir, self.cache_dir, dict(stored.kept), in_lines(self.say),
                       opened, trust=self.trust)


def load(path: str | os.PathLike, *, data_dir: str | None = None,
         cache_dir: str | os.PathLike = paths.CACHE, trust: bool = False,
         say: Callable[[str], None] = print) -> Run:
  """Opens the run in a workdir, at its best checkpoint, on one device.

  No data is needed before `Run.evaluate`.

  Args:
    path: of the workdir.
    data_dir: where its TFDS datasets are; None for where the run had them.
    cache_dir: for decoded data and compiled programs.
    trust: whether to import and execute whatever the run names.
    say: prints a line.

  Raises:
    UserError: if there is no run with a sound checkpoint, or it asks for what is not
      trusted.
  """
  devices.skip_absent_tpu()
  for name, value in (('path', path), ('cache_dir', cache_dir)):
    if not isinstance(value, str | os.PathLike):
      raise UserError(f'load: {name} must be a str or a Path, got {value!r}')
  workdir = Workdir(paths.resolved(str(path)))
  workdir.check_single()
  if not workdir.config.is_file() or not any(workdir.checkpoints.glob('*')):
    raise UserError(f'{workdir.path}: there is no run with a checkpoint; must be the '
                    '--workdir of one')
  here = layouts.make_layout(MeshShape(), 'jit', (), jax.local_devices()[:1])._replace(
    abstract=False)
  return open_run(workdir, here, Access(
    data_dir, paths.checked(str(cache_dir), 'cache_dir'), trust, say))


def open_run(workdir: Workdir, layout: Layout, access: Access, *,
             with_data: bool = False, evals: Mapping[str, Batches] | None = None,
             resolved: Resolved | None = None) -> Run:
  """Opens a run at its best checkpoint.

  Args:
    workdir: of the run.
    layout: where its arrays lie.
    access: to its data.
    with_data: whether to open its data now.
    evals: evaluations of other data, which are opened in place of that of the run.
    resolved: what `workdir.recorded` gives; None to read it here.

  Raises:
    UserError: if it is not as it was left, has no sound checkpoint, or asks for what is
      not trusted.
  """
  if resolved is None:
    resolved = workdir.recorded({}, trusted=access.trust, with_data=with_data)
    for note in resolved.notes:
      access.say(note)
  built = build_run(resolved.experiment, layout, workdir, access, with_data=with_data,
                    evals=evals)
  traced = trace(built.learner, built.train, built.evals, layout)
  if built.evals:
    build.check_task(built, traced.output_shapes, access.say)
  step, carry = best_of_run(workdir, traced.carry, access.say)
  # A result that is damaged matters for what was chosen after training alone.
  matters = built.task.threshold or built.task.calibration
  result = read_result(workdir, access.say if matters else (lambda line: None))
  unfinished = result['status'] != 'finished' if result else (
    not workdir.result.exists())
  so_far = ' so far: this run is not finished' * unfinished
  access.say(f'step {step:,} of {workdir.path}, the best checkpoint{so_far}')
  threshold = built.task.threshold and thresholds.kept(
    built, result, step, access.say)
  temperature = temperatures.kept(built, result, step, access.say)
  reopen = functools.partial(open_run, workdir, layout, access._replace(
    say=lambda line: None), resolved=resolved)
  return Run(resolved, workdir.path, built, traced, carry.state, step, reopen,
             threshold, access.say, temperature)


def initialized(resolved: Resolved, layout: Layout, access: Access) -> Run:
  """An experiment that writes text or makes sounds, with its `init_from`, at step 0.

  Args:
    resolved: the experiment.
    layout: where its arrays lie.
    access: to the data of the run that `init_from` names, if it is one.

  Raises:
    UserError: if its task does neither, or the parameters are not there or do not
      fit.
  """
  experiment = dataclasses.replace(resolved.experiment, seeds=1)
  stored = Workdir(experiment.init_from).stored_data()
  kept = {name: state for name, state in inherited.kept_of(
    experiment.init_from).items() if name == 'tokenizer'}
  built = build.build(experiment, layout, access.context(stored._replace(kept=kept)))
  traced = trace(built.learner, built.train, {}, layout)
  run = Run(resolved, pathlib.Path(experiment.init_from), built, traced,
            traced.carry.state, 0)
  if built.task.sounds is None:
    _ = run.writer  # refuses, before parameters are read, which may not fit either
  init = traced.lower['init']().compile(devices.compiler_options(layout.platform))
  carry = init(layout.replicate(np.asarray(jax.random.PRNGKey(experiment.seed))))
  return dataclasses.replace(run, state=initialize.start(
    built, carry, access.say).state)


def build_run(experiment: Experiment, layout: Layout, workdir: Workdir,
              access: Access, *, with_data: bool = True,
              evals: Mapping[str, Batches] | None = None,
              mark: Callable[[str], None] = lambda phase: None) -> Built:
  """Builds with what `data.json` of a workdir keeps; see `Built.data` for what is new.

  Args:
    experiment: what to build.
    layout: where its arrays lie.
    workdir: of the run.
    access: to its data.
    with_data: whether to open the data; without it there are no evals, and its shapes
      are those that the workdir keeps.
    evals: evaluations of other data; see `open_run`.
    mark: called with the name of a phase when it has ended.

  Raises:
    UserError: also if what is kept is not as the run left it, or is gone; see
      `Workdir.stored_data`.
  """
  stored = workdir.stored_data()
  context = access.context(stored)
  if not with_data:
    experiment = without_data(experiment, layout, stored.kept, evals or {})
    for name in evals or ():
      context.kept.pop(f'identity {name}', None)
    if not evals:
      context.open_run = lambda path: None  # only evaluations open another
  return build.build(experiment, layout, context, mark=mark)


def without_data(experiment: Experiment, layout: Layout, kept: dict[str, Any],
                 others: Mapping[str, Batches]) -> Experiment:
  """The experiment with the recorded shapes of its data, for as many steps.

  Args:
    experiment: of the run.
    layout: where its arrays lie.
    kept: what the run keeps of its data; see `Built.data`.
    others: the evaluations, in place of its own.
  """
  experiment = folded(experiment)  # the recorded shapes are of its fold
  length = kept.get('train', {}).get('length', 1)
  steps = experiment.duration.step(
    1, length / (build.batch_size(experiment, layout, length) or length))
  evals = [*experiment.evals.values()]
  environment = getattr(experiment.train.source, 'environment', None)
  # The state of an agent has the environments of a whole batch.
  size = layout.shape.data_shards if environment is None else (
    experiment.train.batch_size)
  train = dataclasses.replace(
    experiment.train, resident=False, batch_size=size,
    source=dataset_spec.Recorded(
      environment, getattr(experiment.train.source, 'recorded', None)),
    transforms=evals[0].transforms if evals else experiment.train.transforms)
  return dataclasses.replace(
    experiment, train=train, evals=others, monitor=None, accumulate=1,
    duration=Duration(steps=steps))
