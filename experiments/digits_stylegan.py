"""StyleGAN2 on the digits of scikit-learn, class-conditional; no download.

  python run.py --experiment=digits_cnn --workdir=runs/classifier
  python run.py --experiment=digits_stylegan --config.classifier=runs/classifier

A run of `digits_cnn` evaluates its images; compare with `digits_dcgan`.

Needs: no download.
"""

from functools import partial

import optax

from bigmodels import data, learners, losses, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms


def config(*, epochs: float = 200, batch_size: int = 64, learning_rate: float = 2e-3,
           penalty: float = 0.1, classifier: str | None = None, seed: int = 0
           ) -> Experiment:
  digits = data.Digits()
  centred = partial(transforms.standardize, mean=(8.0,), std=(8.0,))
  adam = partial(optax.adam, learning_rate=learning_rate, b1=0.0, b2=0.99)
  return Experiment(
    model=models.StyleGan(size=(8, 8, 1), classes=10, latent=32, width=32, halvings=1),
    task=partial(tasks.generation, penalty=partial(losses.r1, weight=penalty),
                 classifier=classifier, white=16),
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
