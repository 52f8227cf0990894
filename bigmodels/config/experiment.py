"""The record of an experiment, its duration, and its monitored metric.

A file in `experiments/` (or anywhere) defines `config(**knobs) -> Experiment`. The
record holds Flax modules, functions and partials of functions. Creating it touches
neither data nor devices: it can be printed, compared and overridden before it runs.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from bigmodels import learners
from bigmodels.core import paths
from bigmodels.data.batches import Batches
from bigmodels.data.folds import HELD_OUT, Folding, shuffled
from bigmodels.parallel.precision import Precision
from bigmodels.parallel.sharding import MeshShape, Rule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duration:
  """A length of training in exactly one unit.

  Attributes:
    steps: updates of the parameters.
    epochs: passes over the training split; may be fractional.
    minutes: wall-clock time; only for checkpoints, which do not change results.

  Raises:
    ValueError: unless exactly one is given, finite and > 0.
  """

  steps: int | None = None
  epochs: float | None = None
  minutes: float | None = None

  def __post_init__(self):
    given = {k: v for k, v in vars(self).items() if v is not None}
    if len(given) != 1:
      raise ValueError('must have one of steps, epochs, minutes; got '
                       f'{given or "none"} (set the others to None)')
    for unit, value in given.items():
      if not (value > 0 and math.isfinite(value)):
        raise ValueError(f'{unit}: must be finite and > 0, got {value}')

  def step(self, times: int, steps_per_epoch: float) -> int:
    """The step after `times` times this duration.

    Raises:
      ValueError: if it is in minutes.
    """
    if self.minutes is not None:
      raise ValueError('minutes cannot be converted to steps')
    # Rounding first, so that 3 * (1 / 3) epochs do not take an additional step.
    length = self.steps or self.epochs * steps_per_epoch
    return max(times, math.ceil(round(times * length, 6)))

  def after(self, step: int, steps_per_epoch: float) -> int:
    """The first multiple of this duration after `step`, in steps."""
    length = self.steps or self.epochs * steps_per_epoch
    times = max(1, int(step / max(length, 1)))
    while self.step(times, steps_per_epoch) <= step:
      times += 1
    return self.step(times, steps_per_epoch)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Monitor:
  """The evaluation metric that selects the best checkpoint.

  Attributes:
    metric: its name in the log, such as 'validation/loss'.
    goal: whether a smaller ('min') or larger ('max') value is better.
    patience: evaluations without improvement after which training stops; None never
      stops early. The best parameters are restored at the end either way.

  Raises:
    ValueError: for an unknown goal, or patience < 1.
  """

  metric: str
  goal: Literal['min', 'max']
  patience: int | None = None

  def __post_init__(self):
    if self.goal not in ('min', 'max'):
      raise ValueError(f"goal: must be 'min' or 'max', got {self.goal!r}")
    if self.patience is not None and self.patience < 1:
      raise ValueError(f'patience: must be >= 1, got {self.patience}')

  def better(self, value: float, best: float | None) -> bool:
    """Whether `value` is better than the `best` so far (None before the first)."""
    if best is None:
      return True
    return value < best if self.goal == 'min' else value > best


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """Everything that determines a run.

  Partials may omit arguments that only the run knows, such as its number of steps. The
  run supplies them when it is built; see `tree.complete` and `build.build`.

  Attributes:
    model: a Flax Linen module called as `model(inputs, train=...)`.
    task: makes a `Task` of the model: what is learned, and how it is evaluated.
    optimizer: makes an optax `GradientTransformation`.
    train: the training batches.
    evals: name -> batches of each split to evaluate, such as 'test'. Splits that share
      rows are refused unless their names begin with the same word, up to a '_':
      `train_again` may share rows with `train`, `test_mirrored` with `test`.
    duration: length of training.
    seed: seed of initialization, data order, augmentation and dropout.
    seeds: number of runs, with the seeds `seed`, `seed + 1`, ..., that train in one
      program; each has its own folder in the workdir.
    folds: number of folds of a cross-validation, with `seeds` 1: each is trained on
      part of the training split, and evaluated on the rest of it, the split `held_out`,
      which is read and transformed as that of the first of `evals`. 1 for none.
    fold: the fold, from 0, that is trained; None for all of them, one after another,
      each in its own folder in the workdir.
    folding: cuts the training split into folds; see `data.folds`.
    evaluate_every: time between evaluations of all `evals`; also done at the end.
    log_every: time between logs of the training metrics, which are means over it.
    checkpoint_every: time between checkpoints; also saved at the end and when stopped.
    keep: number of latest checkpoints to keep, besides the best.
    monitor: selects the best checkpoint by an evaluation metric; None takes the last.
    learner: makes a `Learner` of the task and the optimizer; see `learners.supervised`.
    average: decay of the moving average of the parameters, such as 0.999, whose results
      are then those of the run; or what makes another average of them, such as
      `techniques.averages.uniform`. None for no average.
    freeze: regular expression of whole names, such as `(stem|stage).*`, of parameters
      that are not trained, nor in supervised learning the batch statistics beside them.
      None trains all.
    layer_decay: factor of the learning rate from each layer to the one below it, see
      `optim.layerwise_decay`. None for one learning rate.
    gradient: makes the gradient of a loss, called with the keywords of the usual one,
      `learners.mean_gradient`.
    init_from: source of the initial parameters, which are matched by name: a workdir
      (its best checkpoint and its tokenizer), or for published models a `.safetensors`
      file or folder in the format of Hugging Face's `transformers`, of VGG in that of
      torchvision. A file may be a link, as in the Hugging Face cache; its `config.json`
      is beside the link.
    init_pattern: regular expression of whole names, such as `encoder/.*`, of the
      parameters that are read from `init_from`, and must be in it. Batch statistics are
      read with the parameters of their normalization.
    precision: dtype of the model's arithmetic; parameters, optimizer and losses are
      always float32. 'bfloat16_products' is float32 with the operands of matrix
      products rounded to bfloat16, for CPUs with matrix units (AMX; jaxlib >= 0.12).
      None is 'bfloat16' on a GPU or TPU and 'float32' on a CPU.
    accumulate: number of microbatches into which a batch is split. They run one after
      the other, with less memory and the same gradient.
    mesh: mesh of devices. It is not part of a run's identity; `--mesh` sets another.
    rules: which axes of which parameters are sharded over the mesh's `tensor` axis.

  Raises:
    ValueError: naming the field that is out of range.
  """

  model: Any
  task: Callable
  optimizer: Callable
  train: Batches
  evals: Mapping[str, Batches]
  duration: Duration
  seed: int = 0
  seeds: int = 1
  folds: int = 1
  fold: int | None = None
  folding: Folding = shuffled
  evaluate_every: Duration = Duration(epochs=1)
  log_every: Duration = Duration(steps=50)
  checkpoint_every: Duration = Duration(minutes=1)
  keep: int = 2
  monitor: Monitor | None = None
  learner: Callable = learners.supervised
  average: float | Callable | None = None
  freeze: str | None = None
  layer_decay: float | None = None
  gradient: Callable = learners.mean_gradient
  init_from: str | None = None
  init_pattern: str = '.*'
  precision: Precision | None = None
  accumulate: int = 1
  mesh: MeshShape = MeshShape()  # noqa: RUF009 (frozen)
  rules: tuple[Rule, ...] = ()

  def __post_init__(self):
    for name, example in (('optimizer', 'partial(optax.adam, 1e-3)'),
                          ('task', 'tasks.classification'),
                          ('learner', 'learners.supervised')):
      if not callable(getattr(self, name)):
        raise ValueError(f'{name}: must be a function, such as {example}')
    if self.init_from is not None:
      # Absolute: a run may be resumed from another working directory.
      if not self.init_from:
        raise ValueError("init_from: must be the path of a file or folder, got ''")
      path = paths.resolved_except_last(self.init_from, 'init_from')
      object.__setattr__(self, 'init_from', str(path))
    for name in ('init_pattern', 'freeze'):
      try:
        re.compile(getattr(self, name) or '')
      except re.error as error:
        raise ValueError(f'{name}: must be a regular expression, got '
                         f'{getattr(self, name)!r}: {error}') from None
    for name in ('accumulate', 'keep', 'seeds', 'folds'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}: must be >= 1, got {getattr(self, name)}')
    if not (self.average is None or callable(self.average) or 0 < self.average < 1):
      raise ValueError(f'average: must be > 0 and < 1, or None, got {self.average}')
    legal = (*get_args(Precision), None)
    if self.precision not in legal:
      raise ValueError(f'precision: must be one of {", ".join(map(repr, legal))}; got '
                       f'{self.precision!r}')
    if not 0 <= self.seed <= 2**32 - self.seeds:
      last = '' if self.seeds == 1 else f' for the last of {self.seeds} seeds'
      raise ValueError(f'seed: must be in [0, 2**32 - 1]{last}, got '
                       f'{self.seed + self.seeds - 1 if self.seed >= 0 else self.seed}')
    if self.folds > 1 and self.seeds > 1:
      raise ValueError(f'folds: must be 1 with seeds={self.seeds}, got {self.folds}')
    if self.fold is not None and (self.folds == 1 or not 0 <= self.fold < self.folds):
      legal = f'0 to {self.folds - 1}, or ' * (self.folds > 1)
      raise ValueError(f'fold: must be {legal}None with folds={self.folds}, got '
                       f'{self.fold}')
    if 'train' in self.evals:
      raise ValueError("evals: 'train' is the name of the training metrics")
    if self.folds > 1 and HELD_OUT in self.evals:
      raise ValueError(f'evals: {HELD_OUT!r} is the name of what a fold holds out')
    for name in ('duration', 'evaluate_every', 'log_every'):
      if getattr(self, name).minutes is not None:
        raise ValueError(f'{name}: must be in steps or epochs, so that a run can be '
                         'repeated; only checkpoint_every may be in minutes')
    if self.monitor and self.monitor.metric.partition('/')[0] not in self.evals:
      raise ValueError(
        'monitor.metric: must be SPLIT/METRIC of one of '
        f'{", ".join(self.evals) or "none"}; got {self.monitor.metric!r}')

  @property
  def every_seed(self) -> range:
    """The seeds of its runs."""
    return range(self.seed, self.seed + self.seeds)
