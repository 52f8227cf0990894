"""New examples with labels as a source, to evaluate a run on them."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from bigmodels.core.errors import UserError
from bigmodels.data.readers.reader import Examples, joined
from bigmodels.data.sources import DataContext, Dataset, in_memory

_NAMED = 5  # examples that are left out and named


@dataclasses.dataclass(frozen=True)
class LabelledExamples:
  """Labelled examples as a source; those without a label, or damaged, are left out.

  Attributes:
    examples: read with labels.
    classes: the classes of the labels, or None.
    name: of the input, for messages.
    say: prints a line.
  """

  examples: Examples
  classes: Sequence[str] | None
  name: str
  say: Callable[[str], None] = print

  def open(self, context: DataContext) -> Dataset:
    """Reads all examples.

    Raises:
      UserError: if no example is left.
    """
    del context
    whole = joined([*self.examples.chunks(0)])
    left = np.array([i for i in range(whole.length) if i not in whole.faults], int)
    for index, why in [*whole.faults.items()][:_NAMED]:
      self.say(f'{self.name}: left out: {whole.unit} {whole.names[index]}: {why}')
    self.say(f'{self.name}: {len(left):,} of {whole.length:,} examples')
    if not len(left):
      raise UserError(f'{self.name}: there is no labelled example')
    columns = {**whole.columns, 'labels': whole.labels}
    return in_memory({name: column[left] for name, column in columns.items()},
                     None if self.classes is None else tuple(self.classes))._replace(
      describe=lambda row: f'{whole.unit} {whole.names[left[row]]}')
