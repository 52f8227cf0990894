"""DCGAN on MNIST, class-conditional.

`--config.classifier=WORKDIR`, a run of `mnist_cnn`, evaluates the images: the fraction
that the classifier assigns to the intended class, and Frechet distance, precision and
recall in its feature space. For the classification accuracy score, train on them:
`--experiment=mnist_cnn --config.generated=WORKDIR` with the workdir of this run.

Needs: MNIST (TFDS); 15 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, learners, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms


def config(*, epochs: float = 20, batch_size: int = 64, learning_rate: float = 2e-4,
           width: int = 32, classifier: str | None = None, seed: int = 0) -> Experiment:
  mnist = data.Tfds('mnist')
  centred = partial(transforms.standardize, mean=(127.5,), std=(127.5,))
  adam = partial(optax.adam, learning_rate=learning_rate, b1=0.5)
  return Experiment(
    model=models.Dcgan(size=(28, 28, 1), classes=10, width=width),
    task=partial(tasks.generation, classifier=classifier),
    learner=partial(learners.adversarial, discriminator_optimizer=adam),
    average=0.999,
    optimizer=adam,
    train=data.Batches(source=mnist.split('train'), batch_size=batch_size,
                       transforms=(centred,)),
    evals={'test': data.Batches(source=mnist.split('test'), batch_size=500,
                                transforms=(centred,))},
    evaluate_every=Duration(epochs=5),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    seed=seed)
