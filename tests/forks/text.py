"""A small language model on a file, with a tokenizer that is fitted."""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import texts, tokenizers


def config(*, path: str, steps: int = 12) -> Experiment:
  source = data.Packed(texts.TextFiles(path), tokenizers.Words(40), 16)

  def batches(split):
    return data.Batches(source=source.split(split), batch_size=4)

  return Experiment(
    model=partial(models.RecurrentLanguageModel, width=8),
    task=tasks.next_token,
    optimizer=partial(optax.adam, 1e-2),
    train=batches('train'), evals={'validation': batches('validation')},
    evaluate_every=Duration(steps=6), checkpoint_every=Duration(steps=6),
    duration=Duration(steps=steps))
