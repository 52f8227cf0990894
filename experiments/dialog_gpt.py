"""A GPT that answers in everyday talk: DailyDialog++, or your dialogues.

  python run.py --experiment=dialog_gpt --data_dir=DIR      # DIR holds dailydialog_pp/
  python run.py --experiment=dialog_gpt --config.path=FILE.jsonl
  python run.py --mode=chat --workdir=runs/...

Files are those of dialog_selection. The loss is of the responses alone.

Needs: DailyDialog++ (--data_dir, files); 20 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | None = None, context: str = 'context',
           responses: str = 'responses', vocabulary: int = 4000, epochs: float = 4,
           batch_size: int = 32, length: int = 96, depth: int = 3, width: int = 128,
           heads: int = 4, dropout: float = 0.1, learning_rate: float = 2e-3,
           seed: int = 0) -> Experiment:
  documents = texts.dailydialog() if path is None else texts.DialogueFile(
    path, context, responses)
  source = data.Replies(documents, tokenizers.Bpe(vocabulary), length)
  return Experiment(
    model=partial(models.ModernGpt, length=length, depth=depth, width=width,
                  heads=heads, tied=True, dropout=dropout, unroll=True),
    task=tasks.next_token,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.1, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=0.05))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=64)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    log_every=Duration(steps=50),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/loss', goal='min'),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
