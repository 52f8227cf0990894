"""DCGAN on the digits of scikit-learn; no download; about a minute on two cores.

`--config.classifier=WORKDIR`, a run of `digits_cnn`, evaluates its images.

Needs: no download; 25 s on two cores.
"""

from functools import partial

import optax

from bigmodels import data, learners, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms


def config(*, epochs: float = 200, batch_size: int = 64, learning_rate: float = 1e-3,
           classifier: str | None = None, seed: int = 0) -> Experiment:
  digits = data.Digits()
  centred = partial(transforms.standardize, mean=(8.0,), std=(8.0,))
  adam = partial(optax.adam, learning_rate=learning_rate, b1=0.5)
  return Experiment(
    model=models.Dcgan(size=(8, 8, 1), classes=10, latent=32, width=32),
    task=partial(tasks.generation, classifier=classifier, white=16),
    learner=partial(learners.adversarial, discriminator_optimizer=adam),
    average=0.99,
    optimizer=adam,
    train=data.Batches(source=digits.split('train'), batch_size=batch_size,
                       transforms=(centred,)),
    evals={'test': data.Batches(source=digits.split('test'), batch_size=360,
                                transforms=(centred,))},
    evaluate_every=Duration(epochs=50),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    seed=seed)
