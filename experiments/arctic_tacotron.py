"""Tacotron 2 on half an hour of one voice, or on your own recordings.

  python run.py --experiment=arctic_tacotron --data_dir=DIR  # holds arctic_voice/
  python run.py --mode=sample --workdir=runs/... --prompt="Good morning." --output=a.wav

--config.path=TABLE takes another voice: a table, CSV or JSON lines, with the columns
file and text, the sounds beside it; they are resampled to 16,000 Hz. Without a column
'split', set --config.split=None, and some are held out at random.
`--config.recognizer=WORKDIR`, a run of speech recognition, evaluates what is spoken.

Needs: arctic_voice (--data_dir, files) and requirements-audio.txt.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import recordings, tokenizers, transforms
from bigmodels.layers.spectra import Mel
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules

MEL = Mel(rate=16_000, window=800, hop=200, fft=1024, bins=80, low=125, high=7600,
          power=1, floor=0.01)


def config(*, path: str = 'arctic_voice/index.csv', split: str | None = 'split',
           steps: int = 6000, batch_size: int = 16, width: int = 256,
           decoder: int = 512, frames_per_step: int = 3, learning_rate: float = 1e-3,
           guided: float = 1.0, recognizer: str | None = None, seed: int = 0
           ) -> Experiment:
  documents = recordings.SoundTable(path, rate=MEL.rate, split=split)
  source = data.Speech(documents, tokenizers.Characters(special=('pad',)), case='lower',
                       buckets=3)
  spectrogram = (partial(transforms.log_mel, mel=MEL),)
  return Experiment(
    model=partial(models.Tacotron, bins=MEL.bins, width=width, decoder=decoder,
                  postnet=width, frames_per_step=frames_per_step),
    task=partial(tasks.synthesis, mel=MEL, guided=guided, recognizer=recognizer),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adam, eps=1e-6, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.05, end=1e-5))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size,
                       transforms=spectrogram),
    evals={'test': data.Batches(source=source.split('test'), batch_size=10,
                                transforms=spectrogram)},
    evaluate_every=Duration(steps=steps),
    log_every=Duration(steps=25),
    duration=Duration(steps=steps),
    rules=sharding_rules.TACOTRON,
    seed=seed)
