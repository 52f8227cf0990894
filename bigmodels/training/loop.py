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
from collections.abc import Iterable, Sequence
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
from bigmodels.storage.fingerprint import copies
from bigmodels.training import evaluation
from bigmodels.training.build import Built
from bigmodels.training.compile import Carry, Programs, all_finite
from bigmodels.training.evaluation import values_of
from bigmodels.training.member_runs import NOT_FINITE, Member, together
from bigmodels.training.members import member as member_of
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
  """A run in progress, or the runs of a population.

  Attributes:
    built: the experiment.
    programs: compiled from it.
    carry: on the device.
    progress: the step and the times of all members; of a single run, its own.
    members: the runs.
    writers: of the log of all members, and of the console; of a single run, its own.
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
  members: Sequence[Member]
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
        for _, member in self._going():
          member.progress.done = member.progress.done or ('steps' if last else None)
      decided = self._agreed()
      scheduled = any(self._scheduled(member, per_epoch) for _, member in self._going())
      if scheduled or any(decided[:2]):
        self._save(per_epoch)
      if not self._going():
        progress.done = self.members[0].progress.done
      if decided.stop:
        break
    self._flush(leave=0)
    with self._clock('checkpoint'):
      for member in self.members:
        member.checkpoints.wait()

  def _going(self) -> list[tuple[int, Member]]:
    """The members that are not finished, each with its index."""
    return [each for each in enumerate(self.members) if not each[1].finished]

  def _advance(self, end: int) -> None:
    """Dispatches the steps up to `end`, or to where the run is asked to stop."""
    progress, members = self.progress, self.programs.traced.members
    while progress.step < end and not any(self._agreed()[:2]):
      count = min(end - progress.step, self._pace.count)
      self.group.mark_progress()
      start = time.perf_counter()
      with profile.annotated(profile.READING):
        host_batch = members.stacked(members.host_batches(
          self.built.train, progress.step, count))
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
      window, records = jax.device_get(window), [None] * len(self.members)
      for index, member in self._going():
        records[index] = {f'train/{name}': value for name, value in values_of(
          self._of_member(window, index)).items()}
        self._record(member, step, records[index])
      record = self._record_all(step, records)
      shown = {k: v for k, v in record.items() if not k.startswith(_QUIET)}
      self.writers.log(step, shown, time.perf_counter() - self._begin)

  def _of_member(self, tree: Any, index: int) -> Any:
    """What a member has of a tree of the carry, or of what a program gives."""
    return tree if self.programs.traced.members.count is None else member_of(
      tree, index)

  def _record(self, member: Member, step: int, record: dict[str, Any]) -> None:
    member.progress.metrics |= record
    member.writers.write(step, record)
    member.progress.records += 1

  def _record_all(self, step: int, records: Sequence[dict[str, Any] | None]
                  ) -> dict[str, Any]:
    """Records what all members have, in the log of their population."""
    record = together(records)
    if len(self.members) > 1:
      self.writers.write(step, record)
    return record

  def _check(self, fault: jax.Array) -> None:
    fault = np.asarray(fault)
    for index, member in self._going():
      step, metric = self._of_member(fault, index)
      if step >= 0:
        name = self.programs.traced.metric_names[metric]
        state = self.carry.state._replace(step=jnp.int32(step - 1))
        self._not_finite(member, f'train/{name}', int(step), self._inputs_at_fault(
          'train', state, (int(step) - 1,)))

  def _inputs_at_fault(self, name: str, state, batches: Iterable[int]) -> str:
    """See `evaluation.not_finite_inputs`; '' if no batch has any, or for processes."""
    if self.group.count > 1 or self.built.layout.strategy == 'pmap' or (
      len(self.members) > 1):
      return ''
    return next(filter(None, (
      evaluation.not_finite_inputs(self.built, name, state, index)
      for index in batches)), '')

  def _not_finite(self, member: Member, metric: str, step: int, cause: str = ''
                  ) -> None:
    """Ends a run; a population goes on with the others, if there are any."""
    if len(self._going()) > 1:
      self.writers.say(f'warning: {member.run.name}: {metric} is not finite at step '
                       f'{step:,}; the others go on without it')
      member.progress.done, member.finished = NOT_FINITE, True
      if self.group.main:
        member.run.workdir.write_json(member.run.workdir.result, {
          'status': NOT_FINITE, 'step': step, 'metric': metric})
      return
    member.checkpoints.wait()
    saved = member.checkpoints.steps
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
      records = self._evaluate_splits()
    metric = experiment.monitor and experiment.monitor.metric
    better = 0
    for index, member in self._going():
      if not self._is_finite(member, records[index]):
        continue
      self._record(member, progress.step, records[index])
      better += self._judged(member.progress, records[index])
    going = {index for index, _ in self._going()}
    several = f' for {better} of {len(going)} seeds' if len(self.members) > 1 else ''
    best = f' (best{several})' if metric and better else ''
    record = self._record_all(progress.step, [
      each if index in going else None for index, each in enumerate(records)])
    self.writers.say(f'step {progress.step:,}: {line(record, metric)}{best}')
    if experiment.monitor:
      self._signal([records[index] for index in range(len(self.members))])

  def _is_finite(self, member: Member, record: dict[str, Any]) -> bool:
    """Whether the values of an evaluation are finite; else the member ends here."""
    bad = [name for name, value in record.items() if not np.isfinite(value).all()]
    if bad:
      name = bad[0].partition('/')[0]
      batches = evaluation.number_of_batches(self.built.evals[name])
      self._not_finite(member, bad[0], self.progress.step, self._inputs_at_fault(
        name, self.carry.state, range(batches)))
    return not bad

  def _judged(self, progress: TrainingProgress, record: dict[str, Any]) -> bool:
    """Whether an evaluation is the best so far, which is noted."""
    monitor = self.built.experiment.monitor
    progress.evaluations += 1
    score = evaluation.score(evaluation.monitored(self.built.experiment, record))
    if monitor is None or monitor.better(score, progress.best):
      progress.best, progress.best_step, progress.waited = score, self.progress.step, 0
      return True
    progress.waited += 1
    if monitor.patience and progress.waited >= monitor.patience:
      progress.done = 'patience'
    return False

  def _signal(self, records: Sequence[dict[str, Any]]) -> None:
    """Tells the optimizers of an evaluation."""
    experiment = self.built.experiment
    sign = 1.0 if experiment.monitor.goal == 'min' else -1.0
    signals = [Signal(
      np.float32(sign * evaluation.monitored(experiment, record)),
      np.int32(member.progress.evaluations))
      for member, record in zip(self.members, records, strict=True)]
    signal = jax.tree.map(
      lambda old, *new: self.programs.traced.members.put(
        np.broadcast_to(np.stack(new).reshape(old.shape), old.shape)),
      self.carry.state.signal, *signals)
    self.carry = self.carry._replace(state=self.carry.state._replace(signal=signal))

  def _evaluate_splits(self) -> list[dict[str, Any]]:
    """The values of each member."""
    records: list[dict[str, Any]] = [{} for _ in self.members]
    for name in self.built.evals:
      evaluated = self._evaluated(name, self.batches)
      if self.batches and evaluation.lacks_monitor(
        self.built.experiment, name, evaluated[0][0]):
        evaluated = self._evaluated(name, None)
      for index, (found, outputs) in enumerate(evaluated):
        records[index] |= found
        if self.built.task.snapshot and not self.members[index].finished:
          self.members[index].writers.snapshot(
            self.progress.step, name, self.built.task.snapshot(outputs))
    return records

  def _evaluated(self, name: str, most: int | None) -> list[tuple[dict, dict]]:
    """The values and outputs of a split for each member."""
    parts = evaluation.parts_of(self.built, self.programs, name, self.carry.state, most)
    return [evaluation.of_parts(
      self.built, name, [self._of_member(part, index) for part in parts])
      for index in range(len(self.members))]

  def evaluate(self, name: str, programs: Programs, state: Any,
               threshold: float | None = None, temperature: float | None = None
               ) -> tuple[dict[str, Any], dict]:
    """See `evaluation.evaluate`, for the batches that the run looks at.

    Args:
      name: of the split.
      programs: of one run.
      state: of the learner.
      threshold: of `predictions`, or None.
      temperature: of `probabilities`, or None.
    """
    evaluate = functools.partial(
      evaluation.evaluate, self.built, programs, name, state, threshold=threshold,
      temperature=temperature)
    found = evaluate(self.batches)
    few = self.batches and evaluation.lacks_monitor(
      self.built.experiment, name, found[0])
    return evaluate(None) if few else found

  def _scheduled(self, member: Member, per_epoch: float) -> bool:
    """Whether every run of this experiment has a checkpoint here."""
    experiment, step = self.built.experiment, self.progress.step
    if member.progress.done is not None or (
      experiment.monitor and member.progress.best_step == step):
      return True
    return experiment.checkpoint_every.minutes is None and (
      step == experiment.checkpoint_every.after(step - 1, per_epoch))

  def _minutes_are_over(self) -> bool:
    minutes = self.built.experiment.checkpoint_every.minutes
    return minutes is not None and time.perf_counter() - self._saved_at > minutes * 60

  def _save(self, per_epoch: float) -> None:
    """Starts to save where the run is; see `Checkpoints.save`.

    All members are saved at the same steps, so that they resume from one.
    """
    progress, traced = self.progress, self.programs.traced
    self._flush(leave=0)
    self._check(self.carry.fault)
    carries = traced.members.split(self.carry, traced.carry)
    for index, member in self._going():
      if not all_finite(carries[index].state.params):
        self._not_finite(member, 'a parameter', progress.step)
    one_each = self.built.layout.strategy == 'pmap'
    if one_each and len(set(copies(self.carry.state.params))) > 1:
      raise UserError(
        f'at step {progress.step} the devices hold different parameters: under '
        '--parallel=pmap a learner has to take its gradients with the `gradient` it is '
        'given, which adds them up (learners/gradient.py)')
    self.group.mark_progress()
    with self._clock('checkpoint'):
      for index, member in self._going():
        own = member.progress
        member.writers.sync()
        own.log, own.step = member.writers.digest, progress.step
        own.clear, own.seconds = progress.clear, progress.seconds
        member.checkpoints.save(
          progress.step, carries[index], dataclasses.asdict(own),
          best=own.best_step if self.built.experiment.monitor else None,
          scheduled=self._scheduled(member, per_epoch), done=own.done is not None)
        member.finished = own.done is not None
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
