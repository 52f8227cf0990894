"""GPT-3 with 175 billion parameters (Brown et al., 2020), for planning.

  python run.py --experiment=gpt3_175b --mode=shapes
  python run.py --experiment=gpt3_175b --mode=plan --topology=v5p:8x8x8 \\
    --mesh=data:1,fsdp:512

Needs: nothing, for --mode=plan and --mode=shapes.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | None = None, tokenizer: str | None = None,
           batch_size: int = 1536, length: int = 2048, steps: int = 95_000,
           learning_rate: float = 6e-5, seed: int = 0) -> Experiment:
  source = data.Packed(
    texts.StandardLibrary() if path is None else texts.TextFiles(path),
    tokenizers.Bytes() if tokenizer is None else tokenizers.TokenizerFile(tokenizer),
    length)
  return Experiment(
    model=models.Gpt(vocabulary=50257, length=length, depth=96, width=12288, heads=96,
                     remat='full'),
    task=tasks.next_token,
    # Table 2.1 and appendix B: 3.2 million tokens per batch, 300 billion in total.
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.95, weight_decay=0.1, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=1 / 800, end=learning_rate / 10))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={'validation': data.Batches(source=source.split('validation'),
                                      batch_size=512)},
    evaluate_every=Duration(steps=1000),
    log_every=Duration(steps=10),
    checkpoint_every=Duration(minutes=60),
    duration=Duration(steps=steps),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
