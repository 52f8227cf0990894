"""Tests of bigmodels.data.packed: every token is where it belongs, and counted once."""

import dataclasses
import pickle

import jax
import numpy as np
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data import batches, texts
from bigmodels.data.packed import Packed
from bigmodels.data.sources import DataContext
from bigmodels.data.tokenizers import Bpe, Bytes, Characters
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from tests.data.given import context, given

ONE = layout.make_layout(MeshShape(), 'jit', ())


def flat(columns, name):
  return columns[name].ravel().tolist()


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

  assert shown('inputs') == ['EabE', 'cEde', 'fgE.']  # the last E is padding
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
  with pytest.raises(UserError, match="given, split 'train': a total of 5 tokens is "
                                      'too few for a block of length 5, which needs 6'):
    source.open(context())
  assert dataclasses.replace(source, length=4).open(context()).length == 1


def test_settings_that_cannot_be():
  with pytest.raises(ValueError, match='length: must be >= 1, got 0'):
    Packed(None, Bytes(), 0)
  with pytest.raises(ValueError, match='stride: must be 1 to 4, the length, got 5'):
    Packed(None, Bytes(), 4, stride=5)
  with pytest.raises(UserError, match="separate: needs a tokenizer with an 'end'"):
    Packed(given(train=['abc']), Characters(), 2, separate=True).open(context())


@pytest.mark.parametrize('resident', [True, False])
def test_resident_and_streamed_batches_are_the_same(resident):
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
  expected = opened.read(loader.order.rows(2))
  for name, column in expected.items():
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
