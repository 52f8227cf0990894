"""Tacotron 2 that speaks strings of digits, in one voice.

  python run.py --experiment=digits_tacotron --data_dir=DIR
  python run.py --mode=sample --workdir=runs/... --prompt="one four" --output=a.wav

Digits of a speaker of the Free Spoken Digit Dataset (TFDS spoken_digit) are joined to
strings; the test strings are of other recordings. `--config.recognizer=WORKDIR`, a run
of `spoken_digit_conformer`, evaluates what is spoken by its error rates.

--config.path=TABLE takes your own recordings: a table, CSV or JSON lines, with the
columns file and text, the sounds beside it. They are resampled to 8,000 Hz.

Needs: TFDS spoken_digit (--data_dir) and requirements-audio.txt.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import recordings, tokenizers, transforms
from bigmodels.layers.spectra import Mel
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules

MEL = Mel(rate=8000, window=400, hop=100, fft=1024, bins=60, low=60, power=1,
          floor=0.01)


def config(*, speaker: str = 'jackson', path: str | None = None, steps: int = 1500,
           batch_size: int = 16, width: int = 128, decoder: int = 256,
           learning_rate: float = 2e-3, guided: float = 1.0,
           recognizer: str | None = None, seed: int = 0) -> Experiment:
  documents = recordings.DigitStrings(
    speakers={'train': (speaker,), 'test': (speaker,)},
    counts={'train': 1500, 'test': 50}, digits=(1, 4), pause=0.1,
    held_out={'train': (5, 50), 'test': (0, 5)}
  ) if path is None else recordings.SoundTable(path, rate=MEL.rate)
  source = data.Speech(documents, tokenizers.Characters(special=('pad',)), case='lower',
                       buckets=3)
  spectrogram = (partial(transforms.log_mel, mel=MEL),)
  return Experiment(
    model=partial(models.Tacotron, bins=MEL.bins, width=width, decoder=decoder,
                  prenet=128, postnet=width, filters=16, frames_per_step=3,
                  dropout=0.2),
    task=partial(tasks.synthesis, mel=MEL, guided=guided, seconds=6.0,
                 recognizer=recognizer),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adam, eps=1e-6, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.05, end=1e-5))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size,
                       transforms=spectrogram),
    evals={'test': data.Batches(source=source.split('test'), batch_size=25,
                                transforms=spectrogram)},
    evaluate_every=Duration(steps=steps),
    log_every=Duration(steps=25),
    duration=Duration(steps=steps),
    rules=sharding_rules.TACOTRON,
    seed=seed)
