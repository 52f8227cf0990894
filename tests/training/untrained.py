"""Runs that were never trained: every parameter and statistic is random."""

import dataclasses
import pathlib
from functools import partial

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from bigmodels import data, learners, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.config.resolving import Resolved
from bigmodels.config.source import Source
from bigmodels.data import tokenizers
from bigmodels.data.dataset_spec import Recorded
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import Labelled
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build
from bigmodels.training.compile import trace
from bigmodels.training.runs import Run

CODE = b'"""A tiny experiment."""\n'
CHANCE = np.random.default_rng(0)
IMAGES = CHANCE.normal(size=(24, 12, 12, 3)).astype(np.float32)
LABELS = np.arange(24, dtype=np.int32) % 3
USERS = CHANCE.normal(size=(24, 4)).astype(np.float32)
ITEMS = CHANCE.normal(size=(24, 2, 3)).astype(np.float32)
TEXTS = ['a b c', 'b', 'c c a b', 'a', 'b a', 'c']
SLOW = pytest.mark.slow('compile deep models')


def random(tree):
  """Every array random, so that activations stay about as large as they are."""
  rng = np.random.default_rng(1)

  def draw(path, x):
    name = jax.tree_util.keystr(path[-1:], simple=True)
    noise = rng.normal(size=x.shape)
    if not np.issubdtype(x.dtype, np.floating):
      return np.zeros(x.shape, x.dtype)
    if name in ('var', 'scale'):
      return np.exp(0.3 * noise).astype(x.dtype)
    inside = np.prod(x.shape[:-1]) if name == 'kernel' and x.ndim > 3 else (
      x.shape[-2] if name == 'kernel' else 4)
    return (noise * (2 / inside) ** 0.5).astype(x.dtype)

  return jax.device_put(jax.tree.map_with_path(draw, tree))


def run_of(model, source, task=tasks.classification, learner=learners.supervised,
           transforms=(), **fields) -> Run:
  """A run with random parameters.

  Args:
    model: its model.
    source: its training data.
    task: its task.
    learner: its learner.
    transforms: of its batches.
    **fields: of the record.
  """
  record = Experiment(
    model=model, task=task, optimizer=partial(optax.sgd, 0.1), learner=learner,
    duration=Duration(steps=1), evals={},
    train=data.Batches(source=source, batch_size=4, transforms=transforms), **fields)
  one = layout.make_layout(
    MeshShape(), 'jit', (), jax.devices()[:1])._replace(abstract=False)
  context = DataContext(None, pathlib.Path(), {}, lambda line: None, lambda path: None)
  build.build(record, one, context).close()
  built = build.build(dataclasses.replace(record, train=dataclasses.replace(
    record.train, source=Recorded(), batch_size=1, resident=False)), one, context)
  traced = trace(built.learner, built.train, {}, one)
  path = pathlib.Path('/nowhere/tiny.py')
  code = Source('tiny', path, path.parent, {path.name: CODE})
  return Run(Resolved('tiny', {}, record, code), pathlib.Path('RUN'), built, traced,
             random(traced.carry.state), 7)


def logits_of(run: Run, inputs, **keywords) -> np.ndarray:
  """The model's own answer, by Flax alone."""
  state = run.state
  return np.asarray(jax.jit(lambda inputs: run.model.apply(
    {'params': state.params, **state.model_state}, inputs, train=False, **keywords))(
      inputs))


# --- their data -----------------------------------------------------------------


def arrays(inputs=IMAGES, labels=LABELS):
  return data.Arrays(inputs=inputs, labels=labels)


class Reviews:
  """What `data.Sentences` needs of labelled texts."""

  name = 'reviews'

  def read(self, split, context):
    del split, context
    return Labelled(TEXTS, ['no', 'yes'] * 3, lambda row: f'row {row}', '')


def sentences(special=('pad', 'unknown', 'class')):
  return data.Sentences(Reviews(), tokenizers.Words(8, special=special), 6)


def texts_of(source):
  found = source.open(DataContext(None, None, {}, lambda line: None)).load()
  return found['inputs'], found['segments']


class Pairs(nn.Module):
  """A model of two inputs, which are not the same to it."""

  num_outputs: int

  @nn.compact
  def __call__(self, user, item, *, train):
    x = nn.Dense(5)(user) * nn.Dense(5)(item.reshape(len(item), -1))
    return nn.Dense(self.num_outputs, name='last')(nn.relu(x))


def of_pairs(task, labels, num_outputs):
  source = data.Arrays(columns={'user': USERS, 'item': ITEMS}, labels=labels)
  run = run_of(Pairs(num_outputs), source, partial(task, inputs=('user', 'item')))
  return run, np.asarray(run.model.apply(
    {'params': run.params}, USERS, ITEMS, train=False))
