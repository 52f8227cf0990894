"""Tests of the classes of a run, and of another that measures it."""

import dataclasses
import pathlib
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest

from bigmodels import data, learners, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.core.errors import UserError
from bigmodels.data import transforms
from bigmodels.data.sources import DataContext, in_memory
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build
from tests.training.untrained import run_of

NAMES, NUMBERS = ('cat', 'dog', 'elk'), ('0', '1', '2')


@dataclasses.dataclass(frozen=True)
class Pictures:
  """A source of bytes whose classes have the names that a test gives them."""

  classes: tuple
  named: bool = True

  def open(self, context):
    del context
    return in_memory({
      'inputs': np.zeros((8, 8, 8, 1), np.uint8),
      'labels': np.arange(8, dtype=np.int32) % len(self.classes)},
      self.classes)._replace(named=self.named)


@pytest.mark.parametrize('ours, theirs, named, given, words', [
  (NAMES, NAMES, (True, True), 3, None),
  (NAMES, (*NAMES, 'owl'), (True, True), 3, None),  # it knows more
  (NUMBERS, NUMBERS, (False, False), 3, None),
  (NAMES, ('owl', 'cat', 'elk'), (True, True), 0, None),  # no class is asked for
  (NAMES, None, (True, True), 3, None),
  (NAMES, ('dog', 'cat', 'elk'), (True, True), 3, "refused: class 0 is 'dog' in mnist "
   "in J, and 'cat' in the data of this run: the same classes in another order"),
  (NAMES, ('cat', 'elk', 'dog'), (True, True), 3, "refused: class 1 is 'elk' in mnist "
   "in J, and 'dog' in the data of this run: the same classes in another order"),
  (NAMES, ('cat', 'dog', 'owl'), (True, True), 3, "refused: class 2 is 'owl' in mnist "
   "in J, and 'elk' in the data of this run"),
  (NAMES, ('owl', *NAMES), (True, True), 3, "refused: class 0 is 'owl' in mnist in J, "
   "and 'cat' in the data of this run"),
  (NAMES, ('Cat', 'dog', 'elk'), (True, True), 3, "refused: class 0 is 'Cat' in mnist "
   "in J, and 'cat' in the data of this run"),
  (NUMBERS, ('1', '2', '3'), (True, True), 3, "refused: class 0 is '1' in mnist in J, "
   "and '0' in the data of this run"),
  (NAMES, NUMBERS, (True, False), 3, "class 0 is '0' in mnist in J, and 'cat' in the "
   'data of this run; one of them has numbers for names, so they are compared by '
   'number'),
  (NUMBERS, NAMES, (False, True), 3, "class 0 is 'cat' in mnist in J, and '0' in the "
   'data of this run; one of them has numbers for names, so they are compared by '
   'number'),
  (NAMES, ('cat', 'dog'), (True, True), 3, 'refused: --config.task.classifier=J: has '
   '2 classes, the model makes images of 3')])
def test_a_classifier_of_other_classes_is_no_measure(ours, theirs, named, given, words):
  adam, lines = partial(optax.adam, 1e-3), []
  record = Experiment(
    model=models.Dcgan(size=(8, 8, 1), classes=given, latent=4, width=2),
    task=partial(tasks.generation, classifier='J'), optimizer=adam, evals={},
    learner=partial(learners.adversarial, discriminator_optimizer=adam),
    train=data.Batches(source=Pictures(ours, named[0]), batch_size=4, transforms=(
      partial(transforms.standardize, mean=(127.5,), std=(127.5,)),)),
    duration=Duration(steps=1))
  classifier = SimpleNamespace(
    name='mnist in J', classes=theirs, named=named[1],
    features=lambda images: (None, np.zeros((len(images), len(theirs or ours)))))
  one = layout.make_layout(MeshShape(), 'jit', (), jax.devices()[:1])
  context = DataContext(None, pathlib.Path(), {}, lines.append, lambda path: classifier)

  def checked():
    build.check_task(build.build(record, one, context), {}, lines.append)

  if words and words.startswith('refused: '):
    with pytest.raises(UserError) as error:
      checked()
    assert str(error.value) == words.removeprefix('refused: ')
    return
  checked()
  assert [line for line in lines if 'class ' in line] == ([words] if words else [])


@pytest.mark.parametrize('named', [True, False])
def test_whether_classes_have_names_is_kept_with_a_run(named):
  run = run_of(models.Linear(3), Pictures(NAMES, named))
  assert run.classes == NAMES and run.named == named
  assert run.built.data['kept']['train'].get('named', True) == named
