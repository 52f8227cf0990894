"""From a resolved experiment to what runs: data opened, recipes completed."""

import functools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bigmodels.config import Experiment, Monitor, tree
from bigmodels.core.errors import UserError, blamed, listed
from bigmodels.data import batches, dataset_spec, table
from bigmodels.data.batches import Loader
from bigmodels.data.sources import DataContext, intact
from bigmodels.learners import Learner
from bigmodels.learners.gradient import mean_gradient
from bigmodels.parallel import precision
from bigmodels.parallel.layout import Layout
from bigmodels.parallel.precision import Precision
from bigmodels.storage.workdir import Workdir
from bigmodels.training import splits


class Built(NamedTuple):
  """An experiment that is ready to be compiled.

  Attributes:
    experiment: what it was built from.
    model: completed; the learner's works in `precision`.
    learner: with model, task and optimizer inside.
    layout: where its arrays lie.
    precision: of the model's arithmetic.
    train: the training loader.
    evals: split -> loader.
    steps: length of the run.
    data: what is kept of the data with the run, for `data.json`.
  """

  experiment: Experiment
  model: Any
  learner: Learner
  layout: Layout
  precision: Precision
  train: Loader
  evals: dict[str, Loader]
  steps: int
  data: dict

  def close(self) -> None:
    """Stops the loaders' workers."""
    for loader in (self.train, *self.evals.values()):
      loader.close()


def build(experiment: Experiment, layout: Layout, context: DataContext) -> Built:
  """Opens the data and completes the recipes with what it says.

  Raises:
    UserError: if data is missing or does not fit the experiment.
  """
  _take_tokenizer(experiment, context)
  _take_table(experiment, context)
  with blamed('train: the data cannot be opened'):
    source = experiment.train.source.open(context)
  evaluated = {}
  for name, b in experiment.evals.items():
    with blamed(f'{name}: the data cannot be opened'):
      evaluated[name] = b.source.open(context)
  every = {'train': experiment.train, **experiment.evals}
  splits.check_apart(every, {'train': source, **evaluated}, context)
  splits.check_scaling(every, context)
  context.keep('train', lambda: dataset_spec.record(source))
  examples = source  # what mean, std and their like are fitted to
  if source.shapes_only:  # one is like all
    examples = source._replace(length=1, load=lambda: source.read(np.zeros(1, int)))
  size = batch_size(experiment, layout, source.length) or source.length
  if callable(experiment.train.batch_size):
    context.note(f'a batch of {size}, for a training split of {source.length:,} '
                 'examples; batch_size=N sets another one')
  steps = experiment.duration.step(1, source.length / size)
  if steps >= 2**31:
    raise UserError(f'--config.duration: {steps:,} steps are more than can be counted; '
                    'set it to fewer than 2**31')

  arithmetic = experiment.precision or precision.default(layout.platform)

  def inputs(index):
    return lambda: context.keep(
      'inputs', lambda: batches.channel_statistics(examples))[index]

  def targets(index):
    return lambda: context.keep('targets', lambda: _target_statistics(examples))[index]

  facts = {
    'steps': lambda: steps,
    'outputs': lambda: _outputs(source),
    'mean': inputs(0),
    'std': inputs(1),
    'whitening': lambda: context.keep('whitening', lambda: batches.whitening(
      examples, inputs(0)(), inputs(1)())),
    'target_mean': targets(0),
    'target_std': targets(1),
    'environment': lambda: _environment(experiment),
    'trained': lambda: functools.partial(_measuring, context, source, model),
    'examples': lambda: lambda count: source.read(
      np.arange(min(count, source.length)))['inputs'],
    'tokenizer': lambda: _tokenizer(source, 'tokenizer'),
    'vocabulary': lambda: _tokenizer(source, 'vocabulary').size,
  }
  model = None
  with blamed('the experiment cannot be built'):
    model = tree.complete(experiment.model, facts)
    _check_vocabulary(model, source)
    task = tree.complete(experiment.task, facts)(
      precision.in_precision(model, arithmetic))
    optimizer = tree.complete(experiment.optimizer, facts)
    if not hasattr(optimizer, 'update'):
      raise ValueError(f'optimizer: made {optimizer!r}, wants an optax transformation')
    learn = tree.complete(experiment.learner, facts)
    learner = learn(task, optimizer, functools.partial(
      mean_gradient, parts=experiment.accumulate, axis_name=layout.axis_name,
      guide=layout.guided))
    transforms = {name: tree.complete(b.transforms, facts)
                  for name, b in every.items()}
  train = batches.open_loader(
    experiment.train, 'train', context, layout, dataset=source, seed=experiment.seed,
    shuffle=True, steps=steps, transforms=transforms['train'],
    parts=experiment.accumulate)
  evals = {name: batches.open_loader(
    b, name, context, layout, dataset=evaluated[name], seed=0, shuffle=False, steps=0,
    transforms=transforms[name]) for name, b in experiment.evals.items()}
  splits.check_names(train, evals)
  data = {'data_dir': context.data_dir, 'kept': context.kept}
  return Built(
    experiment, model, learner, layout, arithmetic, train, evals, steps, data)


def batch_size(experiment: Experiment, layout: Layout, length: int) -> int | None:
  return batches.size_of(experiment.train.batch_size, length,
                         layout.shape.parts * experiment.accumulate)


def _environment(experiment: Experiment) -> Any:
  """What the episodes of an experiment are played in, the same for every split."""
  ours = getattr(experiment.train.source, 'environment', None)
  if ours is None:
    raise UserError('train: the learner acts in an environment: give it data.Episodes '
                    'of one as its source')
  for name, b in experiment.evals.items():
    theirs = getattr(b.source, 'environment', None)
    if theirs != ours:
      raise UserError(f'{name}: its episodes are of {theirs}, those of train of {ours}')
  return ours


def _measuring(context: DataContext, source, model: Any, path: str) -> Any:
  """The run by which this one is measured; its class 3, say, has to be ours.

  Raises:
    UserError: naming the first class that is another one there.
  """
  run = context.trained(path)
  ours = source.classes
  if run is None or ours is None or run.classes is None or (
    getattr(model, 'classes', None) == 0):  # whose classes nobody asks for
    return run
  place = next((i for i, (a, b) in enumerate(zip(ours, run.classes, strict=False))
                if a != b), None)
  if place is None:
    return run
  differ = (f'class {place} is {run.classes[place]!r} in {run.name}, and '
            f'{ours[place]!r} in the data of this run')
  if source.named and run.named:
    same = sorted(ours) == sorted(run.classes)
    raise UserError(differ + ': the same classes in another order' * same)
  context.say(f'{differ}; one of them has numbers for names, so they are compared by '
              'number')
  return run


def check_classes(built: Built, outputs: dict[str, dict],
                  say: Callable[[str], None] = print) -> None:
  """Refuses a model that answers for another number of classes than the data has.

  Args:
    built: the experiment.
    outputs: split -> shapes of what its evaluation gives; see `compile.Traced`.
    say: prints a line; for labels that leave a metric without a value.

  Raises:
    UserError: also for labels that a classifier cannot learn from.
  """
  every = {'train': built.train, **built.evals}
  if any('probabilities' in shapes for shapes in outputs.values()):
    for name, loader in every.items():
      _check_labels(name, loader, built.experiment.monitor, say)
  if any('targets' in shapes for shapes in outputs.values()):
    for name, loader in every.items():
      _say_constant(name, loader, say)
  for name, shapes in outputs.items():
    classes, answer = built.evals[name].dataset.classes, shapes.get('probabilities')
    if classes and answer is not None and answer.shape[-1] != len(classes):
      raise UserError(
        f'{name}: the model answers for {answer.shape[-1]} classes, the data has '
        f'{len(classes)}: set --config.model.outputs={len(classes)}')
    told = getattr(built.model, 'classes', 0)  # that a generator makes images of
    if classes and told not in (0, len(classes)):
      raise UserError(f'{name}: the model makes images of {told} classes, the data has '
                      f'{len(classes)}: set --config.model.classes={len(classes)}')


def _check_labels(name: str, loader: Loader, monitor: Monitor | None,
                  say: Callable[[str], None]) -> None:
  """Says which classes of a split have no example; two are needed to train."""
  classes, labels = loader.dataset.classes, loader.labels
  if classes is not None and len(classes) == 1:
    raise UserError(f'{name}: all {loader.dataset.length:,} labels are of one class, '
                    f'{classes[0]!r}; classification needs two or more')
  if labels is None or loader.dataset.shapes_only:
    return
  if classes is None:
    _check_shares(name, labels)
    return
  if labels.ndim > 1:
    return
  counts = np.bincount(labels, minlength=len(classes))
  absent = [classes[i] for i in np.flatnonzero(counts == 0)]
  if not absent:
    return
  if name == 'train' and np.count_nonzero(counts) == 1:
    raise UserError(f'train: all {len(labels):,} labels are of one class, '
                    f'{classes[int(labels[0])]!r} of {len(classes)}; classification '
                    'needs examples of two or more')
  of_class = re.fullmatch(rf'{re.escape(name)}/(precision|recall|f1)/(\d+)',
                          monitor.metric if monitor else '')
  if of_class and int(of_class[2]) < len(classes) and not counts[int(of_class[2])]:
    raise UserError(f'--config.monitor.metric={monitor.metric}: the split {name!r} has '
                    f'no example of the class {classes[int(of_class[2])]!r}; there is '
                    f'{name}/{of_class[1]}')
  say(f'{name}: no example of {len(absent):,} of {len(classes):,} classes: '
      f'{listed(absent)}' + ('' if name == 'train' else '; AUC has no value there'))


def _check_shares(name: str, labels: np.ndarray) -> None:
  """Refuses float labels `[n, classes]` that are not shares of the classes."""
  if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.floating):
    return
  wrong = (labels < 0).any(1) | (np.abs(labels.sum(1) - 1) > 1e-3)
  if wrong.any():
    row = int(np.argmax(wrong))
    raise UserError(
      f'{name}: labels[{row}] is {labels[row].tolist()}: floats are the shares of the '
      'classes in an example, 0 or more, that add up to 1')


def _say_constant(name: str, loader: Loader, say: Callable[[str], None]) -> None:
  """Says which targets are the same in all rows of a split: they have no R2."""
  if loader.labels is None or loader.dataset.shapes_only or not len(loader.labels):
    return
  targets = np.asarray(loader.labels).reshape(len(loader.labels), -1)
  constant = np.flatnonzero((targets == targets[0]).all(0))
  if len(constant):
    say(f'{name}: every label is {targets[0, constant[0]]}' + (
      f' (target {constant[0]})' if targets.shape[1] > 1 else '') + '; R2 has no value')


def _outputs(source) -> int:
  """What the labels ask of a model: a logit for each class, or a number."""
  if source.classes is not None:
    return len(source.classes)
  labels = source.load()['labels']
  return math.prod(labels.shape[1:])


def _take_tokenizer(experiment: Experiment, context: DataContext) -> None:
  """Parameters of another run mean nothing without the tokenizer they were taught by.

  A run that keeps one already goes on with that.
  """
  if experiment.init_from is None or 'tokenizer' in context.kept:
    return
  workdir = Workdir(experiment.init_from)
  kept = workdir.fitted().kept
  if 'tokenizer' in kept:
    context.kept['tokenizer'] = kept['tokenizer']
    context.say(f'the tokenizer too is that of {workdir.path} (--config.init_from)')


def _take_table(experiment: Experiment, context: DataContext) -> None:
  """All parameters of a run on a table come with what was fitted to that table.

  So columns and classes are found by their names, and mean what they meant there.
  """
  name = getattr(experiment.train.source, 'fit_name', None)
  if experiment.init_from is None or name is None or name in context.kept or (
    experiment.init_pattern != '.*'):
    return
  workdir = Workdir(experiment.init_from)
  kept = workdir.fitted().kept
  if name in kept:
    names = (name, table.FILE, 'targets')
    context.kept |= {k: kept[k] for k in names if k in kept}
    context.note(f'what is fitted to the table too is that of {workdir.path} '
                 '(--config.init_from): columns and classes are found by their names')
  elif any(key.startswith(table.FITTED) for key in kept):
    context.note(f'the table of {workdir.path} (--config.init_from) had other settings '
                 'than this one, which is fitted anew')


def _tokenizer(source, wanted: str):
  if source.tokenizer is None:
    raise UserError(f'the experiment wants the {wanted} of its training data, which is '
                    'not text that a tokenizer has read')
  return source.tokenizer


def _check_vocabulary(model, source) -> None:
  parts = {'model': model, 'model.encoder': getattr(model, 'encoder', None)}
  for path, part in parts.items():
    vocabulary = getattr(part, 'vocabulary', None)
    if source.tokenizer is not None and vocabulary is not None and (
      vocabulary < source.tokenizer.size):
      raise UserError(
        f'--config.{path}.vocabulary={vocabulary}: the tokenizer of the data has '
        f'{source.tokenizer.size} tokens; set it to at least that')


def _target_statistics(source) -> tuple[list[float], list[float]]:
  if source.classes is not None:
    raise UserError('the task wants numbers for labels, this data has classes: '
                    f'{listed(source.classes)}; labels of an array are numbers where '
                    'they are floats, labels.astype(float)')
  columns = source.load()
  batches.check_train(source, columns)
  labels = np.asarray(columns['labels'], np.float64)[intact(columns)]
  labels = labels.reshape(len(labels), -1)
  mean, std = labels.mean(0), labels.std(0)
  return mean.tolist(), batches.deviations(mean, std)
