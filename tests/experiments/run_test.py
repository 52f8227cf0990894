"""Every experiment runs: two steps of its own model, task and optimizer, small."""

import importlib.util
import json
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bigmodels.config import resolving
from bigmodels.core.tree_paths import name_of
from bigmodels.data import scikit
from bigmodels.data.sources import DataContext
from bigmodels.hardware import topologies
from bigmodels.modes import train
from bigmodels.parallel import layout
from bigmodels.storage.workdir import Workdir
from bigmodels.training import build, evaluation, opening
from bigmodels.training.compile import compile_traced, trace
from tests.experiments.small import AGENTS, small

# They take long to compile; others have such layers and learners too.
DEAR = ('an4_ctc', 'arctic_tacotron', 'bccd_centernet', 'bccd_ssd', 'bccd_unet',
        'bert_mlm', 'camrest_gpt', 'cifar_cnn', 'cifar_flow', 'cifar_mobilenet',
        'cifar_speedrun', 'cifar_transfer', 'cifar_vgg', 'cifar_zeroshot',
        'coco_centernet', 'digits_ddpm', 'digits_stylegan', 'digits_tacotron',
        'digits_unet', 'digits_wavenet', 'digits_yolo', 'edsr_x2', 'etth1_patchtst',
        'flickr8k_caption', 'flickr8k_siglip', 'gpt2_124m', 'gpt3_175b',
        'image_folder', 'imagenet_resnet50', 'imagenet_vit_s16', 'lfw_facenet',
        'mask_folder', 'mnist_dcgan', 'mnist_ddpm', 'mnist_stylegan',
        'movielens_neumf', 'pneumonia_resnet', 'pong_dqn', 'shakespeare_gpt',
        'spoken_digit_conformer', 'squad_bert', 'squad_mlm', 'srgan_x4', 'srresnet_x4',
        'sst2_bert', 'style_fast', 'style_gatys', 'translate_en_de')


@pytest.mark.parametrize('name', [
  pytest.param(name, marks=pytest.mark.slow('train') if name in DEAR else ())
  for name in resolving.summaries()])
def test_two_steps(name, tmp_path):
  experiment = small(name, tmp_path)
  one = layout.make_layout(experiment.mesh, 'jit', experiment.rules)
  context = DataContext(str(tmp_path), tmp_path, {}, say=lambda _: None)
  built = build.build(experiment, one, context)
  programs = compile_traced(trace(built.learner, built.train, built.evals, one))
  carry = programs.init(jax.random.PRNGKey(0))
  before = jax.tree.map(np.asarray, carry.state.params)
  for step in range(2):
    carry, _ = programs.advance(
      carry, built.train.host_batch(step, 1), 1, step == 0, (0, 0, -1))
  assert int(carry.fault[0]) == -1 and int(carry.state.step) == 2
  sums = evaluation.values_of(jax.device_get(carry.window))
  assert np.isfinite(sums['loss'])
  moved = {name_of(path): bool(jnp.any(a != b)) for (path, a), b in zip(
    jax.tree.leaves_with_path(before), jax.tree.leaves(carry.state.params),
    strict=True)}
  assert moved == {name: not re.fullmatch(experiment.freeze or '', name)
                   for name in moved}
  for split, loader in built.evals.items():
    found, outputs = evaluation.evaluate(built, programs, split, carry.state)
    assert np.isfinite(found[f'{split}/return' if name in AGENTS else f'{split}/loss'])
    assert all(len(v) == loader.order.length for v in outputs.values())
  # A run is opened without its data, for predictions.
  spec = opening.without_data(experiment, one, context.kept, {})
  built = build.build(spec, one, DataContext(None, None, dict(context.kept)))
  assert jax.tree.map(np.shape, trace(
    built.learner, built.train, {}, one).carry.state.params) == jax.tree.map(
      np.shape, before)


# The cheapest, on one topology; the others are slow.
ALWAYS = 'mnist_cnn'


def _tpu_compiles():
  for name in resolving.summaries():
    for topology in ('v5e:2x2', 'v5p:2x2x2'):
      always = name == ALWAYS and topology == 'v5e:2x2'
      yield pytest.param(
        name, topology, marks=() if always else pytest.mark.slow('compile for TPUs'))


@pytest.mark.parametrize(('name', 'topology'), _tpu_compiles())
def test_the_step_compiles_for_tpus_that_are_not_here(name, topology, tmp_path):
  if importlib.util.find_spec('libtpu') is None:
    pytest.skip('libtpu, which compiles for TPUs, is not installed: pip install '
                '"jax[tpu]"')
  experiment = small(name, tmp_path)
  slice_ = layout.make_layout(
    experiment.mesh, 'jit', (), topologies.devices_of(topology))
  built = build.build(experiment, slice_,
                      DataContext(str(tmp_path), tmp_path, {}, say=lambda _: None))
  traced = trace(built.learner, built.train, {}, slice_)
  text = traced.lower['advance']().compile().as_text()
  assert slice_.mesh.size == {'v5e:2x2': 4, 'v5p:2x2x2': 8}[topology]
  assert built.precision == (experiment.precision or 'bfloat16')
  assert 'all-reduce' in text


def _trained(name, request_for, workdir):
  """The parameters that an experiment ends with."""
  train.run(request_for(name, workdir))
  from bigmodels.storage.checkpoint import Checkpoints

  checkpoints = Checkpoints(
    workdir / 'checkpoints', 1, Workdir(workdir).seal(), read_only=True)
  carry, _ = checkpoints.restore(checkpoints.steps[-1])
  checkpoints.release()
  dense = carry['state']['params']['Dense_0']
  kept = json.loads((workdir / 'data.json').read_text())['kept']
  return np.asarray(dense['kernel']), np.asarray(dense['bias']), kept


def _columns(table, mean_std=None):
  columns = table.open(DataContext(None, None, {})).load()
  inputs = np.asarray(columns['inputs'], np.float64)
  mean, std = mean_std or (inputs.mean(0), inputs.std(0))
  return (inputs - mean) / std, np.asarray(columns['labels']), (mean, std)


def test_diabetes_linear_is_the_least_squares_solution(request_for, tmp_path):
  kernel, bias, kept = _trained('diabetes_linear', request_for, tmp_path / 'run')
  table = scikit.ScikitTable('diabetes')
  inputs, labels, fitted = _columns(table.split('train'))
  with_ones = np.concatenate([inputs, np.ones((len(inputs), 1))], 1)
  exact, *_ = np.linalg.lstsq(with_ones, labels.astype(np.float64), rcond=None)
  (mean,), (std,) = kept['targets']
  np.testing.assert_allclose(kernel[:, 0] * std, exact[:-1], atol=1e-3 * std)
  np.testing.assert_allclose(bias[0] * std + mean, exact[-1], rtol=1e-3)
  inputs, _, _ = _columns(table.split('test'), fitted)
  np.testing.assert_allclose(
    (inputs @ kernel[:, 0] + bias[0]) * std + mean, inputs @ exact[:-1] + exact[-1],
    rtol=1e-3)


@pytest.mark.parametrize('strength', [
  1.0, pytest.param(0.1, marks=pytest.mark.slow('train'))])
def test_cancer_logistic_is_scikit_learns(request_for, tmp_path, strength):
  kernel, bias, _ = _trained(
    'cancer_logistic', partial(request_for, C=strength), tmp_path / 'run')
  table = scikit.ScikitTable('breast_cancer')
  inputs, labels, fitted = _columns(table.split('train'))
  reference = LogisticRegression(C=strength, tol=1e-10, max_iter=10000)
  reference.fit(inputs, labels)
  np.testing.assert_allclose(kernel[:, 0], reference.coef_[0], atol=1e-3)
  np.testing.assert_allclose(bias, reference.intercept_, atol=1e-3)
  inputs, _, _ = _columns(table.split('test'), fitted)
  ours = 1 / (1 + np.exp(-(inputs @ kernel[:, 0] + bias[0])))
  np.testing.assert_allclose(ours, reference.predict_proba(inputs)[:, 1], atol=1e-3)
