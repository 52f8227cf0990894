"""What an experiment is: one frozen record of real objects.

A file in `experiments/` (or anywhere) defines `config(**knobs) -> Experiment`. The
record holds recipes, not results: nothing in it has touched data or a device, so it
can be printed, compared and overridden before anything runs.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from bigmodels import learners
from bigmodels.core import paths
from bigmodels.data.batches import Batches
from bigmodels.parallel.precision import Precision
from bigmodels.parallel.sharding import MeshShape, Rule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duration:
  """A stretch of training, told in exactly one unit.

  Attributes:
    steps: updates of the parameters.
    epochs: passes over the training split; fractions are fine.
    minutes: wall-clock time; only for checkpoints, which change no result.
  """

  steps: int | None = None
  epochs: float | None = None
  minutes: float | None = None

  def __post_init__(self):
    given = {k: v for k, v in vars(self).items() if v is not None}
    if len(given) != 1:
      raise ValueError(f'wants one of steps, epochs, minutes; got {given or "none"} '
                       '(set the others to None)')
    for unit, value in given.items():
      if not (value > 0 and math.isfinite(value)):
        raise ValueError(f'{unit}: wants more than 0, got {value}')

  def step(self, times: int, steps_per_epoch: float) -> int:
    """The step at which this duration has passed `times` times."""
    if self.minutes is not None:
      raise ValueError('minutes cannot be told in steps')
    # Rounding first keeps 3 * (1 / 3) epochs from spilling into one step more.
    length = self.steps or self.epochs * steps_per_epoch
    return max(times, math.ceil(round(times * length, 6)))

  def after(self, step: int, steps_per_epoch: float) -> int:
    """The first end of a duration that comes after `step`."""
    length = self.steps or self.epochs * steps_per_epoch
    times = max(1, int(step / max(length, 1)))
    while self.step(times, steps_per_epoch) <= step:
      times += 1
    return self.step(times, steps_per_epoch)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Monitor:
  """The evaluation metric a run is judged by: it names the best checkpoint.

  Attributes:
    metric: its name in the log, such as 'validation/loss'.
    goal: 'min' where less is better, 'max' where more is.
    patience: stop after this many evaluations without a better one; None never
      stops early. The best parameters are restored at the end either way.
  """

  metric: str
  goal: Literal['min', 'max']
  patience: int | None = None

  def __post_init__(self):
    if self.goal not in ('min', 'max'):
      raise ValueError(f"goal: wants 'min' or 'max', got {self.goal!r}")
    if self.patience is not None and self.patience < 1:
      raise ValueError(f'patience: wants at least 1, got {self.patience}')

  def better(self, value: float, best: float | None) -> bool:
    """Whether `value` beats the `best` so far (None before the first)."""
    if best is None:
      return True
    return value < best if self.goal == 'min' else value > best


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
  """Everything that determines a run.

  Recipes may lack what only the run knows; see `recipes.complete` for the names.

  Attributes:
    model: a Flax Linen module called as `model(inputs, train=...)`.
    task: makes a `Task` of the model: what is learned, and how it is scored.
    optimizer: makes an optax `GradientTransformation`.
    train: the training batches.
    evals: a name for each split that is evaluated, such as 'test'. Two splits that
      share rows are refused unless their names begin with the same word, up to a '_':
      `train_again` is scored on rows of `train`, `test_mirrored` on those of `test`.
    duration: how long to train.
    seed: of initialisation, data order, augmentation and dropout.
    evaluate_every: how often every split in `evals` is evaluated; always at the end
      too.
    log_every: how often the training metrics are logged, as means over that stretch.
    checkpoint_every: how often to save; always at the end and when stopped too.
    keep: how many of the latest checkpoints stay, beside the best.
    monitor: which evaluation metric picks the best checkpoint; None takes the last.
    learner: makes a `Learner` of task, optimizer and what makes the gradient of a loss
      for this run's devices; see `learners.supervised`.
    gradient: makes the gradient of a loss; `learners.mean_gradient` is the plain one.
    init_from: where the parameters come from that training starts with, by name: a
      workdir (its best ones, and its tokenizer), or for models that are published there
      a `.safetensors` file or folder as Hugging Face's `transformers` writes it. A
      file may be a link, as in a hub's cache: its `config.json` is beside the link.
    init_pattern: regular expression of whole names, such as `encoder/.*`: only what it
      matches is taken from `init_from`, and has to be there. Batch statistics go with
      the parameters of their normalisation.
    precision: of the model's arithmetic; parameters, optimizer and losses are float32
      in either. None takes bfloat16 on a GPU or TPU and float32 on a CPU.
    accumulate: cut a batch into so many parts, one after the other: less memory, the
      same gradient.
    mesh: over which devices; no part of what a run is: `--mesh` sets another one.
    rules: which axes of which parameters lie along the mesh's `tensor`.
  """

  model: Any
  task: Callable
  optimizer: Callable
  train: Batches
  evals: Mapping[str, Batches]
  duration: Duration
  seed: int = 0
  evaluate_every: Duration = Duration(epochs=1)
  log_every: Duration = Duration(steps=50)
  checkpoint_every: Duration = Duration(minutes=1)
  keep: int = 2
  monitor: Monitor | None = None
  learner: Callable = learners.supervised
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
        raise ValueError(f'{name}: wants a function that makes one, such as {example}')
    if self.init_from is not None:
      # Absolute: a run goes on from whatever folder it is started in.
      if not self.init_from:
        raise ValueError("init_from: must be the path of a file or folder, got ''")
      path = paths.lasting(self.init_from, 'init_from')
      object.__setattr__(self, 'init_from', str(path))
    try:
      re.compile(self.init_pattern)
    except re.error as error:
      raise ValueError(f'init_pattern: wants a regular expression, got '
                       f'{self.init_pattern!r}: {error}') from None
    if self.accumulate < 1:
      raise ValueError(f'accumulate: wants at least 1, got {self.accumulate}')
    if self.precision not in (None, 'float32', 'bfloat16'):
      raise ValueError("precision: wants 'float32', 'bfloat16' or None, got "
                       f'{self.precision!r}')
    if self.keep < 1:
      raise ValueError(f'keep: wants at least 1, got {self.keep}')
    if not 0 <= self.seed < 2**32:
      raise ValueError(f'seed: wants 0 to 2**32 - 1, got {self.seed}')
    if 'train' in self.evals:
      raise ValueError("evals: 'train' is what the training metrics are logged under")
    for name in ('duration', 'evaluate_every', 'log_every'):
      if getattr(self, name).minutes is not None:
        raise ValueError(f'{name}: wants steps or epochs, so that a run can be '
                         'repeated; only checkpoints go by minutes')
    if self.monitor and self.monitor.metric.partition('/')[0] not in self.evals:
      raise ValueError(
        f'monitor.metric: {self.monitor.metric!r} is of none of the evaluated splits '
        f'({", ".join(self.evals) or "none"}); it reads SPLIT/METRIC'
      )
