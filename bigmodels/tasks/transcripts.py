"""What tasks that transcribe recordings share: scores, plots and answers."""

from collections.abc import Mapping

import numpy as np

from bigmodels import metrics, plots
from bigmodels.core.errors import UserError
from bigmodels.metrics.speech import edits, library
from bigmodels.plots import Inputs
from bigmodels.tasks.task import Split


def check(split: Split) -> None:
  """Refuses data without transcripts, and an installation without jiwer.

  Raises:
    UserError: for either.
  """
  library()
  if split.labels is not None and split.labels.ndim != 2:
    raise UserError(f'{split.name}: labels must be tokens [n, length], got '
                    f'{split.labels.dtype} {split.labels.shape}')


def texts_of(tokenizer, outputs: Mapping[str, np.ndarray]
             ) -> tuple[list[str], list[str]]:
  """The transcripts and the references of the outputs of a split.

  Args:
    tokenizer: of the run.
    outputs: `predictions` and `labels`, tokens int `[n, length]`, 0 for padding.
  """
  return tuple([*map(tokenizer.decode, outputs[name])]
               for name in ('predictions', 'labels'))


def summarize(tokenizer, outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
  """The error rates of a split; see `metrics.error_rates`.

  Args:
    tokenizer: of the run.
    outputs: `predictions` and `labels`, tokens int `[n, length]`.
  """
  return metrics.error_rates(*texts_of(tokenizer, outputs))


def draw(tokenizer, outputs: Mapping[str, np.ndarray], inputs: Inputs, classes) -> dict:
  """The plots of a split; see `plots.speech`.

  Args:
    tokenizer, outputs: see `texts_of`; with `filled` `[n]`, the fraction of the input
      that is not padding.
    inputs: rows -> raw inputs `[k, ...]`.
    classes: not used.
  """
  del classes
  texts, references = texts_of(tokenizer, outputs)
  counts, lengths = edits(texts, references)
  return plots.speech(counts.sum(1), lengths, texts, references, outputs['filled'],
                      inputs)


def answers(tokenizer, outputs: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
  """The transcripts, for people.

  Args:
    tokenizer: of the run.
    outputs: `predictions`, tokens int `[n, length]`.
  """
  return {'prediction': [*map(tokenizer.decode, outputs['predictions'])]}
