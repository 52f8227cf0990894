"""nanoGPT's character model of Shakespeare, at its setting for a CPU.

  python run.py --experiment=shakespeare_gpt --data_dir=DIR
  python run.py --mode=sample --workdir=runs/... --prompt="ROMEO:"

Needs: Shakespeare's plays (--mode=download); 2 minutes on two cores.
"""

from functools import partial

import flax.linen as nn
import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.layers.activations import gelu
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, steps: int = 2000, batch_size: int = 12, length: int = 64,
           depth: int = 4, heads: int = 4, width: int = 128, dropout: float = 0.0,
           learning_rate: float = 1e-3, seed: int = 0) -> Experiment:
  # The last tenth, as in nanoGPT; TFDS halves it.
  source = data.Packed(texts.TfdsText('tiny_shakespeare'), tokenizers.Characters(),
                       length)
  return Experiment(
    model=partial(
      models.Gpt, length=length, depth=depth, width=width, heads=heads,
      dropout=dropout, attention_dropout=dropout, use_bias=False, unroll=True,
      activation=gelu,
      norm=partial(nn.LayerNorm, epsilon=1e-5, use_bias=False)),
    task=tasks.next_token,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.99, weight_decay=0.1, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=0.05, end=learning_rate / 10))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={'validation': data.Batches(source=source.split('validation+test'),
                                      batch_size=96)},
    evaluate_every=Duration(steps=250),
    log_every=Duration(steps=50),
    duration=Duration(steps=steps),
    monitor=Monitor(metric='validation/loss', goal='min'),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
