"""Tests of bigmodels.data.translations: no pair is lost, alone or in a shared row."""

import numpy as np
import pytest

from bigmodels.core.errors import UserError
from bigmodels.data import texts
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import Pairs
from bigmodels.data.tokenizers import Bpe, Bytes, Words
from bigmodels.data.translations import Translations, _fitting
from tests.data.given import SPECIAL, Given, context


def pairs(**splits):
  return Given({name: Pairs([s for s, _ in rows], [t for _, t in rows])
                for name, rows in splits.items()})


def test_translations_begin_and_end():
  documents = pairs(train=[('ab', 'c'), ('abcabcabcabc', 'a'), ('a', 'bcd')])
  source, world = Translations(documents, Bpe(259, special=SPECIAL), 6), context()
  opened = source.open(world)
  columns, made = opened.load(), opened.tokenizer
  a, b, c, d = (int(made.encode(letter)[0]) for letter in 'abcd')
  assert columns['inputs'].tolist() == [[a, b, 2, 0, 0, 0], [a, 2, 0, 0, 0, 0]]
  assert columns['segments'].tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]]
  assert columns['decoder_inputs'].tolist() == [[1, c, 0, 0, 0, 0], [1, b, c, d, 0, 0]]
  assert columns['labels'].tolist() == [[c, 2, 0, 0, 0, 0], [b, c, d, 2, 0, 0]]
  assert columns['weights'].tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]
  assert columns['weights'].dtype == np.uint8
  assert '1 pair longer than 6 tokens, so skipped' in world.said[-1]


def test_evaluation_keeps_every_pair_and_grows():
  train, long = ('ab', 'cd'), ('a' * 20, 'c' * 9)
  source = Translations(pairs(train=[train], validation=[train, long, ('', 'x')]),
                        Bpe(259, special=SPECIAL), 6)
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
    Translations(documents, Bpe(259, special=SPECIAL), 3).open(context())


LETTERS = 'abcdefg'


def sharing(rows, *, length=6, packed=8):
  source = Translations(pairs(train=rows, validation=rows[:2]),
                        Bpe(256 + 3, special=SPECIAL), length, packed=packed)
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
  assert '1 pair longer than 6 tokens, so skipped' in world.said[-1]


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
  # There is little padding: one pair a row would leave more than half.
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
  with pytest.raises(ValueError, match='packed: must be >= 6, the length, got 5'):
    sharing([('a', 'b')], packed=5)


def test_multi30k_references_survive(shared_tfds):
  shared = shared_tfds.parent / 'data'
  if not shared.is_dir():
    pytest.skip('the real data of ../shared/data is not here')
  documents = texts.multi30k()
  state = Bpe(1000, special=SPECIAL).fit(
    documents.read('validation', DataContext(str(shared), None, {})).targets)
  world = DataContext(str(shared), None, {'tokenizer': state}, print)
  opened = Translations(documents, Bpe(1000, special=SPECIAL), 64, 'test').open(world)
  references = documents.read('test', world).targets
  assert [opened.tokenizer.decode(row) for row in opened.load()['labels']] == references
