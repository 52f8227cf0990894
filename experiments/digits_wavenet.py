"""WaveNet on spoken digits, conditioned on the digit.

  python run.py --experiment=digits_wavenet --data_dir=DIR
  python run.py --mode=sample --workdir=runs/... --prompt=seven --output=seven.wav

--config.path=TABLE takes your own recordings: a table, CSV or JSON lines, with the
columns file and text, the sounds beside it. They are resampled to 8,000 Hz. The classes
are the different texts, as many as --config.classes; --config.labels=speaker takes the
speakers of a column 'speaker', --config.labels=None has no classes.

Needs: TFDS spoken_digit (--data_dir); with --config.path requirements-audio.txt.
"""

from functools import partial
from typing import Literal

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import recordings, transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | None = None,
           labels: Literal['text', 'speaker'] | None = 'text', classes: int = 10,
           steps: int = 2000, batch_size: int = 6, length: int = 2048, width: int = 32,
           skip: int = 64, depth: int = 8, stacks: int = 2,
           learning_rate: float = 2e-3, seed: int = 0) -> Experiment:
  documents = recordings.SpokenDigits() if path is None else recordings.SoundTable(
    path, rate=8000, speaker='speaker' if labels == 'speaker' else None)
  source = data.Waveforms(documents, labels=labels)
  model = partial(models.WaveNet, classes=classes if labels else 0, width=width,
                  skip=skip, depth=depth, stacks=stacks)
  return Experiment(
    model=model,
    task=tasks.waveform,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adam, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.05))),
    train=data.Batches(
      source=source.split('train'), batch_size=batch_size, transforms=(partial(
        transforms.excerpt, length=length, context=model().receptive_field),)),
    evals={'test': data.Batches(source=source.split('test'), batch_size=5)},
    evaluate_every=Duration(steps=steps),
    log_every=Duration(steps=50),
    duration=Duration(steps=steps),
    average=0.999,
    rules=sharding_rules.WAVENET,
    seed=seed)
