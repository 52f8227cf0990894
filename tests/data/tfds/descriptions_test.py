"""Tests of what is known of TFDS data without reading an example."""

import dataclasses
import functools
import pathlib
import socket

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import images, texts, tokenizers
from bigmodels.data.dataset_spec import record as recorded
from bigmodels.data.packed import Packed
from bigmodels.data.sources import DataContext
from bigmodels.data.subset import Subset
from bigmodels.data.tfds import builders, descriptions, tfds_examples
from bigmodels.data.tfds.tfds import Tfds
from tests.data.tfds.prepared import flat, record, write

MIDDLE = functools.partial(images.centre_crop, size=6, shorter=7)


@pytest.fixture
def said():
  return []


@pytest.fixture
def context(tmp_path, said, monkeypatch):
  """With an empty `data_dir`, and without a network."""
  def refuse(*args, **keywords):
    raise AssertionError('the network is asked')

  monkeypatch.setattr(socket, 'getaddrinfo', refuse)
  monkeypatch.setattr(socket.socket, 'connect', refuse)
  builders.from_files.cache_clear()
  tfds_examples.data_source.cache_clear()
  return DataContext(str(tmp_path / 'tfds'), tmp_path / 'cache', {}, said.append,
                 shapes_only=True)


def pets(context, **keywords):
  records = [record(flat(row), row % 3, f'p{row}.jpg') for row in range(8)]
  write(pathlib.Path(context.data_dir), {'train': records}, **keywords)


def test_what_is_prepared_is_as_when_it_is_read(context, said, monkeypatch):
  pets(context)
  source = Tfds('pets', 'train[2:]')
  read = source.open(dataclasses.replace(context, shapes_only=False))
  before, rows = recorded(read), read.read(np.arange(3))
  monkeypatch.setattr(tfds_examples, 'read', None)
  monkeypatch.setattr(tfds_examples, 'data_source', None)
  found = source.open(context)
  assert recorded(found) == before
  assert (found.nbytes, found.shapes_only) == (read.nbytes, True) and not said
  for name, column in found.read(np.arange(3)).items():
    assert column.shape == rows[name].shape and column.dtype == rows[name].dtype
    assert not column.any()
  assert found.load()['inputs'].shape == (6, 8, 8, 3)
  assert found.load()['inputs'].base.nbytes == 1  # that stands for all
  assert not context.cache_dir.exists()


def test_what_is_not_prepared_is_described_by_the_package(context, said):
  found = Tfds('cifar10', 'train[:90%]').open(context)
  assert recorded(found) == {
    'length': 45_000, 'classes': [str(n) for n in range(10)],
    'named': False, 'features': None, 'target': None,
    'columns': {'inputs': ['uint8', [32, 32, 3]], 'labels': ['int32', []]},
    'evaluated': None}
  assert found.nbytes == 45_000 * (32 * 32 * 3 + 4)
  assert said == [
    f'assumed: cifar10/3.0.2 train[:90%] is not prepared in {context.data_dir}; shapes '
    'are from its description in tensorflow-datasets: 45,000 examples as published, '
    'image uint8 (32, 32, 3), 10 classes (their names are not described)']
  assert not pathlib.Path(context.data_dir).exists()


def test_a_number_of_examples_that_nobody_describes_is_assumed(context, said):
  assert Tfds('svhn_cropped').open(context).length == 50_000
  assert ('50,000 examples (neither their number nor the splits are described), image'
          in said[0])


@pytest.mark.parametrize('name', ['cifar10', 'mnist'])
def test_published_lengths_are_those_of_the_data(context, shared_tfds, name):
  context.data_dir = str(shared_tfds)
  splits = builders.prepared(name, context).info.splits
  assert descriptions._LENGTHS[name] == {
    key: split.num_examples for key, split in splits.items()}


@pytest.mark.parametrize('source, words', [
  (Tfds('cifra10'), "there is no dataset 'cifra10', .*; did you mean 'cifar10'"),
  (Tfds('pest'), "there is no dataset 'pest', .*; did you mean 'pets'"),
  (Tfds('mnist:9.9.9'), 'mnist:9.9.9: .* only: 3.0.1; none is needed where it is prep'),
  (Tfds('huggingface:mnist'), "is not prepared in .*, and must be: .* code of "
   "'huggingface' is not downloaded and run"),
  (Tfds('kaggle:titanic'), "code of 'kaggle' is not downloaded and run"),
  (Tfds('a-community:x/y:1.0.0'), "code of 'a-community' is not downloaded and run"),
  (Tfds('mnist/a=1,b=2'), "must be NAME, NAME/CONFIG or .*, got 'mnist/a=1,b=2'"),
  (Tfds('mnist', 'tset'), "mnist has no split 'tset'; did you mean 'test'"),
  (Tfds('glue/sst2'), 'is not prepared in .*, and must be: its .* TensorFlow'),
  (Tfds('../x'), r"must be NAME, NAME/CONFIG or NAME:1\.2\.3, got '\.\./x'"),
  (Tfds('bccd', labels='objects'), "'objects' must be numbers or classes, got"),
  (Tfds('mnist', fit=lambda *_: np.array('a')), 'must be numbers, got <U1'),
  (Tfds('mnist', inputs='imag'), "no feature 'imag'; did you mean 'image'"),
  (Tfds('imagenet2012'),
   r"imagenet2012: the shape of 'image' is not described, only \(None, None, 3\): give "
   r'Tfds a fit .* fit=partial\(images\.random_resized_crop, size=224\)'),
  (Tfds('imagenet2012', fit=lambda image, rng: image),
   r"what `fit` makes of 'image' differs in shape: \(384, 512, 3\) of"),
  (Tfds('mnist', fit=functools.partial(images.centre_crop, size=6, shorter=5)),
   r"mnist: `fit` fails for 'image' of uint8 \(28, 28, 1\): ValueError"),
])
def test_what_is_not_known_is_named_in_a_line(context, source, words):
  pets(context)
  with pytest.raises(UserError, match=words) as error:
    source.open(context)
  assert '\n' not in str(error.value)


def test_a_description_that_needs_tensorflow(context, monkeypatch, capfd):
  def needs(name, **keywords):
    print('Please install')
    raise ModuleNotFoundError("No module named 'tensorflow'")

  monkeypatch.setattr(builders.import_tfds(), 'builder', needs)
  with pytest.raises(UserError, match=r"spoken_digit: its descr.* 'tensorflow'; none"):
    Tfds('spoken_digit').open(context)
  assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('there', [True, False])
def test_images_of_any_size_have_the_shape_that_fit_makes(context, said, there):
  if there:
    pets(context, name='imagenet2012', shape=('-1', '-1', '3'))
  found = Tfds('imagenet2012', fit=MIDDLE).open(context)
  assert found.read(np.zeros(1, int))['inputs'].shape == (1, 6, 6, 3)
  assert found.length == (8 if there else 1_281_167) and found.nbytes is None
  assert len(found.classes) == (3 if there else 1000)
  assert 'image uint8 (6, 6, 3) that `fit` makes of (384, 512, 3)' in said[0]
  assert ('is not prepared' in said[0]) != there


@pytest.mark.parametrize('classes, each, length', [
  (('automobile', 'dog'), 25, 50), (('dog',), None, 5000), (None, 6000, 50_000)])
def test_a_subset_of_classes_of_one_size(context, said, classes, each, length):
  cifar = Tfds('cifar10')
  found = Subset(cifar, classes, each).open(context)
  assert found.length == len(found.load()['labels']) == length
  assert found.classes == (classes or cifar.open(context).classes)
  assert found.nbytes == length * (32 * 32 * 3 + 4)
  assert said[1].startswith('assumed: a subset of cifar10/3.0.2 train has ')


def test_a_subset_of_classes_that_are_not_there(context):
  pets(context)
  with pytest.raises(UserError, match=r"no class 'dogg'; did you mean 'dog'"):
    Subset(Tfds('pets'), ('dogg',)).open(context)
  with pytest.raises(UserError, match='Subset: 11 classes of a dataset with 10'):
    Subset(Tfds('cifar10'), tuple('abcdefghijk')).open(context)


def test_text_is_known_as_far_as_no_tokenizer_is_fitted_to_it(context, said):
  source = texts.TfdsText('tiny_shakespeare')
  found = Packed(source, tokenizers.Bytes(), 64).open(context)
  assert found.load()['inputs'].shape[1] == 64 and found.tokenizer.size == 257
  assert 'assumed: tiny_shakespeare/1.0.0 is not prepared in' in said[-1]
  context.kept.clear()
  with pytest.raises(UserError, match='needed to fit the vocabulary of Characters'):
    Packed(source, tokenizers.Characters(), 64).open(context)
