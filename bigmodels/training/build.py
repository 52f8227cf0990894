"""From a resolved experiment to what runs: data opened, configs completed."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
import optax

from bigmodels import optim
from bigmodels.config import Experiment, tree
from bigmodels.core.errors import UserError, as_user_error, nearest
from bigmodels.data import batches, dataset_spec
from bigmodels.data.batches import Loader
from bigmodels.data.sources import DataContext, Dataset
from bigmodels.hardware import devices
from bigmodels.learners import Learner
from bigmodels.learners.gradient import checked
from bigmodels.optim.measured import measured
from bigmodels.parallel import precision, products
from bigmodels.parallel.layout import Layout
from bigmodels.parallel.precision import Precision
from bigmodels.tasks import Split, Task, with_frozen_statistics
from bigmodels.techniques import averages, freezing, measures
from bigmodels.training import inherited, run_context, splits
from bigmodels.training.folded import folded


class Built(NamedTuple):
  """An experiment that is ready to be compiled.

  Attributes:
    experiment: what it was built from.
    model: completed; the learner's works in `precision`.
    task: of the model; of what its learner takes in place of a `Task`, its `task`.
    learner: with model, task and optimizer inside.
    layout: where its arrays lie.
    precision: of the model's arithmetic.
    train: the training loader.
    evals: split -> loader.
    steps: length of the run.
    data: what is kept of the data with the run, for `data.json`.
    learning_rates: (length of a run) -> name -> the optimizer's learning rate or
      schedule, where its config has one.
  """

  experiment: Experiment
  model: nn.Module
  task: Task
  learner: Learner
  layout: Layout
  precision: Precision
  train: Loader
  evals: dict[str, Loader]
  steps: int
  data: dict
  learning_rates: Callable[[int], dict[str, Any]] = lambda steps: {}

  def close(self) -> None:
    """Stops the loaders' workers."""
    for loader in (self.train, *self.evals.values()):
      loader.close()


def build(experiment: Experiment, layout: Layout, context: DataContext, *,
          mark: Callable[[str], None] = lambda phase: None) -> Built:
  """Opens the data and completes the configs with what it says.

  Args:
    experiment: what to build.
    layout: where its arrays lie.
    context: what sources need of the world, and what is kept with the run.
    mark: called with the name of a phase when it has ended.

  Raises:
    UserError: if data is missing or does not fit the experiment.
  """
  if experiment.seeds % layout.shape.population:
    raise UserError(f'--mesh={layout.shape}: population:{layout.shape.population} does '
                    f'not divide --seeds={experiment.seeds}')
  experiment = folded(experiment)
  inherited.take(experiment, context)
  every = {'train': experiment.train, **experiment.evals}
  opened: dict[str, Dataset] = {}
  for name, each in every.items():
    with as_user_error(f'{name}: the data cannot be opened'):
      opened[name] = each.source.open(context)
  _check_environments(opened)
  splits.check_apart(every, opened, context)
  splits.check_names(opened)
  splits.check_scaling(every, context)
  train = opened['train']
  evaluated = next((opened[name] for name in experiment.evals), None)
  context.keep('train', lambda: dataset_spec.record(train, evaluated))
  steps = _steps(experiment, layout, train, context)
  mark('opening the data')
  arithmetic = experiment.precision or precision.default(layout.platform)
  supplied = run_context.supplied(train, context, steps)
  with as_user_error('the experiment cannot be built'):
    model = tree.complete(experiment.model, supplied)
    if 'tokenizer' in train.provides:
      _check_vocabulary(model, supplied['vocabulary']())
    task = tree.complete(experiment.task, supplied)(
      precision.in_precision(model, arithmetic))
    optimizer = tree.complete(experiment.optimizer, supplied)
    if not hasattr(optimizer, 'update'):
      raise ValueError(f'optimizer: must make an optax transformation, made '
                       f'{optimizer!r}')
    if experiment.layer_decay is not None:
      optimizer = optax.chain(optimizer, optim.layerwise_decay(experiment.layer_decay))
    learning_rates = functools.partial(_learning_rates, experiment.optimizer, supplied)
    optimizer = measured(optimizer, learning_rates(steps), every=_measure_every(
      experiment, layout, train.length))
    gradient, freeze = tree.complete(experiment.gradient, supplied), experiment.freeze
    if freeze is not None:
      gradient = freezing.without_gradient(gradient, freeze)
      if isinstance(task, Task):
        task = with_frozen_statistics(task, (freeze,))
    gradient = checked(functools.partial(
      gradient, microbatches=experiment.accumulate,
      axis_name=layout.axis_name, guide=layout.constrain_shardings))
    learner = tree.complete(experiment.learner, supplied)(task, optimizer, gradient)
    if not isinstance(learner, Learner):
      raise ValueError(f'learner: must make a learners.Learner, made {learner!r}')
    if freeze is not None:
      learner = freezing.frozen(learner, freeze)
    rule = tree.complete(experiment.average, supplied)
    if rule is not None:
      rule = averages.exponential(rule) if isinstance(rule, float) else rule
      if not isinstance(rule, averages.Rule):
        raise ValueError('average: must be a decay such as 0.999, or make a '
                         f'techniques.averages.Rule, made {rule!r}')
      learner = averages.averaged(learner, rule)
    learner = measures.logged(learner)
    if arithmetic == 'bfloat16_products':
      learner = _with_rounded_products(learner, layout.platform)
    transforms = {name: tree.complete(each.transforms, supplied)
                  for name, each in every.items()}
  mark('building')

  def loader(name, **settings):
    return batches.open_loader(every[name], name, context, layout, dataset=opened[name],
                               transforms=transforms[name], **settings)

  loaders = {
    'train': loader('train', seed=experiment.every_seed, shuffle=True, steps=steps,
                    microbatches=experiment.accumulate),
    **{name: loader(name, seed=0, shuffle=False, steps=0) for name in experiment.evals}}
  splits.say_counts(loaders, context)
  mark('loading the data')
  return Built(
    experiment, model, task if isinstance(task, Task) else task.task, learner, layout,
    arithmetic, loaders.pop('train'), loaders, steps, {
      'data_dir': context.data_dir, 'kept': context.kept}, learning_rates)


def _with_rounded_products(learner: Learner, platform: str) -> Learner:
  """A learner with the products that 'bfloat16_products' marks in its model rounded."""
  on_cpu = platform == 'cpu'
  step, evaluate = (
    products.rounded(function, native=not on_cpu or devices.has_matrix_units(),
                     in_order=on_cpu) for function in (learner.step, learner.evaluate))
  return learner._replace(step=step, evaluate=evaluate)


_NORMS_EVERY = 10  # steps: 10 times less than what they cost in every step


def _measure_every(experiment: Experiment, layout: Layout, length: int) -> int:
  """Steps between measurements of norms: each line of the log has one."""
  size = batch_size(experiment, layout, length) or length
  each = experiment.log_every.steps or experiment.log_every.epochs * length / size
  return max(1, min(_NORMS_EVERY, int(each)))


def _learning_rates(config: Any, supplied: dict[str, Callable], steps: int
                    ) -> dict[str, Any]:
  """Name -> learning rate or schedule, of the arguments `learning_rate` of a config."""
  found = {path: tree.complete(rate, {**supplied, 'steps': lambda: steps})
           for path, rate in tree.named(config, 'learning_rate')}
  found = {path: rate for path, rate in found.items() if rate is not None}
  if len(found) == 1:
    return dict(zip(['learning_rate'], found.values(), strict=True))
  return {f'learning_rate_{path.removesuffix("learning_rate").strip(".")}'.replace(
    '.', '_').rstrip('_'): rate for path, rate in found.items()}


def batch_size(experiment: Experiment, layout: Layout, length: int) -> int | None:
  """The examples of a training step; None for the whole split.

  Args:
    experiment: whose `train.batch_size` it is.
    layout: the devices that a batch is cut over.
    length: examples of the training split.
  """
  return batches.size_of(experiment.train.batch_size, length,
                         layout.shape.data_shards * experiment.accumulate)


def _steps(experiment: Experiment, layout: Layout, train: Dataset,
           context: DataContext) -> int:
  """The length of the run."""
  size = batch_size(experiment, layout, train.length) or train.length
  if callable(experiment.train.batch_size):
    context.note(f'a batch of {size}, for a training split of {train.length:,} '
                 'examples; batch_size=N sets another one')
  steps = experiment.duration.step(1, train.length / size)
  if steps >= 2**31:
    raise UserError(f'--config.duration: {steps:,} steps are more than can be counted; '
                    'must be < 2**31')
  return steps


def _check_environments(opened: dict[str, Dataset]) -> None:
  """Refuses evaluations in another environment than that of training."""
  found = {name: each.provides['environment']() for name, each in opened.items()
           if 'environment' in each.provides}
  for name in opened if 'train' in found else ():
    if name not in found:
      raise UserError(f'{name}: has no episodes, must have those of {found["train"]}')
    if found[name] != found['train']:
      raise UserError(f'{name}: its episodes are of {found[name]}, those of train of '
                      f'{found["train"]}')


def _check_vocabulary(model: nn.Module, size: int) -> None:
  """Refuses a model of fewer tokens than the data has: lookups would be clamped."""
  for path in ('model', 'model.encoder'):
    part = model if path == 'model' else getattr(model, 'encoder', None)
    vocabulary = getattr(part, 'vocabulary', None)
    if vocabulary is not None and vocabulary < size:
      raise UserError(f'--config.{path}.vocabulary={vocabulary}: the tokenizer of the '
                      f'data has {size} tokens; set it to at least that')


def check_task(built: Built, outputs: dict[str, dict],
               say: Callable[[str], None] = print) -> None:
  """Has the task check every split, before anything is compiled.

  Args:
    built: the experiment.
    outputs: split -> shapes of what its evaluation gives; see `compile.Traced`.
    say: prints a line; for labels that leave a metric without a value.

  Raises:
    UserError: for a model or labels that do not fit the task.
  """
  for name, found in outputs.items():
    for each in built.task.predictions:
      if each not in found:
        raise UserError(f'{name}: the prediction {each!r} of the task is none of its '
                        f'outputs{nearest(each, found)}')
  if built.task.check is None:
    return
  monitor = built.experiment.monitor
  for name, loader in {'train': built.train, **built.evals}.items():
    dataset = loader.dataset
    built.task.check(Split(
      name, dataset.length, dataset.classes, dataset.named,
      None if dataset.shapes_only else loader.labels,
      outputs.get(name, {}), monitor.metric if monitor else None, say,
      _weights(dataset)))


def _weights(dataset: Dataset) -> np.ndarray | None:
  """The column `weights` of a split that is in memory, or None."""
  if dataset.shapes_only or not batches.fits(dataset) or (
    'weights' not in dataset.read(np.zeros(1, int))):
    return None
  return np.asarray(dataset.load()['weights'])
