"""Images that a run of this project makes, as a source."""

import dataclasses
import numbers

import numpy as np

from bigmodels.core.paths import resolved
from bigmodels.data.sources import DataContext, Dataset, in_memory


@dataclasses.dataclass(frozen=True)
class Generated:
  """What the generator of a finished run makes, as many images of every class.

  A classifier that learns from these and is tested on real images has a test accuracy
  that is the classification accuracy score of the generator (Ravuri and Vinyals, 2019).

  Attributes:
    workdir: of the run, such as one of `mnist_dcgan`.
    each: images of every class.
  """

  workdir: str
  each: int = 6000

  def __post_init__(self):
    if not isinstance(self.each, numbers.Integral) or self.each < 1:
      raise ValueError(f'each: wants a whole number, at least 1, got {self.each}')
    # Absolute: wherever it goes on.
    object.__setattr__(self, 'workdir', str(resolved(self.workdir, 'workdir')))

  def open(self, context: DataContext) -> Dataset:
    run = context.open_run(self.workdir)
    count = len(run.classes or ('',))
    labels = np.tile(np.arange(count, dtype=np.int32), self.each)
    context.say(f'generating {len(labels):,} images by {run.name}')
    return in_memory({'inputs': run.generate_images(labels), 'labels': labels}, run.classes
                     )._replace(named=run.named)
