"""GPT-2 with 124 million parameters, as nanoGPT trains it on eight A100s.

  python run.py --experiment=gpt2_124m --config.path=FOLDER \\
    --config.tokenizer=tokenizer.json

Without a path it reads the Python standard library; without a tokenizer, tokens are
bytes. `tokenizer.json` is GPT-2's, from Hugging Face. To start from its published
weights: --init_from=model.safetensors.

Needs: any text; eight GPUs for days.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | None = None, tokenizer: str | None = None,
           batch_size: int = 480, accumulate: int = 40, length: int = 1024,
           steps: int = 600_000, learning_rate: float = 6e-4,
           seed: int = 0) -> Experiment:
  source = data.Packed(
    texts.StandardLibrary() if path is None else texts.TextFiles(path),
    tokenizers.Bytes() if tokenizer is None else tokenizers.TokenizerFile(tokenizer),
    length)
  return Experiment(
    model=models.Gpt(vocabulary=50257, length=length),
    task=tasks.next_token,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.95, weight_decay=0.1, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=1 / 300, end=learning_rate / 10))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={'validation': data.Batches(source=source.split('validation'),
                                      batch_size=batch_size // accumulate)},
    accumulate=accumulate,
    evaluate_every=Duration(steps=1000),
    log_every=Duration(steps=10),
    checkpoint_every=Duration(minutes=20),
    duration=Duration(steps=steps),
    rules=sharding_rules.TRANSFORMER,
    seed=seed)
