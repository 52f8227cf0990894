"""Tests of bigmodels.training.runs and data.Generated on runs as a user makes them."""

import dataclasses
import json
import pathlib
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bigmodels
from bigmodels import data, metrics
from bigmodels.cli.request import Request
from bigmodels.config import Duration
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.hardware import devices
from bigmodels.modes import train
from bigmodels.parallel import layout
from bigmodels.storage.workdir import Workdir
from bigmodels.tasks.decoding import TooLong
from bigmodels.training import generation, inference, opening
from bigmodels.training.compile import trace

SMALL = {'epochs': '4', 'learning_rate': '0.01', 'model.width': '2',
         'model.latent': '4', 'model.embedding': '2'}
CLASSIFIER = {'model.widths': '(8,)', 'model.pool': '(2,)', 'model.hidden': '(12,)'}


@pytest.fixture(scope='module')
def finished(cache_dir, tmp_path_factory):
  """A run of a classifier, one that it measures, and one without a classifier."""
  folder = tmp_path_factory.mktemp('runs')
  devices.configure_jax(cache_dir / 'xla')

  def run(name, workdir, **overrides):
    train.run(Request(experiment=name, overrides=overrides, workdir=str(workdir),
                      data_dir=None, cache_dir=cache_dir, require_backend=None))
    return workdir

  with pytest.MonkeyPatch.context() as patch:  # no test looks at its plots
    patch.setattr('bigmodels.training.results.plots_of', lambda *_, **__: {})
    classifier = run('digits_cnn', folder / 'classifier', **{
      'epochs': '5', 'model.dropout': '0.0', **CLASSIFIER})
  generator = run('digits_dcgan', folder / 'generator', classifier=str(classifier),
                  **SMALL)
  return SimpleNamespace(
    classifier=classifier, generator=generator, folder=folder, run=run,
    read=lambda path: opening.load(
      path, cache_dir=cache_dir, say=lambda line: None))


@pytest.fixture(scope='module')
def classifier(finished):
  return finished.read(finished.classifier)


@pytest.fixture(scope='module')
def generator(finished):
  return finished.read(finished.generator)


@pytest.fixture(scope='module')
def digits():
  return data.Digits('test').open(DataContext(None, None, {})).load()


def result(workdir):
  return json.loads((workdir / 'result.json').read_text())


def test_answers_are_those_of_the_runs_own_evaluation(finished, classifier, digits):
  _, logits = classifier.features(digits['inputs'])
  found = result(finished.classifier)['metrics']
  labels = digits['labels']
  assert np.mean(logits.argmax(-1) == labels) == pytest.approx(
    found['test/accuracy'], abs=1e-6)
  scores = np.float64(logits)
  logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
  assert -logs[np.arange(len(labels)), labels].mean() == pytest.approx(
    found['test/loss'], rel=1e-4)
  assert 0.2 < found['test/accuracy'] < 1  # so that it matters which are right


def test_predictions_are_those_of_the_runs_own_evaluation(classifier, digits):
  found = classifier.predict(digits['inputs'])
  assert {name: x.shape[1:] for name, x in found.items()} == {
    'predictions': (), 'probabilities': (10,)}
  labels = digits['labels']
  assert np.mean(found['predictions'] == labels) == pytest.approx(
    classifier.evaluate('test')['test/accuracy'], abs=1e-6)
  np.testing.assert_allclose(found['probabilities'].sum(1), 1, rtol=1e-5)
  one = classifier.predict(digits['inputs'][7:8])
  np.testing.assert_allclose(
    one['probabilities'][0], found['probabilities'][7], rtol=1e-4, atol=1e-6)


def test_an_evaluation_gives_the_numbers_of_the_result(finished, classifier):
  expected = {name: value for name, value in result(finished.classifier)[
    'metrics'].items() if name.startswith('test/')}
  assert classifier.evaluate() == expected
  with pytest.raises(UserError, match="evaluates no split 'tets'; did you mean 'test'"):
    classifier.evaluate('tets')


def test_the_parts_of_a_run_are_at_hand(finished, classifier, digits):
  run = classifier
  images = jnp.asarray(digits['inputs'][:3], jnp.float32)
  mean, std = run.normalization
  logits = run.model.apply({'params': run.params, **run.model_state},
                           (images - mean) / std, train=False)
  np.testing.assert_allclose(
    jax.nn.softmax(logits), run.predict(digits['inputs'][:3])['probabilities'],
    rtol=1e-4, atol=1e-6)
  assert run.experiment.duration.epochs == 5 and run.tokenizer is None
  assert run.name == f'digits_cnn in {finished.classifier}' and run.step > 0


def test_a_run_that_writes_no_text_is_named(classifier):
  with pytest.raises(UserError, match='task classification, which writes no text'):
    classifier.generate(['a'])


def test_a_run_that_makes_no_images_of_images_is_named(classifier):
  with pytest.raises(UserError, match='classification, which makes no images of image'):
    classifier.image_to_image(np.zeros((8, 8, 1), np.uint8))


def test_more_tokens_than_a_model_can_look_at_are_refused(classifier):
  def generate(*arguments):
    raise TooLong(prompt=3, count=99, length=16)

  task = classifier.built.task._replace(generate=generate)
  run = dataclasses.replace(classifier, built=classifier.built._replace(task=task))
  with pytest.raises(UserError, match=r'tokens=99: .* leaves room for 14'):
    run.generate(['the'], tokens=99)


def test_a_split_that_is_no_name_is_refused(classifier):
  for split in (None, ['test'], 3):
    with pytest.raises(UserError, match='evaluates no split'):
      classifier.evaluate(split)


@pytest.fixture
def no_plots(monkeypatch):
  """Drawing takes longer than training what is small."""
  monkeypatch.setattr('bigmodels.training.results.plots_of', lambda *_, **__: {})


def test_a_run_of_text_continues_prompts(finished, no_plots):
  path = finished.folder / 'text.txt'
  path.write_text('the cat sat on the mat and the dog sat on the cat\n' * 40)
  fork = pathlib.Path(__file__).resolve().parents[1] / 'forks' / 'text.py'
  run = finished.read(finished.run(str(fork), finished.folder / 'text', path=str(path)))
  texts = run.generate(['the cat', 'the dog sat'], tokens=5, temperature=0)
  assert len(texts) == 2 and all(isinstance(text, str) for text in texts)
  assert texts == run.generate(['the cat', 'the dog sat'], tokens=5, temperature=0)
  assert run.tokenizer.size > 5
  # With several samples those of a prompt follow each other; the first are the same.
  one = run.generate(['the cat', 'the dog sat'], tokens=5, seed=3)
  several = run.generate(['the cat', 'the dog sat'], tokens=5, seed=3, samples=3)
  assert several[::3] == one and len({*several[:3]}) > 1
  with pytest.raises(UserError, match='generate: tokens: must be >= 1, got 0'):
    run.generate(['the'], tokens=0)
  with pytest.raises(UserError, match="no setting 'temprature'; did you mean 'tempera"):
    run.generate(['the'], temprature=1)
  for prompts in ('the cat', [], None, ['the', 3]):  # a str is not a list of texts
    with pytest.raises(UserError, match='prompts: must be a list of texts, got'):
      run.generate(prompts, tokens=5)
  for seed in (-1, 2**32, 0.5, 'a'):
    with pytest.raises(UserError, match=r'seed: must be in \[0, 4294967295\], got'):
      run.generate(['the'], tokens=5, seed=seed)
  with pytest.raises(UserError, match='task next_token, which has no predictions'):
    run.predict(np.zeros((1, 16), np.uint16))


def test_the_package_opens_a_run(finished, cache_dir):
  said = []
  run = bigmodels.load(str(finished.classifier), cache_dir=cache_dir, say=said.append)
  assert run.classes == tuple('0123456789')
  assert said == [f'step {run.step:,} of {finished.classifier}, the best checkpoint']


def test_features_are_what_the_last_dense_layer_reads(classifier, digits):
  features, logits = classifier.features(digits['inputs'])
  params = classifier.state.params
  (kernel,), (bias,) = (
    [np.asarray(x) for x in jax.tree.leaves(params) if x.shape == shape]
    for shape in ((12, 10), (10,)))
  assert features.shape == (len(logits), 12)
  assert features.min() == 0 and features.std() > 0.1
  np.testing.assert_allclose(logits, features @ kernel + bias, rtol=1e-4, atol=1e-4)


def test_answers_do_not_depend_on_how_images_are_cut(classifier, digits, monkeypatch):
  images = digits['inputs'][:50]
  whole = classifier.features(images)
  monkeypatch.setattr(inference, 'batch_size', lambda *_: 16)
  for one, two in zip(whole, classifier.features(images), strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_what_is_generated_is_of_number_and_label_alone(generator, monkeypatch):
  labels = np.arange(40) % 10
  whole = generator.generate_images(labels)
  assert whole.shape == (40, 8, 8, 1) and whole.dtype == np.uint8
  assert len(np.unique(whole.reshape(40, -1), axis=0)) > 35 and whole.max() <= 16
  parts = [generator.generate_images(labels[:25]),
           generator.generate_images(labels[25:], 25)]
  monkeypatch.setattr(generation, '_IMAGES', 15)
  for again in (np.concatenate(parts), generator.generate_images(labels)):
    # Programs of other sizes may round another way.
    away = np.abs(again.astype(int) - whole)
    assert away.max() <= 1 and (away > 0).mean() < 1e-2
  other = generator.generate_images(labels[::-1])
  assert (other != whole).any()
  same = labels == labels[::-1]
  np.testing.assert_array_equal(other[same], whole[same])


def test_no_images_are_made_for_no_labels(generator):
  with pytest.raises(UserError, match=r'^labels: must have >= 1 row, got 0$'):
    generator.generate_images(np.arange(0))


@pytest.mark.parametrize('labels, words', [
  ([3, 10], 'must be 0 to 9 for 10 classes, got 10'),
  ([-1], 'must be 0 to 9 for 10 classes, got -1'),
  (['a'], r'must be \[n\] integers, got \[1\] <U1'),
  ([0.5], r'must be \[n\] integers, got \[1\] float64'),
  (3, r'must be \[n\] integers, got \[\] int64')])
def test_no_images_are_made_for_what_is_no_class(generator, labels, words):
  with pytest.raises(UserError, match=f'^labels: {words}$'):
    generator.generate_images(labels)


def test_what_is_generated_is_what_the_run_evaluated(
  finished, generator, classifier, digits):
  made = generator.generate_images(digits['labels'])
  first = data.Digits('train').open(DataContext(None, None,
                                                {})).read(np.arange(len(made)))
  answers = {name: classifier.features(images) for name, images in {
    'generated': made, 'real': digits['inputs'], 'train': first['inputs']}.items()}
  found = result(finished.generator)['metrics']
  assert np.mean(answers['generated'][1].argmax(-1) == digits['labels']) == (
    pytest.approx(found['test/accuracy'], abs=0.006))  # two images, for rounding
  expected = metrics.generation({name: x for name, (x, _) in answers.items()})
  for name, value in expected.items():
    assert found[f'test/{name}'] == pytest.approx(value, rel=1e-3, abs=0.006), name
  assert expected['frechet'] > 2 * expected['frechet_real'] > 0.02


def test_a_run_with_a_classifier_is_measured(finished, classifier, digits):
  found = result(finished.generator)['metrics']
  names = {name.partition('/')[2] for name in found if name.startswith('test/')}
  assert {'accuracy', 'accuracy_real', 'frechet', 'frechet_real', 'precision', 'recall',
          'loss', 'discriminator_loss', 'discriminator_real_accuracy',
          'discriminator_generated_accuracy'} <= names
  assert found['test/accuracy_real'] == pytest.approx(
    result(finished.classifier)['metrics']['test/accuracy'], abs=1e-6)
  report = (finished.generator / 'report.html').read_text()
  for title in ('Samples', 'Real', 'Along the run', 'Between two latents'):
    assert f'<figcaption>{title}</figcaption>' in report
  assert 'measured by digits_cnn in /' in report


def test_the_classes_and_the_name_are_those_of_the_run(finished, classifier, generator):
  assert classifier.classes == generator.classes == tuple('0123456789')
  assert generator.name == f'digits_dcgan in {finished.generator}'


def test_folders_without_a_run_are_refused(finished, tmp_path):
  for path in (tmp_path, tmp_path / 'gone'):
    with pytest.raises(UserError, match=f'{path}: there is no run with a checkpoint'):
      finished.read(path)
  (tmp_path / 'config.txt').write_text('')
  with pytest.raises(UserError, match='there is no run with a checkpoint'):
    finished.read(tmp_path)


@pytest.mark.parametrize(('given', 'problem'), [
  ((None,), 'load: path must be a str or a Path, got None'),
  ((3,), 'load: path must be a str or a Path, got 3')])
def test_what_is_not_a_path_is_refused(given, problem):
  with pytest.raises(UserError, match=problem):
    opening.load(*given)
  with pytest.raises(UserError, match='load: cache_dir must be a str or a Path'):
    opening.load('runs/a', cache_dir=None)


def test_a_run_that_is_no_classifier_is_refused(generator, digits):
  with pytest.raises(UserError, match='is a run of the task generation, which gives '
                     r'no probabilities$'):
    generator.features(digits['inputs'])


def test_a_generator_predicts_nothing_of_an_image(generator, digits):
  with pytest.raises(UserError, match='which predicts nothing of an input'):
    generator.predict(digits['inputs'])


def test_a_run_that_generates_no_images_is_refused(classifier):
  with pytest.raises(UserError, match=r'digits_cnn in .* is a run of the task '
                     'classification, which generates no images$'):
    classifier.generate_images(np.arange(3))


@pytest.mark.parametrize('images', [
  np.zeros((3, 8, 4, 1), np.uint8), np.zeros((3, 8, 8, 3), np.uint8),
  np.zeros((3, 8, 8, 1), np.float32), np.zeros((3, 64), np.uint8)])
def test_images_that_the_classifier_does_not_know(classifier, images):
  with pytest.raises(UserError, match=re.escape(
    f'inputs: must be [n, 8, 8, 1] uint8, got {[*images.shape]} {images.dtype}')):
    classifier.features(images)


# --- as a source ----------------------------------------------------------------


def opened(source, finished):
  said = []
  found = source.open(DataContext(None, None, {}, said.append, finished.read))
  return found, said


def test_generated_images_are_a_balanced_split_with_names(finished, generator):
  dataset, said = opened(data.Generated(str(finished.generator), each=3), finished)
  columns = dataset.load()
  assert dataset.length == 30 and dataset.classes == tuple('0123456789')
  assert columns['inputs'].shape == (30, 8, 8, 1)
  assert columns['inputs'].dtype == np.uint8
  np.testing.assert_array_equal(np.bincount(columns['labels']), np.full(10, 3))
  assert columns['labels'].dtype == np.int32
  np.testing.assert_array_equal(
    columns['inputs'], generator.generate_images(columns['labels']))
  assert said == [f'generating 30 images by digits_dcgan in {finished.generator}']
  again, _ = opened(data.Generated(str(finished.generator), each=3), finished)
  assert again.identity == dataset.identity


def test_a_run_that_is_opened_is_as_long_as_it_was(finished, cache_dir):
  """What a learner keeps may depend on the length of the run."""
  workdir = Workdir(finished.generator)
  experiment = dataclasses.replace(
    workdir.recorded({}).experiment, duration=Duration(epochs=1))
  one = layout.make_layout(experiment.mesh, 'jit', ())
  found = []
  access = opening.Access(None, cache_dir, say=lambda line: None)
  for with_data in (True, False):
    built = opening.build_run(experiment, one, workdir, access, with_data=with_data)
    found.append((built.steps, trace(built.learner, built.train, {}, one).carry.state))
    built.close()
  (one, state), (two, again) = found
  assert jax.tree.map(lambda x: x.shape, state) == jax.tree.map(
    lambda x: x.shape, again)
  assert one == two


def test_a_run_on_generated_images(finished, no_plots):
  fork = finished.folder / 'from_generated.py'
  fork.write_text(f'''
import dataclasses
from bigmodels import data
from experiments import digits_cnn
def config():
  before = digits_cnn.config(epochs=2, batch_size=8)
  source = data.Generated({str(finished.generator)!r}, each=4)
  return dataclasses.replace(before, train=dataclasses.replace(
    before.train, source=source))
''')
  workdir = finished.run(str(fork), finished.folder / 'student', **CLASSIFIER)
  found = result(workdir)
  assert found['step'] == 10 and 0 <= found['metrics']['test/accuracy'] <= 1


@pytest.mark.parametrize('each', [0, -3, 1.5])
def test_no_number_of_images(each):
  with pytest.raises(ValueError, match='each: must be an integer >= 1, got '
                     f'{each}'):
    data.Generated('somewhere', each=each)
