"""The networks of `networks.py` on our side."""

import sys
from functools import partial

import jax
import numpy as np
import optax
from networks import (
  BEGIN,
  CLASSES,
  END,
  FIRST,
  LATENT,
  LENGTH,
  NETWORKS,
  SMOOTHING,
  VOCABULARY,
  Side,
  count_of,
  examples,
)
from train_steps import TrainSteps, build_quietly

from bigmodels import data, learners, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.data.vocabularies import Tokenizer
from bigmodels.hardware import devices
from bigmodels.parallel import precision, products
from bigmodels.tasks.decoding import Settings
from experiments import cifar_cnn, mnist_cnn, mnist_dcgan, shakespeare_gpt


def parameters(name: str) -> int:
  """The number of parameters of a network, which is not initialized for it."""
  built = build_quietly(experiment(name, 'float32'))
  loader = built.train
  batch = jax.eval_shape(loader.batch, loader.resident, loader.host_batch(0, 1), 0,
                         jax.random.split(jax.random.key(0), 1))
  params, _ = jax.eval_shape(built.task.init, jax.random.PRNGKey(0), batch)
  return _size(params)


def side(name: str, arithmetic: str) -> Side:
  """Our side of a network.

  Args:
    name: its name.
    arithmetic: the `precision` of the experiment.
  """
  devices.require_backend(None)
  built = build_quietly(experiment(name, arithmetic))
  steps = TrainSteps(built, repeat=name != 'cifar_input')

  def train(times):
    steps(times)
    if steps.carry.fault[0] >= 0:  # after a fault there are no steps
      sys.exit(f'{name}: the loss is not finite')

  model = precision.in_precision(built.model, built.precision)
  options = {'method': 'generate'} if name == 'dcgan' else {}

  def apply(params, model_state, inputs, others):
    return model.apply({'params': params, **model_state}, *inputs, **others,
                       train=False, **options)

  if built.precision == 'bfloat16_products':
    apply = products.rounded(apply, native=devices.has_matrix_units(), in_order=True)
  forward = jax.jit(
    apply, compiler_options=devices.compiler_options(built.layout.platform))

  def infer(inputs, others, times):
    state = steps.carry.state
    model_state = state.model_state.get('model', state.model_state)
    for _ in range(times):
      answer = forward(state.params, model_state, inputs, others)
    jax.block_until_ready(answer)

  def decode(sources, times):
    settings = Settings(tokens=LENGTH[name], beams=1)
    for _ in range(times):
      found = built.task.generate(
        steps.carry.state.params, {}, sources, jax.random.PRNGKey(0), settings)
    if max(count for _, count in found) < LENGTH[name]:
      sys.exit(f'{name}: all translations have ended early')

  work = {'train': train}
  for timed in NETWORKS[name].timed[1:]:
    columns = examples(name, count_of(timed))
    if timed.startswith('decode'):
      work[timed] = partial(decode, [row[row > END] for row in columns['inputs']])
      continue
    inputs = [columns['inputs']]
    if name == 'dcgan':
      inputs = [np.random.default_rng(0).normal(
        size=(count_of(timed), LATENT)).astype(np.float32), columns['labels']]
    others = {key: columns[key] for key in ('segments',) if key in columns}
    work[timed] = partial(infer, *jax.device_put((inputs, others)))
  return Side(_size(steps.carry.state.params), work)


def experiment(name: str, arithmetic: str | None) -> Experiment:
  """The experiment of a network, on random examples.

  Args:
    name: of the network.
    arithmetic: its precision; None for that of the platform.
  """
  network = NETWORKS[name]
  adam = partial(optax.adam, network.learning_rate)
  settings = {'task': tasks.classification, 'optimizer': adam}
  augmented = ()
  if name in ('gpt', 'translation'):
    task = tasks.next_token if name == 'gpt' else partial(
      tasks.translation, smoothing=SMOOTHING)
    settings['task'] = partial(task, tokenizer=_tokenizer(VOCABULARY[name]))
  if name == 'dcgan':
    adam = partial(adam, b1=0.5)
    settings = {'task': tasks.generation, 'optimizer': adam, 'learner': partial(
      learners.adversarial, discriminator_optimizer=adam)}
  if name == 'cifar_input':
    augmented = (transforms.flip, partial(transforms.shift, pixels=4),
                 transforms.standardize)
  return Experiment(
    model=_model(name), **settings,
    train=data.Batches(source=data.Arrays(columns=examples(name, network.examples)),
                       batch_size=network.batch, transforms=augmented),
    evals={}, duration=Duration(steps=10**6), precision=arithmetic)


def _model(name):
  vocabulary, length = VOCABULARY.get(name), LENGTH.get(name)
  return {
    'mlp': lambda: models.Mlp(CLASSES, (512, 512)),
    'mnist_cnn': lambda: mnist_cnn.config().model,
    'cifar_cnn': lambda: cifar_cnn.config().model,
    'resnet18': lambda: models.ResNet(CLASSES, depth=18),
    'vit_ti': lambda: models.VitTi(CLASSES, unroll=True),
    'gpt': lambda: partial(shakespeare_gpt.config().model, vocabulary=vocabulary),
    # torch.nn.LSTM has neither dropout of states nor of whole tokens.
    'lstm': lambda: models.RecurrentClassifier(
      vocabulary, 2, pooling='max', dropout=0.4),
    'bert': lambda: models.BertClassifier(models.Bert(
      vocabulary, length=length, depth=2, width=128, heads=4, unroll=True), 2),
    'translation': lambda: models.Transformer(
      vocabulary, depth=2, width=256, heads=4, hidden=512, norm_first=True,
      dropout=0.2, unroll=True),
    'dcgan': lambda: mnist_dcgan.config().model,
    'cifar_input': lambda: models.Cnn(CLASSES, widths=(16, 32), hidden=(64,)),
  }[name]()


def _tokenizer(size: int) -> Tokenizer:
  """A tokenizer of texts that are tokens already."""
  return Tokenizer(
    # No token ends a text, so that all translations have the same length.
    size=size, special={'begin': BEGIN, 'end': -1},
    byte_counts=np.ones(size, np.float32), encode_all=list, decode=list,
    token=lambda token: str(max(token, FIRST)))


def _size(params) -> int:
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
