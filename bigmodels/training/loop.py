"""The one loop, for every learner: next batch, step, log, evaluate, save.

It never waits for a step: metrics are fetched an interval late, and a dispatch or two
are under way while the host prepares the next. What it does depends on the step alone
(but for saving, which changes no result), so a run that is stopped anywhere and goes
on ends with the same bits.
"""

import collections
import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import optim
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.data.batches import Loader
from bigmodels.distributed.processes import ProcessGroup
from bigmodels.learners import Signal
from bigmodels.logs.writers import Writers
from bigmodels.storage.checkpoint import Checkpoints, fingerprint
from bigmodels.training.build import Built
from bigmodels.training.compile import Carry, Programs, data_keys
from bigmodels.training.throughput import Throughput

_UNDER_WAY = 2  # dispatches given to the device before the oldest is waited for
_PACE = 0.25  # seconds that a dispatch should take: a signal is heard that soon


@dataclasses.dataclass
class TrainingProgress:
  """What the host knows of a run; it is saved with the carry, as JSON.

  Attributes:
    step: updates so far.
    evaluations: so far.
    metrics: the latest value of every metric, by flat name.
    best: value of the monitored metric at the best evaluation.
    best_step: the step of that; without a monitor the latest evaluation.
    waited: evaluations since then.
    records: lines of the log.
    log: the digest of these.
    clear: whether the next dispatch starts a new window of training metrics.
    done: whether training is over, and why: 'steps' or 'patience'.
    seconds: of wall time, over all starts of the run: 'train', 'data' (at most: what
      was read for so long that the devices were done meanwhile), 'evaluate',
      'checkpoint', 'compile', 'start'.
  """

  step: int = 0
  evaluations: int = 0
  metrics: dict[str, float] = dataclasses.field(default_factory=dict)
  best: float | None = None
  best_step: int | None = None
  waited: int = 0
  records: int = 0
  log: str = ''
  clear: bool = True
  done: str | None = None
  seconds: dict[str, float] = dataclasses.field(default_factory=lambda: dict.fromkeys(
    ('train', 'data', 'evaluate', 'checkpoint', 'compile', 'start'), 0.0))


class Stop:
  """Hears SIGTERM, Ctrl-C and a terminal that closes, so that a run can be saved.

  A second one ends it. Under `nohup` a run outlives its terminal.
  """

  def __init__(self):
    self.name: str | None = None
    self._before: dict[int, Any] = {}

  def __enter__(self) -> 'Stop':
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if (number, signal.getsignal(number)) == (signal.SIGHUP, signal.SIG_IGN):
          continue
        self._before[number] = signal.signal(number, self._hear)
    return self

  def _hear(self, number, frame):
    del frame
    self.name = signal.Signals(number).name
    for each, before in self._before.items():
      signal.signal(each, before)

  def __exit__(self, *error):
    for number, before in self._before.items():
      signal.signal(number, before)


class NotFinite(UserError):
  """A metric became NaN or infinite."""


@dataclasses.dataclass
class Loop:
  """One run under way.

  Attributes:
    built: the experiment.
    programs: compiled from it.
    carry: on the device.
    progress: on the host.
    checkpoints: where both are saved.
    writers: of what people read.
    group: the processes of the run.
    throughput: counts what the devices could do.
    stop: asked after every dispatch.
  """

  built: Built
  programs: Programs
  carry: Carry
  progress: TrainingProgress
  checkpoints: Checkpoints
  writers: Writers
  group: ProcessGroup
  throughput: Throughput
  stop: Stop

  def run(self) -> None:
    """Trains to the end, or until stopped; everything is saved when it returns."""
    experiment, progress = self.built.experiment, self.progress
    per_epoch = self.built.train.order.steps_per_epoch
    self._pending: collections.deque[tuple] = collections.deque()
    self._saved_at = time.perf_counter()
    self._begin = self._train_begin = time.perf_counter()
    self._pace = _Pace(self.programs.traced.most, progress.step)
    self.throughput.start(progress.step)
    while not progress.done:
      ends = {name: getattr(experiment, f'{name}_every').after(progress.step, per_epoch)
              for name in ('log', 'evaluate')}
      end = min(*ends.values(), self.built.steps)
      if experiment.checkpoint_every.minutes is None:
        end = min(end, experiment.checkpoint_every.after(progress.step, per_epoch))
      self._advance(end)
      last = progress.step == self.built.steps
      if progress.step == ends['log'] or last:
        self._log()
      if progress.step == ends['evaluate'] or last:
        self._evaluate_all()
        if last:
          progress.done = 'steps'
      stopped = self._decided().stop
      scheduled = progress.done is not None or self._scheduled(per_epoch)
      if scheduled or stopped or self._asked_to_save():
        self.save(scheduled=scheduled)
      if stopped:
        break
    self._flush(leave=0)
    with self._clock('checkpoint'):
      self.checkpoints.wait()

  def _advance(self, end: int) -> None:
    """Dispatches the steps up to `end`, or to where the run is asked to stop."""
    progress = self.progress
    while progress.step < end and not any(self._decided()[:2]):
      count = min(end - progress.step, self._pace.count)
      self.group.mark()
      start = time.perf_counter()
      host_batch = self.built.train.host_batch(progress.step, count)
      if self.carry.fault.is_ready():  # nothing was left to do meanwhile
        waited = time.perf_counter() - start
        progress.seconds['data'] += waited
        progress.seconds['train'] -= waited
      self.carry, agreed = self.programs.advance(
        self.carry, host_batch, count, progress.clear, self._wishes())
      progress.clear = False
      progress.step += count
      self._pace.dispatched(progress.step, self.carry.fault, agreed)
      self.writers.update(self._pace.done, time.perf_counter() - self._begin)

  def _wishes(self) -> 'Votes':
    return Votes(self.stop.name is not None, self._minutes_are_over(), self._pace.wish)

  def _decided(self) -> 'Votes':
    """What all processes have agreed on; alone, what this one wishes."""
    return self._wishes() if self.group.count == 1 else self._pace.agreed

  def _log(self) -> None:
    """Sets the window aside; its numbers are fetched when the next one is."""
    window, fault = self.carry.window, self.carry.fault
    self._pending.append((self.progress.step, window, fault))
    self.progress.clear = True
    for leaf in jax.tree.leaves((window, fault)):
      leaf.copy_to_host_async()
    self._flush(leave=1)
    record = self.throughput.record(self._pace.done, self.progress.seconds)
    if record:
      self.writers.utilization(self.progress.step, record)

  def _flush(self, leave: int) -> None:
    while len(self._pending) > leave:
      step, window, fault = self._pending.popleft()
      self._check(fault)
      record = {f'train/{k}': v for k, v in means(jax.device_get(window)).items()}
      self._record(step, record)
      self.writers.log(step, record, time.perf_counter() - self._begin)

  def _record(self, step: int, record: dict[str, float]) -> None:
    self.progress.metrics |= record
    self.writers.write(step, record)
    self.progress.records += 1

  def _check(self, fault: jax.Array) -> None:
    step, index = np.asarray(fault)
    if step >= 0:
      name = self.programs.traced.metric_names[index]
      state = self.carry.state._replace(step=jnp.int32(step - 1))
      self._not_finite(f'train/{name}', int(step), self._spoilt_inputs(
        'train', self.built.train, state, (int(step) - 1,)))

  def _spoilt_inputs(self, name: str, loader: Loader, state,
                     batches: Iterable[int]) -> str:
    """As `spoilt_inputs`, of the first batch that has some; '' for several group."""
    if self.group.count > 1 or self.built.layout.strategy == 'pmap':
      return ''
    return next(filter(None, (spoilt_inputs(self.built, name, loader, state, index)
                              for index in batches)), '')

  def _not_finite(self, metric: str, step: int, cause: str = '') -> None:
    self.checkpoints.wait()
    saved = self.checkpoints.steps
    good = f'the last good checkpoint is of step {saved[-1]}' if saved else (
      'there is no checkpoint yet')
    cause = cause or ('A lower learning rate, warm-up, or optax.clip_by_global_norm '
                      'may help')
    raise NotFinite(
      f'{metric} is not finite at step {step}: stopped there; {good}. {cause}')

  def _evaluate_all(self) -> None:
    experiment, progress = self.built.experiment, self.progress
    self._flush(leave=0)
    self._check(self.carry.fault)
    self.group.mark()
    with self._clock('evaluate'):
      record = {}
      for name, loader in self.built.evals.items():
        record |= evaluate(self.built, self.programs, name, loader, self.carry.state)[0]
    bad = [name for name, value in record.items() if not math.isfinite(value)]
    if bad:
      name = bad[0].partition('/')[0]
      loader = self.built.evals[name]
      self._not_finite(bad[0], progress.step, self._spoilt_inputs(
        name, loader, self.carry.state, range(_batches(loader))))
    self._record(progress.step, record)
    progress.evaluations += 1
    value = monitored(experiment, record)
    if experiment.monitor is None or experiment.monitor.better(value, progress.best):
      progress.best, progress.best_step, progress.waited = value, progress.step, 0
    else:
      progress.waited += 1
      if experiment.monitor.patience and progress.waited >= experiment.monitor.patience:
        progress.done = 'patience'
    self.writers.say(_line(progress.step, record, best=(
      experiment.monitor is not None and progress.best_step == progress.step)))
    if value is not None:
      sign = 1.0 if experiment.monitor.goal == 'min' else -1.0
      signal_ = jax.tree.map(self.built.layout.everywhere, Signal(
        np.float32(sign * value), np.int32(progress.evaluations)))
      self.carry = self.carry._replace(state=self.carry.state._replace(signal=signal_))

  def _scheduled(self, per_epoch: float) -> bool:
    """Whether every run of this experiment has a checkpoint here."""
    experiment, progress = self.built.experiment, self.progress
    if experiment.monitor and progress.best_step == progress.step:
      return True
    return experiment.checkpoint_every.minutes is None and (
      progress.step == experiment.checkpoint_every.after(progress.step - 1, per_epoch))

  def _asked_to_save(self) -> bool:
    by_clock = self.built.experiment.checkpoint_every.minutes is not None
    return by_clock and self._decided().save

  def _minutes_are_over(self) -> bool:
    minutes = self.built.experiment.checkpoint_every.minutes
    return minutes is not None and time.perf_counter() - self._saved_at > minutes * 60

  def save(self, *, scheduled: bool) -> None:
    """Starts to save where the run is; see `Checkpoints.save`."""
    progress = self.progress
    self._flush(leave=0)
    self._check(self.carry.fault)
    if not all_finite(self.carry.state.params):
      self._not_finite('a parameter', progress.step)
    one_each = self.built.layout.strategy == 'pmap'
    if one_each and len(set(copies(self.carry.state.params))) > 1:
      raise UserError(
        f'at step {progress.step} the devices hold different parameters: under '
        '--parallel=pmap a learner has to take its gradients with the `gradient` it is '
        'given, which adds them up (learners/gradient.py)')
    self.writers.sync()
    progress.log = self.writers.digest
    self.group.mark()
    with self._clock('checkpoint'):
      best = progress.best_step if self.built.experiment.monitor else None
      self.checkpoints.save(
        progress.step, self.carry, dataclasses.asdict(progress), best=best,
        scheduled=scheduled, done=progress.done is not None)
    self._saved_at = time.perf_counter()
    self._pace.saved()

  @contextlib.contextmanager
  def _clock(self, name: str):
    """Counts what is done inside apart from training, which it waits for first."""
    seconds = self.progress.seconds
    jax.block_until_ready(self.carry.fault)
    start = time.perf_counter()
    seconds['train'] += start - self._train_begin
    try:
      yield
    finally:
      self._pace.paused()
      self._train_begin = time.perf_counter()
      seconds[name] += self._train_begin - start


class Votes(NamedTuple):
  """What the processes of a run agree on with every dispatch: the highest of each.

  Attributes:
    stop: whether to save and end.
    save: whether a checkpoint is due by the clock.
    count: how many steps to dispatch at a time, negative: the lowest holds.
  """

  stop: bool = False
  save: bool = False
  count: int = -1


class _Pace:
  """How many steps to dispatch at a time, from how long they take.

  What is agreed on with a dispatch is known a few dispatches later; every process
  reads it after the same one.
  """

  def __init__(self, most: int, first: int):
    self._most, self._under_way = most, collections.deque()
    self.done = first
    self.wish, self.agreed = -1, Votes()
    self._finished: float | None = None
    self._stale = 0  # of what is under way, since the last checkpoint
    self._unmeasured = 0  # of what is under way, since the last pause

  @property
  def count(self) -> int:
    """Steps of the next dispatch."""
    return -self.agreed.count

  def dispatched(self, step: int, token: jax.Array, agreed: jax.Array | None) -> None:
    """Notes a dispatch up to a step; waits for an older one if there are too many."""
    self._under_way.append((step, token, agreed))
    if len(self._under_way) <= _UNDER_WAY:
      return
    before = self.done
    self.done, token, agreed = self._under_way.popleft()
    jax.block_until_ready(token)
    now = time.perf_counter()
    if self._unmeasured:
      self._unmeasured, now = self._unmeasured - 1, None
    elif self._finished is not None and self.done > before:
      each = (now - self._finished) / (self.done - before)
      self.wish = -min(self._most, max(1, int(_PACE / max(each, 1e-9))))
    self._finished = now
    self.agreed = Votes(count=self.wish) if agreed is None else (
      Votes(*np.asarray(agreed).tolist()))
    if self._stale:
      self._stale -= 1
      self.agreed = self.agreed._replace(save=False)

  def paused(self) -> None:
    """Training was waited for, and something else done: that took no step's time."""
    self._unmeasured, self._finished = len(self._under_way), None

  def saved(self) -> None:
    """What is under way was still asked for before this checkpoint."""
    self._stale = len(self._under_way)
    self.agreed = self.agreed._replace(save=False)


@jax.jit
def all_finite(tree: Any) -> jax.Array:
  """Whether every number of a tree of arrays is finite."""
  return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))


def copies(tree: Any) -> list[int]:
  """A fingerprint of each local device's copy of what every device has a copy of."""
  whole = [leaf for leaf in jax.tree.leaves(tree) if leaf.sharding.is_fully_replicated]
  if not whole:
    return [0]
  # `addressable_data(i)` of what has a copy everywhere is the first, whatever i.
  return [int(fingerprint([leaf.addressable_shards[i].data for leaf in whole]))
          for i in range(len(whole[0].addressable_shards))]


def means(sums: dict[str, tuple]) -> dict[str, float]:
  """Name -> total / count, in float64; a metric that counted nothing is left out."""
  return {name: float(np.float64(total) / np.float64(count))
          for name, (total, count) in sums.items() if count > 0}


def spoilt_inputs(built: Built, name: str, loader: Loader, state, index: int) -> str:
  """Which inputs of a batch its transforms made not finite, in a sentence, or ''.

  Args:
    built: the experiment.
    name: of the split.
    loader: of the split.
    state: of the learner before that batch.
    index: which batch.
  """
  batch = jax.jit(loader.batch)(
    loader.resident, loader.host_batch(index, 1), 0,
    data_keys(state, loader, built.layout))
  inputs, rows = (np.asarray(batch[k]) for k in ('inputs', 'row'))
  good = np.isfinite(inputs.astype(np.float32)).reshape(*rows.shape, -1).all(-1)
  bad = rows[~good & (np.asarray(batch['mask']) > 0)]
  if not bad.size:
    return ''
  given = built.experiment.train if name == 'train' else built.experiment.evals[name]
  made = ', '.join(getattr(getattr(each, 'func', each), '__name__', repr(each))
                   for each in given.transforms)
  return (f'The inputs of {name!r} are finite as they are read, but not after its '
          f'transforms ({made}): rows {listed(bad.tolist())}')


def _batches(loader: Loader) -> int:
  """Batches of an evaluation."""
  return math.ceil(loader.order.length / loader.order.batch_size)


def evaluate(built: Built, programs: Programs, name: str, loader: Loader, state,
             most: int | None = None) -> tuple[dict[str, float], dict[str, np.ndarray]]:
  """Evaluates every example of a split exactly once.

  Args:
    built: the experiment.
    programs: compiled from it.
    name: of the split.
    loader: of the split.
    state: to evaluate.
    most: batches to look at; None for all.

  Returns:
    flat name -> number, such as `test/accuracy`; and the outputs of all examples that
    are not masked, with `row`, int `[n]`, which of the split each is.
  """
  batches = min(_batches(loader), most or math.inf)
  parts = [programs.evaluate(name, state,
                             loader.host_batch(i, 1)) for i in range(batches)]
  parts = jax.device_get(parts)
  totals: dict[str, tuple] = {}
  for sums, _ in parts:
    for key, (total, count) in sums.items():
      before = totals.get(key, (0.0, 0.0))
      totals[key] = (before[0] + np.float64(total), before[1] + np.float64(count))
  outputs = {key: np.concatenate([part[key] for _, part in parts])
             for key in parts[0][1]}
  rows = np.flatnonzero(outputs.pop('mask') > 0)  # evaluation goes in order
  outputs = {key: values[rows] for key, values in outputs.items()}
  found = means(totals) | built.learner.summarize(outputs)
  return {f'{name}/{key}': value for key, value in found.items()}, (
    {**outputs, 'row': rows})


def check_monitor(built: Built, programs: Programs, state) -> None:
  """Refuses a monitor of what no evaluation gives, before anything is trained."""
  if built.experiment.monitor:
    metric = built.experiment.monitor.metric
    name = metric.partition('/')[0]
    # The first batch gives most metrics; some want every class to be there.
    for most in (1, None):
      record, _ = evaluate(built, programs, name, built.evals[name], state, most)
      if metric in record:
        return
    monitored(built.experiment, record)
  if not built.experiment.monitor and optim.wants_monitor(state.opt_state):
    raise UserError('optim.reduce_on_plateau follows an evaluation metric: set monitor '
                    'in the experiment')


def monitored(experiment, record: dict[str, float]) -> float | None:
  """The value of the monitored metric, or None without a monitor."""
  if experiment.monitor is None:
    return None
  name = experiment.monitor.metric
  if name not in record:
    raise UserError(f'--config.monitor.metric: no metric {name!r}'
                    f'{nearest(name, record)}')
  return record[name]


def _line(step: int, record: dict[str, float], *, best: bool) -> str:
  """An evaluation in a line; what is told class by class is left to the report."""
  shown = [f'{k} {v:.4f}' for k, v in record.items() if k.count('/') == 1]
  return f'step {step:,}: ' + ', '.join(shown) + (' (best)' if best else '')
