"""The one loop, for every learner: next batch, step, log, evaluate, save.

It never waits for a step: metrics are fetched an interval late, and a dispatch or two
are in flight while the host prepares the next. What it does depends on the step alone
(but for saving, which changes no result), so a run that is stopped anywhere and resumed
ends with the same bits.
"""

import collections
import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.distributed.processes import ProcessGroup
from bigmodels.hardware import profile
from bigmodels.learners import Signal
from bigmodels.logs.values import line
from bigmodels.logs.writers import Writers
from bigmodels.optim.measured import NORMS
from bigmodels.storage.checkpoint import Checkpoints
from bigmodels.storage.fingerprint import fingerprint
from bigmodels.training import evaluation
from bigmodels.training.build import Built
from bigmodels.training.compile import Carry, Programs, all_finite
from bigmodels.training.evaluation import values_of
from bigmodels.training.pace import Pace, Votes
from bigmodels.training.profiler import Profiler
from bigmodels.training.progress import TrainingProgress
from bigmodels.training.stop import Stop
from bigmodels.training.throughput import Throughput

# In the log and the report, not on the console.
_QUIET = tuple(f'train/{name}' for name in ('learning_rate', *NORMS))


class NotFinite(UserError):
  """A metric became NaN or infinite."""


@dataclasses.dataclass
class Loop:
  """A run in progress.

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
    batches: batches of a split that an evaluation looks at, if its monitored metric
      has a value then; None for all.
    profiler: of `--profile`, or None.
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
  batches: int | None = None
  profiler: Profiler | None = None

  def run(self) -> None:
    """Trains to the end, or until stopped; everything is saved when it returns.

    Raises:
      UserError: for a value that is not finite, devices that differ, or a failed write.
    """
    experiment, progress = self.built.experiment, self.progress
    per_epoch = self.built.train.order.steps_per_epoch
    self._pending: collections.deque[tuple] = collections.deque()
    self._saved_at = time.perf_counter()
    self._begin = self._train_begin = time.perf_counter()
    self._pace = Pace(self.programs.traced.most, progress.step)
    self.throughput.start(progress.step, progress.seconds)
    while not progress.done:
      ends = {name: getattr(experiment, f'{name}_every').after(progress.step, per_epoch)
              for name in ('log', 'evaluate')}
      end = min(*ends.values(), self.built.steps)
      if experiment.checkpoint_every.minutes is None:
        end = min(end, experiment.checkpoint_every.after(progress.step, per_epoch))
      if self.profiler:
        end = self.profiler.cut(progress.step, end, self._pace.count)
      self._advance(end)
      if self.profiler and self.profiler.due(progress.step):
        with self._clock('start'):
          self.profiler.reached(progress.step)
      last = progress.step == self.built.steps
      if progress.step == ends['log'] or last:
        self._log()
      if progress.step == ends['evaluate'] or last:
        self._evaluate_all()
        if last:
          progress.done = 'steps'
      decided = self._agreed()
      scheduled = progress.done is not None or self._scheduled(per_epoch)
      if scheduled or any(decided[:2]):
        self._save(scheduled=scheduled)
      if decided.stop:
        break
    self._flush(leave=0)
    with self._clock('checkpoint'):
      self.checkpoints.wait()

  def _advance(self, end: int) -> None:
    """Dispatches the steps up to `end`, or to where the run is asked to stop."""
    progress = self.progress
    while progress.step < end and not any(self._agreed()[:2]):
      count = min(end - progress.step, self._pace.count)
      self.group.mark_progress()
      start = time.perf_counter()
      with profile.annotated(profile.READING):
        host_batch = self.built.train.host_batch(progress.step, count)
      if self.carry.fault.is_ready():  # nothing was left to do meanwhile
        waited = time.perf_counter() - start
        progress.seconds['data'] += waited
        progress.seconds['train'] -= waited
      self.carry, agreed = self.programs.advance(
        self.carry, host_batch, count, progress.clear, self._votes())
      progress.clear = False
      progress.step += count
      self._pace.dispatched(progress.step, self.carry.fault, agreed)
      self.writers.update(self._pace.done, time.perf_counter() - self._begin)

  def _votes(self) -> Votes:
    return Votes(self.stop.name is not None, self._minutes_are_over(), self._pace.vote)

  def _agreed(self) -> Votes:
    """What all processes have agreed on; a single one decides alone."""
    return self._votes() if self.group.count == 1 else self._pace.agreed

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
      record = {f'train/{k}': v for k, v in values_of(jax.device_get(window)).items()}
      self._record(step, record)
      shown = {k: v for k, v in record.items() if not k.startswith(_QUIET)}
      self.writers.log(step, shown, time.perf_counter() - self._begin)

  def _record(self, step: int, record: dict[str, Any]) -> None:
    self.progress.metrics |= record
    self.writers.write(step, record)
    self.progress.records += 1

  def _check(self, fault: jax.Array) -> None:
    step, index = np.asarray(fault)
    if step >= 0:
      name = self.programs.traced.metric_names[index]
      state = self.carry.state._replace(step=jnp.int32(step - 1))
      self._not_finite(f'train/{name}', int(step), self._inputs_at_fault(
        'train', state, (int(step) - 1,)))

  def _inputs_at_fault(self, name: str, state, batches: Iterable[int]) -> str:
    """See `evaluation.not_finite_inputs`; '' if no batch has any, or for processes."""
    if self.group.count > 1 or self.built.layout.strategy == 'pmap':
      return ''
    return next(filter(None, (
      evaluation.not_finite_inputs(self.built, name, state, index)
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
    self.group.mark_progress()
    with self._clock('evaluate'):
      record = self._evaluate_splits()
    bad = [name for name, value in record.items() if not np.isfinite(value).all()]
    if bad:
      name = bad[0].partition('/')[0]
      batches = evaluation.number_of_batches(self.built.evals[name])
      self._not_finite(bad[0], progress.step, self._inputs_at_fault(
        name, self.carry.state, range(batches)))
    self._record(progress.step, record)
    progress.evaluations += 1
    value = evaluation.monitored(experiment, record)
    score = evaluation.score(value)
    if experiment.monitor is None or experiment.monitor.better(score, progress.best):
      progress.best, progress.best_step, progress.waited = score, progress.step, 0
    else:
      progress.waited += 1
      if experiment.monitor.patience and progress.waited >= experiment.monitor.patience:
        progress.done = 'patience'
    metric = experiment.monitor and experiment.monitor.metric
    best = ' (best)' if metric and progress.best_step == progress.step else ''
    self.writers.say(f'step {progress.step:,}: {line(record, metric)}{best}')
    if value is not None:
      sign = 1.0 if experiment.monitor.goal == 'min' else -1.0
      signal = jax.tree.map(
        lambda new, old: self.built.layout.replicate(np.broadcast_to(new, old.shape)),
        Signal(np.float32(sign * value), np.int32(progress.evaluations)),
        self.carry.state.signal)
      self.carry = self.carry._replace(state=self.carry.state._replace(signal=signal))

  def _evaluate_splits(self) -> dict[str, Any]:
    record = {}
    for name in self.built.evals:
      found, outputs = self.evaluate(name, self.carry.state)
      record |= found
      if self.built.task.snapshot:
        self.writers.snapshot(
          self.progress.step, name, self.built.task.snapshot(outputs))
    return record

  def evaluate(self, name: str, state: Any, threshold: float | None = None,
               temperature: float | None = None) -> tuple[dict[str, Any], dict]:
    """See `evaluation.evaluate`, for the batches that the run looks at.

    Args:
      name: of the split.
      state: of the learner.
      threshold: of `predictions`, or None.
      temperature: of `probabilities`, or None.
    """
    evaluate = functools.partial(
      evaluation.evaluate, self.built, self.programs, name, state,
      threshold=threshold, temperature=temperature)
    found, outputs = evaluate(self.batches)
    monitor = self.built.experiment.monitor
    if self.batches and monitor and monitor.metric not in found and (
      monitor.metric.partition('/')[0] == name):
      return evaluate(None)
    return found, outputs

  def _scheduled(self, per_epoch: float) -> bool:
    """Whether every run of this experiment has a checkpoint here."""
    experiment, progress = self.built.experiment, self.progress
    if experiment.monitor and progress.best_step == progress.step:
      return True
    return experiment.checkpoint_every.minutes is None and (
      progress.step == experiment.checkpoint_every.after(progress.step - 1, per_epoch))

  def _minutes_are_over(self) -> bool:
    minutes = self.built.experiment.checkpoint_every.minutes
    return minutes is not None and time.perf_counter() - self._saved_at > minutes * 60

  def _save(self, *, scheduled: bool) -> None:
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
    self.group.mark_progress()
    with self._clock('checkpoint'):
      best = progress.best_step if self.built.experiment.monitor else None
      self.checkpoints.save(
        progress.step, self.carry, dataclasses.asdict(progress), best=best,
        scheduled=scheduled, done=progress.done is not None)
    self._saved_at = time.perf_counter()
    self._pace.saved()

  @contextlib.contextmanager
  def _clock(self, name: str):
    """Waits for training, then times what is done inside separately from it."""
    seconds = self.progress.seconds
    jax.block_until_ready(self.carry.fault)
    start = time.perf_counter()
    seconds['train'] += start - self._train_begin
    try:
      with profile.annotated(name):
        yield
    finally:
      self._pace.paused()
      self._train_begin = time.perf_counter()
      seconds[name] += self._train_begin - start


def copies(tree: Any) -> list[int]:
  """A fingerprint of each local device's copy of the replicated arrays."""
  whole = [leaf for leaf in jax.tree.leaves(tree) if leaf.sharding.is_fully_replicated]
  if not whole:
    return [0]
  # `addressable_data(i)` of a replicated array is the first copy, whatever i.
  return [int(fingerprint([leaf.addressable_shards[i].data for leaf in whole]))
          for i in range(len(whole[0].addressable_shards))]
