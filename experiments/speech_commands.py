"""Ten spoken commands, or any folder or table of short sounds: a small network.

  python run.py --experiment=speech_commands --data_dir=DIR
  python run.py --experiment=speech_commands --config.path=sounds   # sounds/CLASS/1.wav

DIR holds speech_commands_ar/, whose table index.csv has the columns file, word and
split; its speakers are in one split each. --config.label names another column.

Needs: sounds (--data_dir, files) and requirements-audio.txt.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import transforms
from bigmodels.layers.spectra import Mel
from bigmodels.optim import schedules


def config(*, path: str = 'speech_commands_ar/index.csv', label: str = 'word',
           rate: int = 16_000, seconds: float = 1.0, epochs: float = 60,
           batch_size: int = 32, bins: int = 40, learning_rate: float = 3e-3,
           seed: int = 0) -> Experiment:
  sounds = data.AudioFolder(path, rate=rate, seconds=seconds, label_column=label)
  mel = Mel(rate=rate, window=rate // 40, hop=rate // 100, bins=bins, low=60)
  spectrogram = (partial(transforms.log_mel, mel=mel), transforms.normalize_frames)
  return Experiment(
    model=partial(models.Cnn, widths=(32, 64, 96, 128), pool=2, hidden=(128,),
                  batch_norm=True, dropout=0.5),
    task=tasks.classification,
    optimizer=partial(
      optax.adamw, weight_decay=1e-2, mask=optim.weights, learning_rate=partial(
        schedules.warmup_cosine, peak=learning_rate, warmup=0.1)),
    train=data.Batches(
      source=sounds.split('train'), batch_size=batch_size, transforms=(
        partial(transforms.speed, low=0.8, high=1.25, grow=False),
        partial(transforms.delay, steps=rate // 10),
        partial(transforms.background, decibels=(5, 40)), *spectrogram,
        partial(transforms.spec_augment, band=8, gap=15), transforms.with_channel)),
    evals={name: data.Batches(
      source=sounds.split(name), batch_size=90,
      transforms=(*spectrogram, transforms.with_channel))
      for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=5),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/accuracy', goal='max'),
    seed=seed)
