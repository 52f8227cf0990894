"""Sentiment of movie reviews, or any labelled texts: a small BERT.

  python run.py --experiment=sst2_bert --data_dir=DIR     # DIR holds sst2/
  python run.py --experiment=sst2_bert --data_dir=DIR --init_from=RUN_OF_BERT_MLM

--config.path=reviews.csv --config.text=review --config.label=stars reads another file,
split as in sst2_lstm. --config.frozen=1 freezes the embeddings and the lowest block of
the encoder.

Needs: SST-2 (--data_dir, files); 1 minute on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules
from experiments.bert_mlm import SPECIAL
from experiments.sst2_lstm import SPLITS


def config(*, path: str | tuple[str, ...] | None = None, text: str = 'text',
           label: str = 'label', split: str | None = None, vocabulary: int = 4000,
           epochs: float = 6, batch_size: int = 32, length: int = 64, depth: int = 2,
           width: int = 128, heads: int = 4,
           learning_rate: float = 5e-4, frozen: int = 0, seed: int = 0) -> Experiment:
  documents = texts.sst2() if path is None else texts.LabelledTexts(
    path, text=text, label=label, splits=split or SPLITS)
  source = data.Sentences(
    documents, tokenizers.Bpe(vocabulary, special=SPECIAL), length)
  frozen_parts = (
    optim.freeze(r'encoder/(tokens|positions|sentences|norm)/.*'),
    optim.freeze(r'encoder/blocks/.*', layers=frozen)) if frozen else ()
  return Experiment(
    model=partial(models.BertClassifier, encoder=partial(
      models.Bert, length=length, depth=depth, width=width, heads=heads, unroll=True)),
    task=tasks.classification,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.01, mask=optim.weights,
        learning_rate=partial(schedules.warmup_linear, peak=learning_rate,
                              warmup=0.1)), *frozen_parts),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=128)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/accuracy', goal='max'),
    # Only used with --init_from: the classifier's own layers are initialized.
    init_pattern='encoder/.*',
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
