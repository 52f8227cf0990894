"""A GPT that writes what a person wants, as slots, and a response: CamRest676.

  python run.py --experiment=camrest_gpt --data_dir=DIR      # DIR holds camrest/
  python run.py --mode=chat --workdir=runs/... --after=' | ' --temperature=0

One decoder, as in Hosseini-Asl et al., *A simple language model for task-oriented
dialogue*, 2020, but without a database of restaurants. --config.path=FILE.json reads
another file of CamRest's format.

Needs: CamRest676 (--data_dir, files); 10 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | None = None, vocabulary: int = 1500, epochs: float = 40,
           batch_size: int = 32, length: int = 224, prompt: int = 64, depth: int = 3,
           width: int = 128, heads: int = 4, dropout: float = 0.2,
           learning_rate: float = 2e-3, seed: int = 0) -> Experiment:
  documents = texts.camrest() if path is None else texts.SlotDialogueFile(path)
  source = data.Replies(documents, tokenizers.Bpe(vocabulary), length, prompt=prompt)
  return Experiment(
    model=partial(models.ModernGpt, length=length, depth=depth, width=width,
                  heads=heads, tied=True, dropout=dropout, unroll=True),
    task=tasks.slot_responses,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.1, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=0.05))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=64)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=5),
    log_every=Duration(steps=50),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/joint_accuracy', goal='max'),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
