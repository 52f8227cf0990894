"""Sentiment of movie reviews, or any labelled texts: a bidirectional LSTM.

  python run.py --experiment=sst2_lstm --data_dir=DIR     # DIR holds sst2/
  python run.py --experiment=sst2_lstm --config.path=reviews.csv --config.text=review \\
    --config.label=stars

A file, or 'data/*.jsonl', is split at random with the fraction of each label in every
split; --config.split=set names a column with the split of each text.

Needs: SST-2 (--data_dir, files); 2 minutes on two cores.
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.layers.recurrent import Lstm
from bigmodels.optim import schedules

SPLITS = {'train': 0.8, 'validation': 0.1, 'test': 0.1}


def config(*, path: str | tuple[str, ...] | None = None, text: str = 'text',
           label: str = 'label', split: str | None = None,
           duplicates: Literal['keep', 'drop'] | None = None,
           delimiter: str | None = None, encoding: str | None = None,
           vocabulary: int = 14_000, epochs: float = 8, batch_size: int = 32,
           length: int = 48, width: int = 128, learning_rate: float = 2e-3,
           dropout: float = 0.4, seed: int = 0) -> Experiment:
  documents = texts.sst2() if path is None else texts.LabelledTexts(
    path, text=text, label=label, splits=split or SPLITS, duplicates=duplicates,
    delimiter=delimiter, encoding=encoding)
  source = data.Sentences(
    documents, tokenizers.Words(vocabulary, special=('pad', 'unknown')), length)
  return Experiment(
    model=partial(
      models.RecurrentClassifier, width=width, embedding=width, cell=Lstm,
      pooling='max', dropout=dropout, recurrent_dropout=0.2, embedding_dropout=0.2),
    task=tasks.classification,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, weight_decay=0.05, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=128)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/accuracy', goal='max'),
    seed=seed)
