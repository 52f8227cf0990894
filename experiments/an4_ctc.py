"""Spelt names and numbers (AN4): a bidirectional recurrent CTC model of cepstra.

  python run.py --experiment=an4_ctc --data_dir=DIR     # DIR holds an4/

Needs: AN4's cepstra (--data_dir, files) and requirements-audio.txt.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import recordings, tokenizers, transforms
from bigmodels.optim import schedules


def config(*, epochs: float = 40, batch_size: int = 16, width: int = 160,
           depth: int = 3, learning_rate: float = 2e-3, dropout: float = 0.3,
           validation: float = 0.0, beams: int = 16, order: int = 4,
           weight: float = 0.5, bonus: float = 0.5, seed: int = 0) -> Experiment:
  source = data.Speech(
    recordings.an4(validation=validation), tokenizers.Characters(special=('pad',)),
    stride=3, buckets=3)
  features = (partial(transforms.with_deltas, order=2), transforms.normalize_frames)
  return Experiment(
    model=partial(models.RecurrentCtc, width=width, depth=depth, stack=3,
                  dropout=dropout),
    task=partial(tasks.ctc, beams=beams, order=order, weight=weight, bonus=bonus),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, weight_decay=0.01, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate))),
    train=data.Batches(
      source=source.split('train'), batch_size=batch_size,
      transforms=(partial(transforms.speed, low=0.85, high=1.15), *features,
                  partial(transforms.spec_augment, bands=2, band=6, gaps=2, gap=20,
                          max_fraction=0.1))),
    evals={name: data.Batches(source=source.split(name), batch_size=130,
                              transforms=features)
           for name in (('validation',) if validation else ('test',))},
    evaluate_every=Duration(epochs=10),
    duration=Duration(epochs=epochs),
    seed=seed)
