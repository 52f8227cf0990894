"""From a resolved experiment to what runs: data opened, recipes completed."""

import dataclasses
import functools
import math
import pathlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bigmodels import paths, precision, recipes, splits
from bigmodels.data import batches, recorded, table
from bigmodels.data.batches import Feed
from bigmodels.data.sources import Opening, in_lines, intact
from bigmodels.errors import UserError, blamed, listed
from bigmodels.experiment import Experiment, Monitor, Span
from bigmodels.learners import Learner
from bigmodels.learners.gradient import mean_gradient
from bigmodels.parallel.layout import Layout
from bigmodels.precision import Precision
from bigmodels.workdir import Workdir


class Built(NamedTuple):
  """An experiment that is ready to be compiled.

  Attributes:
    experiment: what it was built from.
    model: completed; the learner's works in `precision`.
    learner: with model, task and optimizer inside.
    layout: where its arrays lie.
    precision: of the model's arithmetic.
    train: the training feed.
    evals: split -> feed.
    steps: length of the run.
    data: what is kept of the data with the run, for `data.json`.
  """

  experiment: Experiment
  model: Any
  learner: Learner
  layout: Layout
  precision: Precision
  train: Feed
  evals: dict[str, Feed]
  steps: int
  data: dict

  def close(self) -> None:
    """Stops the feeds' workers."""
    for feed in (self.train, *self.evals.values()):
      feed.close()


def open_run(experiment: Experiment, layout: Layout, workdir: Workdir,
             data_dir: str | None, cache_dir: pathlib.Path, *, reading: bool = True,
             trust: bool = False, say: Callable[[str], None] = print) -> Built:
  """Builds with what `data.json` of a workdir keeps; see `Built.data` for what is new.

  Args:
    experiment: what to build.
    layout: where its arrays lie.
    workdir: of the run.
    data_dir: None for the folder that the run began with, if it told one.
    cache_dir: for decoded data.
    reading: whether data is needed; without, none is opened, what is kept will do, and
      there are no evals.
    trust: whether another run that is opened may execute whatever it names.
    say: prints a line.

  Raises:
    UserError: also if what is kept is not as the run left it, or is gone; see
      `Workdir.fitted`.
  """
  stored = workdir.fitted()
  data_dir = str(paths.resolved(data_dir)) if data_dir else stored.data_dir
  opening = Opening(data_dir, cache_dir, dict(stored.kept), in_lines(say), trust=trust)
  if not reading:  # any batch will do, but the run stays as long as it was
    length = opening.kept.get('train', {}).get('length', 1)
    steps = experiment.duration.step(
      1, length / (_batch_size(experiment, layout, length) or length))
    source = recorded.Recorded(getattr(experiment.train.source, 'environment', None))
    train = dataclasses.replace(
      experiment.train, source=source, batch_size=layout.shape.parts, resident=False)
    experiment = dataclasses.replace(
      experiment, train=train, evals={}, monitor=None, accumulate=1,
      duration=Span(steps=steps))
    opening.trained = lambda path: None  # by which a run is measured
  return build(experiment, layout, opening)


def build(experiment: Experiment, layout: Layout, opening: Opening) -> Built:
  """Opens the data and completes the recipes with what it says.

  Raises:
    UserError: if data is missing or does not fit the experiment.
  """
  if opening.trained is None:
    opening = dataclasses.replace(
      opening, trained=functools.partial(_trained, opening))
  _take_tokenizer(experiment, opening)
  _take_table(experiment, opening)
  with blamed('train: the data cannot be opened'):
    source = experiment.train.source.open(opening)
  evaluated = {}
  for name, b in experiment.evals.items():
    with blamed(f'{name}: the data cannot be opened'):
      evaluated[name] = b.source.open(opening)
  every = {'train': experiment.train, **experiment.evals}
  splits.check_apart(every, {'train': source, **evaluated}, opening)
  splits.check_scaling(every, opening)
  opening.keep('train', lambda: recorded.record(source))
  examples = source  # what mean, std and their like are fitted to
  if source.shapes_only:  # one is like all
    examples = source._replace(length=1, load=lambda: source.read(np.zeros(1, int)))
  size = _batch_size(experiment, layout, source.length) or source.length
  if callable(experiment.train.batch_size):
    opening.note(f'a batch of {size}, for a training split of {source.length:,} '
                 'examples; batch_size=N sets another one')
  steps = experiment.duration.step(1, source.length / size)
  if steps >= 2**31:
    raise UserError(f'--config.duration: {steps:,} steps are more than can be counted; '
                    'set it to fewer than 2**31')

  arithmetic = experiment.precision or precision.default(layout.platform)

  def inputs(index):
    return lambda: opening.keep(
      'inputs', lambda: batches.channel_statistics(examples))[index]

  def targets(index):
    return lambda: opening.keep('targets', lambda: _target_statistics(examples))[index]

  facts = {
    'steps': lambda: steps,
    'outputs': lambda: _outputs(source),
    'mean': inputs(0),
    'std': inputs(1),
    'whitening': lambda: opening.keep('whitening', lambda: batches.whitening(
      examples, inputs(0)(), inputs(1)())),
    'target_mean': targets(0),
    'target_std': targets(1),
    'environment': lambda: _environment(experiment),
    'trained': lambda: functools.partial(_measuring, opening, source, model),
    'examples': lambda: lambda count: source.read(
      np.arange(min(count, source.length)))['inputs'],
    'tokenizer': lambda: _tokenizer(source, 'tokenizer'),
    'vocabulary': lambda: _tokenizer(source, 'vocabulary').size,
  }
  model = None
  with blamed('the experiment cannot be built'):
    model = recipes.complete(experiment.model, facts)
    _check_vocabulary(model, source)
    task = recipes.complete(experiment.task, facts)(
      precision.in_precision(model, arithmetic))
    optimizer = recipes.complete(experiment.optimizer, facts)
    if not hasattr(optimizer, 'update'):
      raise ValueError(f'optimizer: made {optimizer!r}, wants an optax transformation')
    learn = recipes.complete(experiment.learner, facts)
    learner = learn(task, optimizer, functools.partial(
      mean_gradient, parts=experiment.accumulate, axis_name=layout.axis_name,
      guide=layout.guided))
    transforms = {name: recipes.complete(b.transforms, facts)
                  for name, b in every.items()}
  train = batches.open_feed(
    experiment.train, 'train', opening, layout, dataset=source, seed=experiment.seed,
    shuffle=True, steps=steps, transforms=transforms['train'],
    parts=experiment.accumulate)
  evals = {name: batches.open_feed(
    b, name, opening, layout, dataset=evaluated[name], seed=0, shuffle=False, steps=0,
    transforms=transforms[name]) for name, b in experiment.evals.items()}
  splits.check_names(train, evals)
  data = {'data_dir': opening.data_dir, 'kept': opening.kept}
  return Built(
    experiment, model, learner, layout, arithmetic, train, evals, steps, data)


def _batch_size(experiment: Experiment, layout: Layout, length: int) -> int | None:
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


def _trained(opening: Opening, path: str) -> Any:
  from bigmodels import trained  # which builds what it reads

  return trained.read(path, opening.cache_dir, opening.say, trust=opening.trust)


def _measuring(opening: Opening, source, model: Any, path: str) -> Any:
  """The run by which this one is measured; its class 3, say, has to be ours.

  Raises:
    UserError: naming the first class that is another one there.
  """
  run = opening.trained(path)
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
  opening.say(f'{differ}; one of them has numbers for names, so they are compared by '
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
    for name, feed in every.items():
      _check_labels(name, feed, built.experiment.monitor, say)
  if any('targets' in shapes for shapes in outputs.values()):
    for name, feed in every.items():
      _say_constant(name, feed, say)
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


def _check_labels(name: str, feed: Feed, monitor: Monitor | None,
                  say: Callable[[str], None]) -> None:
  """Says which classes of a split have no example; two are needed to train."""
  classes, labels = feed.dataset.classes, feed.labels
  if classes is not None and len(classes) == 1:
    raise UserError(f'{name}: all {feed.dataset.length:,} labels are of one class, '
                    f'{classes[0]!r}; classification needs two or more')
  if labels is None or feed.dataset.shapes_only:
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


def _say_constant(name: str, feed: Feed, say: Callable[[str], None]) -> None:
  """Says which targets are the same in all rows of a split: they have no R2."""
  if feed.labels is None or feed.dataset.shapes_only or not len(feed.labels):
    return
  targets = np.asarray(feed.labels).reshape(len(feed.labels), -1)
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


def _take_tokenizer(experiment: Experiment, opening: Opening) -> None:
  """Parameters of another run mean nothing without the tokenizer they were taught by.

  A run that keeps one already goes on with that.
  """
  if experiment.init_from is None or 'tokenizer' in opening.kept:
    return
  workdir = Workdir(experiment.init_from)
  kept = workdir.fitted().kept
  if 'tokenizer' in kept:
    opening.kept['tokenizer'] = kept['tokenizer']
    opening.say(f'the tokenizer too is that of {workdir.path} (--config.init_from)')


def _take_table(experiment: Experiment, opening: Opening) -> None:
  """All parameters of a run on a table come with what was fitted to that table.

  So columns and classes are found by their names, and mean what they meant there.
  """
  name = getattr(experiment.train.source, 'fit_name', None)
  if experiment.init_from is None or name is None or name in opening.kept or (
    experiment.init_pattern != '.*'):
    return
  workdir = Workdir(experiment.init_from)
  kept = workdir.fitted().kept
  if name in kept:
    names = (name, table.FILE, 'targets')
    opening.kept |= {k: kept[k] for k in names if k in kept}
    opening.note(f'what is fitted to the table too is that of {workdir.path} '
                 '(--config.init_from): columns and classes are found by their names')
  elif any(key.startswith(table.FITTED) for key in kept):
    opening.note(f'the table of {workdir.path} (--config.init_from) had other settings '
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
