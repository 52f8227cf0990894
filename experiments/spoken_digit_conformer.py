"""Strings of spoken digits of unknown speakers: a small Conformer, by CTC.

  python run.py --experiment=spoken_digit_conformer --data_dir=DIR

Digits of the Free Spoken Digit Dataset (TFDS spoken_digit) are joined to strings of 3
to 7. The split 'validation' has other recordings of the speakers of 'train', 'test' has
a speaker that training does not know: --config.unknown=theo chooses another.

Needs: TFDS spoken_digit (--data_dir) and requirements-audio.txt.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import recordings, tokenizers, transforms
from bigmodels.layers.spectra import Mel
from bigmodels.optim import schedules

SPEAKERS = ('george', 'jackson', 'nicolas', 'theo', 'yweweler')


def config(*, unknown: str = 'jackson', strings: int = 3000, epochs: float = 12,
           batch_size: int = 16, width: int = 96, depth: int = 4,
           learning_rate: float = 1e-3, dropout: float = 0.2, seed: int = 0
           ) -> Experiment:
  known = tuple(name for name in SPEAKERS if name != unknown)
  source = data.Speech(
    recordings.DigitStrings(
      speakers={'train': known, 'validation': known, 'test': (unknown,)},
      counts={'train': strings, 'validation': 200, 'test': 300},
      held_out={'train': (5, 50), 'validation': (0, 5)}),
    tokenizers.Words(12, special=('pad', 'unknown')), stride=320,
    buckets=2)
  mel = Mel(rate=8000, window=200, hop=80, bins=40, low=60)
  spectrogram = (partial(transforms.log_mel, mel=mel), transforms.normalize_frames)
  return Experiment(
    model=partial(models.Conformer, width=width, depth=depth, kernel=15, channels=32,
                  dropout=dropout, unroll=True),
    task=tasks.ctc,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.01, mask=optim.weights,
        learning_rate=partial(schedules.warmup_cosine, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(
      source=source.split('train'), batch_size=batch_size, transforms=(
        partial(transforms.speed, low=0.8, high=1.3),
        transforms.tilt, partial(transforms.background, decibels=(5, 50)),
        spectrogram[0],
        partial(transforms.warp_bands, low=0.85, high=1.15),
        partial(transforms.speed, low=0.8, high=1.4), spectrogram[1],
        partial(transforms.spec_augment, band=8, gap=20))),
    evals={name: data.Batches(source=source.split(name), batch_size=50,
                              transforms=spectrogram)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=3),
    duration=Duration(epochs=epochs),
    average=0.998,
    monitor=Monitor(metric='validation/wer', goal='min'),
    seed=seed)
