"""A small language model on a file, with a tokenizer that is fitted."""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.data import texts, tokenizers
from bigmodels.experiment import Experiment, Span


def config(*, path: str, steps: int = 12) -> Experiment:
  source = data.Packed(texts.TextFiles(path), tokenizers.Words(40), 16)

  def batches(split):
    return data.Batches(source=source.split(split), batch_size=4)

  return Experiment(
    model=partial(models.RecurrentLanguageModel, width=8),
    task=tasks.next_token,
    optimizer=partial(optax.adam, 1e-2),
    train=batches('train'), evals={'validation': batches('validation')},
    evaluate=Span(steps=6), checkpoint=Span(steps=6), duration=Span(steps=steps))
