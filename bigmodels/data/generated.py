"""Images that a finished run generates, as a source."""

import dataclasses
import numbers

import numpy as np

from bigmodels.core.paths import resolved
from bigmodels.data.sources import DataContext, Dataset, in_memory


@dataclasses.dataclass(frozen=True)
class Generated:
  """Images of the generator of a finished run, as many of every class.

  The test accuracy, on real images, of a classifier that learns from these is the
  classification accuracy score of the generator (Ravuri and Vinyals, *Classification
  accuracy score for conditional generative models*, 2019).

  Attributes:
    workdir: of the run, such as one of `mnist_dcgan`.
    each: number of images of every class.
  """

  workdir: str
  each: int = 6000

  def __post_init__(self):
    if not isinstance(self.each, numbers.Integral) or self.each < 1:
      raise ValueError(f'each: must be an integer >= 1, got {self.each!r}')
    # Absolute: a run is resumed from any folder.
    object.__setattr__(self, 'workdir', str(resolved(self.workdir, 'workdir')))

  def open(self, context: DataContext) -> Dataset:
    """Opens the run, and generates `inputs` and `labels` of every class in turn.

    Raises:
      UserError: if there is no such run, or it generates no images.
    """
    run = context.open_run(self.workdir)
    count = len(run.classes or ('',))
    labels = np.tile(np.arange(count, dtype=np.int32), self.each)
    context.say(f'generating {len(labels):,} images by {run.name}')
    columns = {'inputs': run.generate_images(labels), 'labels': labels}
    return in_memory(columns, run.classes)._replace(named=run.named)
