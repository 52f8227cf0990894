"""What the host knows of a run in progress."""

import dataclasses
from typing import Any


@dataclasses.dataclass
class TrainingProgress:
  """Where a run is; it is saved with the carry, as JSON.

  Attributes:
    step: updates so far.
    evaluations: so far.
    metrics: the latest value of every metric, by flat name: a number, or nested lists.
    best: score of the best evaluation; see `evaluation.score`.
    best_step: the step of that; without a monitor the latest evaluation.
    waited: evaluations since then.
    records: lines of the log.
    log: the digest of these.
    clear: whether the next dispatch starts a new window of training metrics.
    done: whether training is over, and why: 'steps' or 'patience'.
    seconds: of wall time, over all starts of the run: 'train', 'data' (at most: reads
      that took so long that the devices had nothing to do), 'evaluate', 'checkpoint',
      'compile', 'start'.
  """

  step: int = 0
  evaluations: int = 0
  metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
  best: float | None = None
  best_step: int | None = None
  waited: int = 0
  records: int = 0
  log: str = ''
  clear: bool = True
  done: str | None = None
  seconds: dict[str, float] = dataclasses.field(default_factory=lambda: dict.fromkeys(
    ('train', 'data', 'evaluate', 'checkpoint', 'compile', 'start'), 0.0))
