"""A GPT that writes Python, trained on the standard library; no download.

  python run.py --experiment=gpt_python
  python run.py --mode=sample --workdir=runs/... --prompt="def main():" --tokens=64

--config.path=FILE_OR_FOLDER trains on any other text.

Needs: no download; 2 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | None = None, vocabulary: int = 2048, steps: int = 2800,
           batch_size: int = 8, length: int = 128, depth: int = 3, width: int = 128,
           heads: int = 4, learning_rate: float = 3e-3, seed: int = 0) -> Experiment:
  documents = texts.StandardLibrary() if path is None else texts.TextFiles(path)
  source = data.Packed(documents, tokenizers.Bpe(vocabulary), length)
  return Experiment(
    model=partial(models.ModernGpt, length=length, depth=depth, width=width,
                  heads=heads, tied=True, unroll=True),
    task=tasks.next_token,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.1, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={'validation': data.Batches(source=source.split('validation'),
                                      batch_size=64)},
    evaluate_every=Duration(steps=2000),
    log_every=Duration(steps=50),
    duration=Duration(steps=steps),
    monitor=Monitor(metric='validation/loss', goal='min'),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
