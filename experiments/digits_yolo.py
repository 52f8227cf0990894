"""YOLO without anchors on digits at random places; no download.

  python run.py --experiment=digits_yolo

Handwritten digits of scikit-learn, enlarged, on canvases of noise: their boxes are
exact.

Needs: no download; requirements-detection.txt.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules
from bigmodels.tasks import detectors


def config(*, epochs: float = 40, canvases: int = 3000, batch_size: int = 32,
           width: int = 16, learning_rate: float = 3e-3, seed: int = 0) -> Experiment:
  digits = data.Detection(data.boxes.DigitCanvas(
    {'train': canvases, 'test': 500}), size=(96, 96), channels=1)
  return Experiment(
    model=partial(models.Yolo, body=models.ResNet(None, depth=18, width=width),
                  width=3 * width, strides=(4, 8, 16, 32)),
    task=partial(tasks.detection, detector=detectors.yolo),
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(10.0), partial(
        optax.adamw, weight_decay=1e-2, learning_rate=partial(
          schedules.warmup_cosine, peak=learning_rate, warmup=0.1))),
    train=data.Batches(
      source=digits.split('train'), batch_size=batch_size,
      transforms=(partial(transforms.shift, pixels=8), transforms.standardize)),
    evals={'test': data.Batches(source=digits.split('test'), batch_size=50,
                                transforms=(transforms.standardize,))},
    average=0.998,
    evaluate_every=Duration(epochs=10),
    duration=Duration(epochs=epochs),
    rules=sharding_rules.DETECTION,
    seed=seed)
