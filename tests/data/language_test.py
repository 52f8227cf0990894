"""Tests of bigmodels.data.language: every token in its place, and counted once."""

import dataclasses
import pickle
from functools import partial

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment
from bigmodels.core.errors import UserError
from bigmodels.data import batches, texts, tokenizers
from bigmodels.data.language import Packed, Sentences, Translations, _fitting
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import Documents, Labelled, Pairs
from bigmodels.data.tokenizers import Bpe, Bytes, Characters, Words
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build

ONE = layout.make_layout(MeshShape(), 'jit', ())
THREE = ('pad', 'begin', 'end')


@dataclasses.dataclass(frozen=True)
class Given:
  """Texts that are given, by split."""

  splits: dict
  name: str = 'given'

  def read(self, split, context):
    return self.splits[split]


def given(**splits):
  return Given({name: Documents(list(t)) for name, t in splits.items()})


def context(**kept):
  said = []
  made = DataContext(None, None, kept, said.append)
  made.said = said
  return made


def flat(columns, name):
  return columns[name].ravel().tolist()


# --- packed ---------------------------------------------------------------------


@pytest.mark.parametrize('length', [1, 3, 5, 11])
@pytest.mark.parametrize(
  'tokenizer', [Bytes(), Bytes(end=False), Characters(), Bpe(260)], ids=str)
def test_packing_loses_nothing(tokenizer, length):
  words = ['abcab', 'b', 'cabba', 'cc']
  source = Packed(given(train=words), tokenizer, length)
  opened = source.open(context())
  columns, made = opened.load(), opened.tokenizer
  end = [made.special['end']] if 'end' in made.special else []
  stream = end + [i for word in words for i in [*made.encode(word), *end]]
  weights = flat(columns, 'weights') if 'weights' in columns else (
    [1] * columns['inputs'].size)
  count = len(stream) - 1
  assert weights == [1] * count + [0] * (len(weights) - count)
  assert len(weights) - count < length
  assert flat(columns, 'inputs')[:count] == stream[:-1]
  assert flat(columns, 'labels')[:count] == stream[1:]
  assert not any(flat(columns, 'labels')[count:])
  assert ('weights' in columns) == (count % length > 0)
  # With an end token every byte is predicted exactly once.
  counted = made.byte_counts[flat(columns, 'labels')] * weights
  assert counted.sum() == len(''.join(words)) - (not end)
  assert columns['inputs'].dtype == columns['labels'].dtype == np.uint16


def test_many_kinds_of_tokens_need_32_bits():
  source = Packed(given(train=[''.join(map(chr, range(0x10000, 0x20002)))]),
                  Characters(), 8)
  columns = source.open(context()).load()
  assert columns['inputs'].dtype == np.int32
  assert columns['labels'].max() == 2**16 + 1


def test_segments_are_documents():
  """Worked out by hand: E is the end token, 256."""
  source = Packed(given(train=['ab', 'c', 'defg']), Bytes(), 4, separate=True)
  columns = source.open(context()).load()

  def shown(name):
    return [''.join('E' if i == 256 else chr(i) if i else '.' for i in row)
            for row in columns[name].tolist()]

  assert shown('inputs') == ['EabE', 'cEde', 'fgE.']  # the last E is only filling
  assert shown('labels') == ['abEc', 'Edef', 'gE..']
  assert columns['segments'].tolist() == [[1, 1, 1, 2], [1, 2, 2, 2], [1, 1, 0, 0]]
  assert columns['weights'].tolist() == [[1] * 4, [1] * 4, [1, 1, 0, 0]]
  assert columns['segments'].dtype == np.int32
  assert columns['weights'].dtype == np.uint8


def test_segments_do_not_cross_documents():
  """Every document has letters of its own: inputs and labels of a segment are those."""
  words = [chr(97 + i) * (1 + 7 * i % 11) for i in range(26)]
  columns = Packed(given(train=words), Bytes(), 9, separate=True).open(context()).load()
  seen = ''
  for row in range(len(columns['inputs'])):
    segments = columns['segments'][row]
    kept = segments[segments > 0]
    assert kept[0] == 1 and set(np.diff(kept)) <= {0, 1}
    for number in range(1, segments.max() + 1):
      tokens = {int(i) for name in ('inputs', 'labels')
                for i in columns[name][row][segments == number]} - {256}
      assert len(tokens) == 1
    seen += ''.join(chr(i) for i in columns['labels'][row][segments > 0] if i != 256)
  assert seen == ''.join(words)


def test_blocks_overlap_by_the_stride():
  word = 'abcdefghij'
  source = Packed(given(train=[word]), Bytes(end=False), 4, stride=2)
  columns = source.open(context()).load()
  assert [bytes(r.astype(np.uint8)) for r in columns['inputs']] == [
    b'abcd', b'cdef', b'efgh', b'ghij']
  assert columns['weights'].tolist()[-1] == [1, 1, 1, 0]


def test_a_split_that_is_too_short():
  source = Packed(given(train=['abc']), Bytes(), 5)
  with pytest.raises(UserError, match="given, split 'train': 5 tokens in all are too "
                                      'few for one block of length 5, which wants 6'):
    source.open(context())
  assert dataclasses.replace(source, length=4).open(context()).length == 1


def test_settings_that_cannot_be():
  with pytest.raises(ValueError, match='length: wants at least 1, got 0'):
    Packed(None, Bytes(), 0)
  with pytest.raises(ValueError, match='stride: wants 1 to 4, the length, got 5'):
    Packed(None, Bytes(), 4, stride=5)
  with pytest.raises(UserError, match="separate: wants a tokenizer with an 'end'"):
    Packed(given(train=['abc']), Characters(), 2, separate=True).open(context())


# --- the tokenizer --------------------------------------------------------------


def test_the_tokenizer_is_fitted_to_training_text_and_kept():
  documents = given(train=['hello world'] * 9, validation=['zebra zebra'])
  source = Packed(documents, Bpe(265), 3)
  world = context()
  fitted = source.split('validation').open(world).tokenizer  # fits from 'train'
  assert fitted is source.open(world).tokenizer
  assert world.kept['tokenizer'] == Bpe(265).fit(['hello world'] * 9)
  assert [line.startswith('tokenizer: Bpe, 265 tokens') for line in world.said] == [
    True, False, False]
  # With what is kept, the training text is not even read.
  later = Packed(given(validation=['zebra zebra']), Bpe(265), 3, selected='validation')
  assert later.open(context(**world.kept)).tokenizer is fitted


def test_another_tokenizer_than_the_runs():
  kept = {'tokenizer': Bpe(260).fit(['abc'])}
  with pytest.raises(UserError, match=r'Bpe\(vocabulary=260.* this wants Bytes'):
    Packed(given(train=['abcabc']), Bytes(), 2).open(context(**kept))


def test_a_character_that_training_text_has_not():
  source = Packed(given(train=['abc'], validation=['abxc']), Characters(), 2)
  with pytest.raises(UserError, match="given, split 'validation': the character 'x' at "
                                      'place 2'):
    source.split('validation').open(context())


def test_what_is_said_once_a_split():
  world = context()
  documents = Given({'train': Documents(['abc', 'é'], '1 file empty')})
  Packed(documents, Bytes(), 2).open(world)
  assert world.said == [
    'tokenizer: Bytes, 257 tokens',
    'given, train: 2 documents, 5 bytes, 5 tokens, 1.00 bytes a token; 4 blocks of 2; '
    '1 file empty']


def test_identity_tells_data_and_tokenizers_apart():
  one, other = given(train=['abcdef']), given(train=['abcdeg'])
  sources = [Packed(one, Bytes(), 2), Packed(other, Bytes(), 2),
             Packed(one, Bytes(), 3), Packed(one, Characters(), 2),
             Packed(one, Bytes(), 2, separate=True)]
  assert len({s.open(context()).identity for s in sources}) == len(sources)
  assert sources[0].open(context()).identity == sources[0].open(context()).identity


@pytest.mark.parametrize('resident', [True, False])
def test_both_roads_give_the_same_batches(resident):
  opened = Packed(given(train=['abcdefghij' * 5]), Bytes(), 4, separate=True).open(
    context())
  rows = np.array([12, 0, 5])
  columns = pickle.loads(pickle.dumps(opened.read))(rows)  # as a worker gets it
  for name, column in opened.load().items():
    np.testing.assert_array_equal(columns[name], column[rows])
  loader = batches.open_loader(
    data.Batches(source=None, batch_size=3, resident=resident), 'train', context(), ONE,
    dataset=opened, seed=0, shuffle=True, steps=4, transforms=())
  batch = loader.batch(loader.resident, loader.host_batch(2, 1), 0,
                       jax.random.key(0)[None])
  wanted = opened.read(loader.order.rows(2))
  for name, column in wanted.items():
    np.testing.assert_array_equal(batch[name], column)
  loader.close()


def test_tiny_shakespeare_has_65_characters(shared_tfds):
  world = DataContext(str(shared_tfds), None, {}, print)
  source = Packed(texts.TfdsText('tiny_shakespeare'), Characters(), 256)
  opened = source.open(world)
  columns = opened.load()
  assert opened.tokenizer.size == 65
  assert int(columns['weights'].sum()) == 1_003_854 - 1
  held_out = source.split('validation+test').open(world).load()
  assert int(held_out['weights'].sum()) == 111_540 - 1  # nanoGPT's 10 %
  assert opened.tokenizer.decode(columns['inputs'][0]).startswith('First Citizen:\n')


# --- sentences ------------------------------------------------------------------


def labelled(**splits):
  return Given({name: Labelled([t for t, _ in rows], [c for _, c in rows],
                               lambda i: f'file, line {i + 2}')
                for name, rows in splits.items()})


def test_sentences_are_filled_up_and_cut_off():
  documents = labelled(train=[('b a', '10'), ('a c a d', '9')], test=[('z a', '9')])
  source, world = Sentences(documents, Words(7), 4), context()
  opened = source.open(world)
  columns = opened.load()  # pad 0, unknown 1, class 2, a 3, b 4, c 5, d 6
  assert columns['inputs'].tolist() == [[2, 4, 3, 0], [2, 3, 5, 3]]
  assert columns['segments'].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
  assert columns['labels'].tolist() == [1, 0] and opened.classes == ('9', '10')
  assert [c.dtype for c in columns.values()] == [np.uint16, np.int32, np.int32]
  assert '1 longer than 4 tokens, so cut off' in world.said[-1]
  test = source.split('test').open(world).load()
  assert test['inputs'].tolist() == [[2, 1, 3, 0]] and test['labels'].tolist() == [0]
  plain = dataclasses.replace(source, tokenizer=Words(6, special=('unknown',)))
  assert plain.open(context()).load()['inputs'].tolist() == [
    [2, 1, 0, 0], [1, 3, 1, 4]]


def test_a_separator_ends_a_sentence_even_one_that_is_cut_off():
  documents = labelled(train=[('b a', '10'), ('a c a d', '9')])
  words = Words(9, special=('pad', 'unknown', 'class', 'separator'))
  columns = Sentences(documents, words, 5).open(context()).load()
  assert columns['inputs'].tolist() == [[2, 5, 4, 3, 0], [2, 4, 6, 4, 3]]
  assert columns['segments'].tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
  with pytest.raises(UserError, match='length=2: leaves no room'):
    Sentences(documents, words, 2).open(context())


def test_labels_that_training_has_not():
  documents = labelled(train=[('a', 'x'), ('b', 'y')], test=[('a', 'x'), ('a', 'z')])
  with pytest.raises(UserError, match=r"file, line 3: the label 'z' is none .*: x, y"):
    Sentences(documents, Words(6), 4, 'test').open(context())
  with pytest.raises(UserError, match="every label of the split 'train' is 'x'"):
    Sentences(labelled(train=[('a', 'x')]), Words(6), 4).open(context())


# --- translations ---------------------------------------------------------------


def pairs(**splits):
  return Given({name: Pairs([s for s, _ in rows], [t for _, t in rows])
                for name, rows in splits.items()})


def test_translations_begin_and_end():
  documents = pairs(train=[('ab', 'c'), ('abcabcabcabc', 'a'), ('a', 'bcd')])
  source, world = Translations(documents, Bpe(259, special=THREE), 6), context()
  opened = source.open(world)
  columns, made = opened.load(), opened.tokenizer
  a, b, c, d = (int(made.encode(letter)[0]) for letter in 'abcd')
  assert columns['inputs'].tolist() == [[a, b, 2, 0, 0, 0], [a, 2, 0, 0, 0, 0]]
  assert columns['segments'].tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]]
  assert columns['decoder_inputs'].tolist() == [[1, c, 0, 0, 0, 0], [1, b, c, d, 0, 0]]
  assert columns['labels'].tolist() == [[c, 2, 0, 0, 0, 0], [b, c, d, 2, 0, 0]]
  assert columns['weights'].tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]
  assert columns['weights'].dtype == np.uint8
  assert '1 pair longer than 6 tokens, so left out' in world.said[-1]


def test_evaluation_keeps_every_pair_and_grows():
  train, long = ('ab', 'cd'), ('a' * 20, 'c' * 9)
  source = Translations(pairs(train=[train], validation=[train, long, ('', 'x')]),
                        Bpe(259, special=THREE), 6)
  opened = source.split('validation').open(context())
  columns = opened.load()
  assert columns['inputs'].shape == (3, 24) and columns['labels'].shape == (3, 16)
  assert [opened.tokenizer.decode(row) for row in columns['labels']] == [
    'cd', 'c' * 9, 'x']


def test_references_that_the_tokenizer_changes_are_counted():
  documents = pairs(train=[('a b', 'a b')], test=[('a', 'a b'), ('a', 'a  b')])
  special, world = ('pad', 'unknown', 'begin', 'end'), context()
  Translations(documents, Words(9, special=special), 8, 'test').open(world)
  assert '1 reference of 2 changed by the tokenizer' in world.said[-1]


def test_translations_refuse():
  documents = pairs(train=[('abc', 'abc')])
  with pytest.raises(UserError, match="'pad', 'begin' not among"):
    Translations(documents, Bytes(), 8).open(context())
  with pytest.raises(UserError, match="every pair of 'train' is longer than 3 tokens"):
    Translations(documents, Bpe(259, special=THREE), 3).open(context())


LETTERS = 'abcdefg'


def sharing(rows, *, length=6, packed=8):
  source = Translations(pairs(train=rows, validation=rows[:2]),
                        Bpe(256 + 3, special=THREE), length, packed=packed)
  world = context()
  opened = source.open(world)
  return source, world, opened.load(), opened.tokenizer


def test_pairs_share_rows():
  """Worked out by hand: one pair is too long, and the rest goes where it fits."""
  _, world, columns, made = sharing(
    [('abc', 'd'), ('a', 'b'), ('ef', 'gg'), ('abcdefg', 'a'), ('abc', 'abc')])

  def shown(name):
    return [' '.join('Pbe'[i] if i < 3 else made.decode([i]).upper() for i in row)
            for row in columns[name].tolist()]

  assert shown('inputs') == ['A B C e A e P P', 'E F e A B C e P']
  assert shown('decoder_inputs') == ['b D b B P P P P', 'b G G b A B C P']
  assert shown('labels') == ['D e B e P P P P', 'G G e A B C e P']
  assert columns['segments'].tolist() == [
    [1, 1, 1, 1, 2, 2, 0, 0], [1, 1, 1, 2, 2, 2, 2, 0]]
  assert columns['decoder_segments'].tolist() == [
    [1, 1, 2, 2, 0, 0, 0, 0], [1, 1, 1, 2, 2, 2, 2, 0]]
  assert (columns['weights'] == (columns['decoder_segments'] > 0)).all()
  assert columns['segments'].dtype == columns['decoder_segments'].dtype == np.int32
  assert columns['weights'].dtype == np.uint8 and columns['inputs'].dtype == np.uint16
  assert '4 pairs, 9 and 7 tokens, in 2 rows of 8' in world.said[-1]
  assert '1 pair longer than 6 tokens, so left out' in world.said[-1]


def test_no_pair_is_lost_where_rows_are_shared():
  rng = np.random.default_rng(0)
  rows = [tuple(''.join(rng.choice(list(LETTERS), rng.integers(0, 6))) for _ in 'st')
          for _ in range(500)]
  _, _, columns, made = sharing(rows, packed=16)
  found = []
  for i in range(len(columns['inputs'])):
    source_numbers, numbers = columns['segments'][i], columns['decoder_segments'][i]
    count = source_numbers.max()
    assert count == numbers.max()
    for number in range(1, count + 1):
      source = columns['inputs'][i][source_numbers == number]
      label = columns['labels'][i][numbers == number]
      target = columns['decoder_inputs'][i][numbers == number]
      assert source[-1] == label[-1] == 2 and target[0] == 1
      assert (target[1:] == label[:-1]).all() and (label[:-1] > 2).all()
      found.append((made.decode(source), made.decode(label)))
    for name, there in (('inputs', source_numbers), ('labels', numbers),
                        ('decoder_inputs', numbers)):
      assert not columns[name][i][there == 0].any()  # 'pad'
      last = np.flatnonzero(there)[-1]
      assert (there[: last + 1] > 0).all() and (np.diff(there[: last + 1]) >= 0).all()
  assert sorted(found) == sorted(rows)
  # Little is only filled up: each pair by itself would leave more than half.
  assert (columns['segments'] > 0).mean() > 0.75


@pytest.mark.parametrize('width', [9, 16, 100])
def test_rows_never_overflow(width):
  sizes = np.random.default_rng(width).integers(1, 10, (1000, 2))
  rows = _fitting(sizes, width)
  assert sorted(i for row in rows for i in row) == list(range(1000))
  totals = np.array([sizes[row].sum(0) for row in rows])
  assert totals.max() <= width and all(rows)
  assert len(rows) >= -(-sizes.sum(0).max() // width)
  assert totals.mean() > 0.75 * width


def test_a_pair_as_long_as_a_row_has_it_alone():
  assert _fitting(np.array([[5, 1], [1, 5], [5, 5], [0, 0]]), 5) == [[0], [1], [2, 3]]
  assert _fitting(np.array([[4, 1], [1, 4]]), 5) == [[0, 1]]


def test_pairs_of_other_splits_share_no_row():
  source, world, _, _ = sharing([('abc', 'd'), ('a', 'b')])
  columns = source.split('validation').open(context(**world.kept)).load()
  assert len(columns['inputs']) == 2 and 'decoder_segments' not in columns
  with pytest.raises(ValueError, match='packed: wants at least 6, the length, got 5'):
    sharing([('a', 'b')], packed=5)


def test_multi30k_references_survive(shared_tfds):
  shared = shared_tfds.parent / 'data'
  if not shared.is_dir():
    pytest.skip('the real data of ../shared/data is not here')
  documents = texts.multi30k()
  state = Bpe(1000, special=THREE).fit(
    documents.read('validation', DataContext(str(shared), None, {})).targets)
  world = DataContext(str(shared), None, {'tokenizer': state}, print)
  opened = Translations(documents, Bpe(1000, special=THREE), 64, 'test').open(world)
  references = documents.read('test', world).targets
  assert [opened.tokenizer.decode(row) for row in opened.load()['labels']] == references


# --- building -------------------------------------------------------------------


class Bigram(nn.Module):
  """A logit for every token that may follow."""

  vocabulary: int
  scale: float = 1.0

  @nn.compact
  def __call__(self, inputs, *, train):
    return nn.Embed(self.vocabulary, self.vocabulary)(inputs.astype('int32'))


def test_a_build_supplies_tokenizer_and_vocabulary(tmp_path):
  source = Packed(given(train=['hello world']), Characters(), 2)
  world = DataContext(None, tmp_path, {}, print)
  seen = []

  def task(model, tokenizer):
    seen.extend([tokenizer, model])
    return tasks.classification(model)

  record = Experiment(
    model=Bigram, task=task, optimizer=partial(optax.sgd, 1.0),
    train=data.Batches(source=source, batch_size=2), evals={},
    duration=Duration(steps=1))
  build.build(record, ONE, world).close()
  tokenizer, model = seen
  assert tokenizer is tokenizers.load(world.kept['tokenizer'])
  assert model.vocabulary == 8
  # A model may have its vocabulary in an encoder.
  bert = partial(models.Bert, length=2, depth=1, width=4, heads=2)
  for model in (models.MaskedBert, partial(models.BertClassifier, num_outputs=2)):
    build.build(dataclasses.replace(record, model=partial(model, encoder=bert)), ONE,
                world).close()
    assert seen[-1].encoder.vocabulary == 8
    with pytest.raises(UserError, match=r'--config.model.encoder.vocabulary=7: the '
                                        r'tokenizer of the data has 8'):
      build.build(dataclasses.replace(
        record, model=partial(model, encoder=partial(bert, 7))), ONE, world)
  roomy = dataclasses.replace(record, model=Bigram(64))
  build.build(roomy, ONE, world).close()
  with pytest.raises(UserError, match=r'vocabulary=7: the tokenizer of the data has 8'):
    build.build(dataclasses.replace(record, model=partial(Bigram, 7)), ONE, world)
  with pytest.raises(UserError, match='wants the vocabulary of its training data'):
    build.build(dataclasses.replace(record, train=data.Batches(
      source=data.Digits(), batch_size=2)), ONE, world)
