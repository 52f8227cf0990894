"""A small StyleGAN2 on MNIST, class-conditional; see `mnist_dcgan` for its evaluation.

The gradient penalty of the discriminator is R1 (Mescheder et al., *Which training
methods for GANs do actually converge?*, 2018).

Needs: MNIST (TFDS); a GPU.
"""

from functools import partial

import optax

from bigmodels import data, learners, losses, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms


def config(*, epochs: float = 10, batch_size: int = 64, learning_rate: float = 2e-3,
           penalty: float = 1.0, classifier: str | None = None, seed: int = 0
           ) -> Experiment:
  mnist = data.Tfds('mnist')
  centred = partial(transforms.standardize, mean=(127.5,), std=(127.5,))
  adam = partial(optax.adam, learning_rate=learning_rate, b1=0.0, b2=0.99)
  return Experiment(
    model=models.StyleGan(size=(28, 28, 1), classes=10),
    task=partial(tasks.generation, penalty=partial(losses.r1, weight=penalty),
                 classifier=classifier),
    learner=partial(learners.adversarial, discriminator_optimizer=adam),
    average=0.999,
    optimizer=adam,
    train=data.Batches(source=mnist.split('train'), batch_size=batch_size,
                       transforms=(centred,)),
    evals={'test': data.Batches(source=mnist.split('test'), batch_size=500,
                                transforms=(centred,))},
    evaluate_every=Duration(epochs=1),
    log_every=Duration(steps=100),
    duration=Duration(epochs=epochs),
    seed=seed)
