"""Splits that share rows of a source are found, whatever the source is."""

import dataclasses
from functools import partial

import jax
import numpy as np
import optax
import pytest

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, tree
from bigmodels.core.errors import UserError
from bigmodels.data import cleaning, texts, tokenizers, transforms
from bigmodels.data.sources import DataContext
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build, splits
from tests.data.folders import written

STANDARDIZE = transforms.standardize
THREE = {'train': 0.6, 'validation': 0.2, 'test': 0.2}


def opened(sources, folder):
  """Opens sources as the splits of an experiment; returns the lines that are said."""
  lines = []
  context = DataContext(str(folder), folder, {}, lines.append)
  every = {name: data.Batches(source=s, batch_size=None) for name, s in sources.items()}
  splits.check_apart(every, {n: b.source.open(context) for n, b in every.items()},
                     context)
  return lines


@pytest.fixture
def table(tmp_path):
  rng = np.random.default_rng(0)
  rows = ['a,b,y', *(f'{rng.normal():.4f},{i % 3 or ""},{"no" if i % 2 else "yes"}'
                     for i in range(60))]
  (tmp_path / 'data.csv').write_text('\n'.join(rows) + '\n')
  return data.Table(str(tmp_path / 'data.csv'), 'y', task='classification')


def text_files(folder, **options):
  return data.Packed(texts.TextFiles(str(folder / 'text.txt'), **options),
                     tokenizers.Bytes(), 8)


ARRAYS = data.Arrays(np.arange(200.0).reshape(100, 2), np.arange(100) % 2)
DIGITS = data.Digits()
COUNTS = {'train': 0.8, 'test': 0.2}


@pytest.mark.parametrize('train, test, count', [
  (DIGITS.split('train'), DIGITS.split('train'), 1438),
  (DIGITS.split('test'), DIGITS.split('test'), 359),
  (data.ScikitTable('iris'), data.ScikitTable('iris'), 120),
  (ARRAYS, ARRAYS, 100),
  (ARRAYS, ARRAYS.split('test'), 20),
  (ARRAYS.split('train'), ARRAYS, 80),
  (data.Arrays(ARRAYS.inputs[:60], ARRAYS.labels[:60]),
   data.Arrays(ARRAYS.inputs[50:], ARRAYS.labels[50:]), 10),
  (data.Subset(DIGITS.split('train'), each=5), DIGITS.split('train'), 50),
  (data.Subset(ARRAYS, ('0',)), data.Subset(ARRAYS, ('0', '1')), 50)])
def test_shared_rows_are_refused(train, test, count, tmp_path):
  with pytest.raises(UserError, match=rf'^test and train share {count:,} rows of .*; '
                     'give them splits that are apart, or call one train_again'):
    opened({'train': train, 'test': test}, tmp_path)


@pytest.mark.parametrize('train, test', [
  (DIGITS.split('train'), DIGITS.split('test')),
  (data.ScikitTable('iris'), data.ScikitTable('wine').split('test')),
  (data.Arrays(ARRAYS.inputs[:50], ARRAYS.labels[:50]),
   data.Arrays(ARRAYS.inputs[50:], ARRAYS.labels[50:])),
  (data.Subset(ARRAYS, ('0',)), data.Subset(ARRAYS, ('1',))),
  (ARRAYS.split('train'), DIGITS)])
def test_splits_that_are_apart_are_not(train, test, tmp_path):
  assert opened({'train': train, 'test': test}, tmp_path) == []


def test_one_cleaning_and_one_split_of_a_table(table, tmp_path):
  three = {name: table.split(name) for name in THREE}
  opened(three, tmp_path)

  def refused(**others):
    with pytest.raises(UserError) as error:
      opened(three | others, tmp_path)
    text, = str(error.value).splitlines()
    return text

  clean = (cleaning.fill_missing, *table.clean[1:])
  text = refused(train=dataclasses.replace(table, clean=clean))
  assert text == (
    'validation and train are cut from one source in two ways: '
    '--config.train.source.clean.0=bigmodels.data.cleaning.fill_missing, but '
    '--config.evals.validation.source.clean.0=bigmodels.data.cleaning.drop_constant; '
    'set both to the same, and so for every other split')
  dropped = (cleaning.drop_incomplete, *table.clean)
  for name in THREE:
    for field, value in (('clean', dropped), ('clean', table.clean[1:]),
                         ('splits', THREE), ('duplicates', 'drop'),
                         ('types', {'b': 'text'})):
      changed = dataclasses.replace(table, selected=name, **{field: value})
      assert f'source.{field}' in refused(**{name: changed}), (name, field)
  text = refused(test=table)
  assert text.startswith('test and train share 48 rows of the table ')
  text = refused(test=table.split('validation'))
  assert text.startswith('test and validation share 6 rows of the table ')


def test_a_copy_of_a_table_is_the_same_one(table, tmp_path):
  copy = tmp_path / 'copy.csv'
  copy.write_bytes((tmp_path / 'data.csv').read_bytes())
  other = dataclasses.replace(table, path=str(copy), selected='test')
  opened({'train': table, 'test': other}, tmp_path)
  whole = dataclasses.replace(other, splits={'test': 1.0})
  with pytest.raises(UserError, match='cut from one source in two ways'):
    opened({'train': table, 'test': whole}, tmp_path)
  copy.write_text(copy.read_text() + '0.5,1,no\n')  # another file
  with pytest.raises(UserError, match='48 of 61 rows of test equal one of train in all '
                     'features, though their files differ'):
    opened({'train': table, 'test': whole}, tmp_path)
  kept = {'duplicates': 'keep'}
  opened({'train': dataclasses.replace(table, **kept),
          'test': dataclasses.replace(whole, **kept)}, tmp_path)
  clean = dataclasses.replace(whole, clean=(cleaning.fill_missing, cleaning.one_hot),
                              splits={'train': 0.5, 'test': 0.5})
  with pytest.raises(UserError, match=r'cut from one source in two ways.*clean\.0='):
    opened({'train': table, 'test': clean}, tmp_path)


def test_folders_with_equal_images(tmp_path):
  written.write(tmp_path / 'train', written.many('ab', 6))
  written.write(tmp_path / 'test', written.many('ab', 3), 50)
  train, test = (data.ImageFolder(str(tmp_path / name), selected=None)
                 for name in ('train', 'test'))
  opened({'train': train, 'test': test}, tmp_path)
  written.write(tmp_path / 'test', ['b/copy.png'], 4)  # that of train/a/004.png
  with pytest.raises(UserError, match='test and train share 1 row of files of equal '
                                      'content'):
    opened({'train': train, 'test': test}, tmp_path)
  three = [dataclasses.replace(train, selected=name, splits=THREE) for name in THREE]
  opened(dict(zip(THREE, three, strict=True)), tmp_path)
  with pytest.raises(UserError, match=r'from one source in two ways.*source.splits='):
    opened({'train': three[0], 'test': dataclasses.replace(
      train, selected='test', splits={'train': 0.5, 'test': 0.5})}, tmp_path)


def test_texts_that_overlap(tmp_path):
  (tmp_path / 'text.txt').write_text('to be or not to be ' * 20)
  (tmp_path / 'more').mkdir()
  for name in range(60):
    (tmp_path / 'more' / f'{name}.txt').write_text('the same words ' * 9)
  one = text_files(tmp_path)
  opened({'train': one, 'validation': one.split('validation')}, tmp_path)
  with pytest.raises(UserError, match=r'^validation and train share 342 rows of'):
    opened({'train': one, 'validation': one}, tmp_path)
  # With another file to validate on, all of the first one is for training.
  other = text_files(tmp_path, validation=str(tmp_path / 'more' / '1.txt'))
  opened({'train': other, 'validation': other.split('validation')}, tmp_path)
  with pytest.raises(UserError, match=r'^validation and train share 38 rows of'):
    opened({'train': other, 'validation': one.split('validation')}, tmp_path)
  folder = data.Packed(texts.TextFiles(str(tmp_path / 'more')), tokenizers.Bytes(), 8)
  opened({'train': folder, 'validation': folder.split('validation')}, tmp_path)
  inside = data.Packed(texts.TextFiles(
    str(tmp_path / 'more'), validation=str(tmp_path / 'more' / '2.txt')),
    tokenizers.Bytes(), 8)
  with pytest.raises(UserError, match=r'^validation and train share 135 rows of'):
    opened({'train': inside, 'validation': inside.split('validation')}, tmp_path)


def test_a_file_of_sentences_or_pairs_under_two_names(tmp_path):
  (tmp_path / 'train.csv').write_text('text,label\na b,0\nb c,1\nc d,0\n')
  (tmp_path / 'test.csv').write_text('text,label\na b,0\nb c,1\n')
  files = {'train': 'train.csv', 'test': 'test.csv'}
  source = data.Sentences(texts.LabelledTexts(str(tmp_path), names=files),
                          tokenizers.Bytes(), 8)
  opened({'train': source, 'test': source.split('test')}, tmp_path)
  (tmp_path / 'test.csv').write_text((tmp_path / 'train.csv').read_text())
  with pytest.raises(UserError, match=r'^test and train share 3 rows of'):
    opened({'train': source, 'test': source.split('test')}, tmp_path)
  for name in ('train.en', 'train.de'):
    (tmp_path / name).write_text(f'one {name}\ntwo\n')
  pairs = data.Translations(
    texts.ParallelFiles(str(tmp_path), names=dict.fromkeys(('train', 'test'), 'train')),
    tokenizers.Bpe(259, special=('pad', 'begin', 'end')), 8)
  with pytest.raises(UserError, match=r'^test and train share 2 rows of'):
    opened({'train': pairs, 'test': pairs.split('test')}, tmp_path)


def test_names_that_say_that_it_is_meant(tmp_path):
  lines = opened({'train': DIGITS, 'train_again': DIGITS, 'test': DIGITS.split('test'),
                  'test_turned': DIGITS.split('test')}, tmp_path)
  assert lines == [
    "train_again is on rows of train, as its name says: 1,438 rows of scikit-learn's "
    'digits',
    "test_turned is on rows of test, as its name says: 359 rows of scikit-learn's "
    'digits']
  with pytest.raises(UserError, match=r'^training and train share 1,438 rows'):
    opened({'train': DIGITS, 'training': DIGITS}, tmp_path)


# --- small data -----------------------------------------------------------------


AT_MOST = partial(data.at_most, examples=128)


@pytest.mark.parametrize('asked, length, cut, size', [
  (AT_MOST, 1000, 1, 128), (AT_MOST, 128, 1, 128), (AT_MOST, 127, 1, 15),
  (AT_MOST, 120, 1, 15), (AT_MOST, 8, 1, 1), (AT_MOST, 2, 1, 1), (AT_MOST, 1, 1, 1),
  (AT_MOST, 120, 4, 12), (AT_MOST, 9, 4, 4), (AT_MOST, 3, 4, None),
  (AT_MOST, 20, 8, 8), (64, 20, 1, 64), (None, 20, 1, None)])
def test_the_batch_of_a_small_split(asked, length, cut, size):
  assert build.batches.size_of(asked, length, cut) == size


def test_batches_of_no_example():
  with pytest.raises(ValueError, match=r'^batch_size: must be >= 1, got -3'):
    data.Batches(source=None, batch_size=-3)
  with pytest.raises(UserError, match=r'^batch_size: examples: must be >= 1, got 0'):
    build.batches.size_of(partial(data.at_most, examples=0), 10, 1)


@pytest.mark.parametrize('text, batch_size', [
  ('64', 64), ('none', None), ('bigmodels.data.at_most', data.at_most)])
def test_a_function_of_the_split_becomes_a_number(text, batch_size):
  batches = data.Batches(source=None, batch_size=AT_MOST)
  found = tree.override(batches, 'batch_size', text).batch_size
  assert getattr(found, 'func', found) == batch_size
  assert tree.override(batches, 'batch_size.examples', '64').batch_size(
    1000, 1) == 64
  with pytest.raises(UserError, match='batch_size'):
    tree.override(batches, 'batch_size', 'many')


def built(source, batch_size, tests=None):
  record = Experiment(
    model=partial(models.Mlp, widths=(4,)), task=tasks.classification,
    optimizer=partial(optax.sgd, 0.1), duration=Duration(epochs=2),
    train=data.Batches(source=source, batch_size=batch_size),
    evals={n: data.Batches(source=s, batch_size=100) for n, s in (tests or {}).items()})
  lines = []
  one = layout.make_layout(MeshShape(), 'jit', (), jax.devices()[:1])
  found = build.build(record, one, DataContext(None, None, {}, lines.append))
  found.close()
  return found, lines


def test_a_small_batch_is_printed_and_one_that_was_asked_for_is_refused():
  source = data.ScikitTable('iris')
  found, lines = built(source, AT_MOST, {'test': source.split('test')})
  assert found.train.order.batch_size == 15 and found.steps == 16
  assert found.evals['test'].order.batch_size == 30
  assert lines == ['a batch of 15, for a training split of 120 examples; batch_size=N '
                   'sets another one',
                   'train: 120 examples: setosa 40, versicolor 40, virginica 40',
                   'test: 30 examples: setosa 10, versicolor 10, virginica 10']
  assert found.data['kept']['notes'] == lines
  with pytest.raises(UserError, match=r'--config\.train\.batch_size=128: the split has '
                     'only 120 examples; set it to at most that'):
    built(source, 128)
  assert built(source, 120)[0].train.order.batch_size == 120


@pytest.mark.parametrize('train, test, said', [
  ((), (), None), ((STANDARDIZE,), (STANDARDIZE,), None),
  ((transforms.flip, STANDARDIZE), (STANDARDIZE,), None),
  ((transforms.flip,), (), None),
  ((), (STANDARDIZE,), 'bigmodels.data.transforms.standardize, those of train by '
   'nothing;'),
  ((STANDARDIZE,), (), 'nothing, those of train by bigmodels.data.transforms.stand'),
  ((partial(STANDARDIZE, mean=(1.0,), std=(2.0,)),),
   (partial(STANDARDIZE, mean=(1.0,), std=(3.0,)),),
   'mean=(1.0,), std=(3.0,), those of train by bigmodels.data.transforms.standardize')])
def test_another_scaling_is_a_warning(train, test, said):
  lines = []
  every = {name: data.Batches(source=None, batch_size=1, transforms=each)
           for name, each in (('train', train), ('test', test))}
  splits.check_scaling(every, DataContext(None, None, {}, lines.append))
  assert len(lines) == bool(said)
  if said:
    assert lines[0].startswith('warning: test: its inputs are scaled by ')
    assert said in lines[0]
