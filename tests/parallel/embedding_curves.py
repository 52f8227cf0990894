"""As `curves.py`, for losses that compare the examples of a batch with each other."""

import json
from functools import partial

import curves  # first: it makes eight devices of the CPU
import jax
import numpy as np
import optax

from bigmodels import data, losses, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.data import transforms
from bigmodels.models import sharding_rules
from bigmodels.training.compile import compile_traced, trace

LAYOUTS = {
  'plain': ('', 'jit', 1),
  'jit data:8': ('data:8', 'jit', 1),
  'data:2,fsdp:2,tensor:2': ('data:2,fsdp:2,tensor:2', 'jit', 1),
  'pmap': ('data:8', 'pmap', 1),
}
LOSSES = {
  'semi_hard': losses.triplet,
  'batch_hard': partial(losses.triplet, mining='batch_hard', margin=None),
  'supervised_contrastive': losses.supervised_contrastive,
  'arc_face': losses.arc_face,
}


CONTRASTIVE = {
  'sigmoid_contrastive': losses.sigmoid_contrastive,
  'softmax_contrastive': losses.softmax_contrastive,
}


def captioned(name: str) -> Experiment:
  """Images with two captions each, of the class and the brightness."""
  made, rng = curves.images(8, 1, length=120), np.random.default_rng(0)
  captions = np.stack([made.labels, made.labels + 10], 1)[..., None] + np.array([0, 5])
  source = data.Arrays(made.inputs, columns={
    'captions': captions.astype(np.int32),
    'caption_segments': np.ones(captions.shape, np.int32),
    'caption_groups': rng.integers(0, 60, (120, 2)).astype(np.int32)})
  return Experiment(
    model=partial(
      models.Clip, models.Mlp(num_outputs=32, widths=(64,)), models.BagOfWords(
        40, width=16, dropout=0.0), width=16, scale=10.0,
      bias=-10.0 if name == 'sigmoid_contrastive' else None),
    task=partial(tasks.image_text, loss=CONTRASTIVE[name]),
    optimizer=partial(optax.adam, 3e-3),
    train=data.Batches(source=source.split('train'), batch_size=32, transforms=(
      transforms.one_caption, transforms.standardize)),
    evals={'test': data.Batches(source=source.split('test'), batch_size=24,
                                transforms=(transforms.standardize,))},
    duration=Duration(steps=curves.STEPS),
    rules=(*sharding_rules.CLIP, *sharding_rules.RECOMMENDER))


def experiment(name: str) -> Experiment:
  if name in CONTRASTIVE:
    return captioned(name)
  made = curves.images(8, 1, length=120)
  network = partial(models.Mlp, widths=(64,), batch_norm=True)
  return Experiment(
    model=partial(models.WithPrototypes, network, width=16) if name == 'arc_face'
    else partial(network, num_outputs=16),
    task=partial(tasks.embedding, loss=LOSSES[name]),
    optimizer=partial(optax.adam, 3e-3),
    train=data.Batches(source=data.PerClass(made.split('train'), each=4),
                       batch_size=32, transforms=(transforms.standardize,)),
    evals={'test': data.Batches(source=data.Pairs(made.split('test'), count=20),
                                batch_size=24, transforms=(transforms.standardize,))},
    duration=Duration(steps=curves.STEPS), rules=sharding_rules.EMBEDDING)


def rows(mesh: str, strategy: str) -> list:
  """The rows of the first batches."""
  built, _ = curves.built_on(experiment('semi_hard'), mesh, strategy)
  return [np.asarray(jax.device_get(built.train.host_batch(step, 1)['rows']))[
    0].ravel()[:32].tolist() for step in range(6)]


def means(mesh: str, strategy: str) -> list:
  """The mean embeddings of the identities after two steps."""
  built, here = curves.built_on(experiment('semi_hard'), mesh, strategy)
  programs = compile_traced(trace(built.learner, built.train, {}, here))
  carry = programs.init(here.replicate(np.asarray(jax.random.PRNGKey(0))))
  for step in range(2):
    carry, _ = programs.advance(
      carry, built.train.host_batch(step, 1), 1, True, (0, 0, -1))
  return np.asarray(carry.state.model_state['identities']).tolist()


if __name__ == '__main__':
  curves.STEPS = 10
  print(json.dumps({
    **{name: {key: curves.train(experiment(name), *each)
              for key, each in LAYOUTS.items()} for name in (*LOSSES, *CONTRASTIVE)},
    'means': {key: means(*LAYOUTS[key][:2]) for key in ('plain', 'pmap')},
    'rows': {key: rows(*each[:2]) for key, each in LAYOUTS.items()}}))
