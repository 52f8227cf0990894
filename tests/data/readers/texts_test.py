"""Tests of bigmodels.data.readers.texts: texts of files and in memory."""

import dataclasses
import gzip
import pathlib
import re

import numpy as np
import pyarrow as pa
import pytest

from bigmodels import data
from bigmodels.core.errors import UserError
from bigmodels.data import texts, tokenizers
from bigmodels.data.readers.reader import joined
from bigmodels.data.sources import DataContext

REVIEWS = [('a good film', 'yes'), ('a bad film', 'no'), ('good good', 'yes'),
           ('bad, "bad"', 'no'), ('so\nso', 'no')]


def write(path, rows):
  quoted = ('"' + text.replace('"', '""') + f'",{label}' for text, label in rows)
  path.write_text('text,label\n' + '\n'.join(quoted) + '\n')
  return path


@pytest.fixture
def reviews(tmp_path):
  """A source of sentences, opened, with its context and the lines that it says."""
  write(tmp_path / 'train.csv', REVIEWS)
  said = []
  context = DataContext(None, tmp_path, {}, said.append)
  source = data.Sentences(
    texts.LabelledTexts(str(tmp_path), {'train': 'train.csv'}),
    tokenizers.Words(50, special=('pad', 'unknown')), 4)
  return source, source.open(context).load(), context, said


def read(reader, *paths, labels=False):
  return joined([*reader.examples([*paths], labels=labels).chunks(0)])


def test_texts_become_the_columns_that_training_had(reviews, tmp_path):
  source, expected, context, _ = reviews
  reader = source.reader(context)
  found = reader.columns([text for text, _ in REVIEWS], {})
  whole = read(reader, tmp_path / 'train.csv', labels=True)
  for name in ('inputs', 'segments'):
    np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_array_equal(whole.columns[name], expected[name])
    assert found[name].dtype == expected[name].dtype
  np.testing.assert_array_equal(whole.labels, expected['labels'])
  assert [*whole.names] == [0, 1, 2, 3, 4] and whole.done == 1


def test_lines_of_a_text_file_and_empty_ones(reviews, tmp_path):
  source, expected, context, _ = reviews
  (tmp_path / 'new.txt').write_text('a good film\n\na bad film\n')
  found = read(source.reader(context), tmp_path / 'new.txt')
  assert found.length == 3 and found.faults == {1: 'is empty'}
  np.testing.assert_array_equal(found.columns['inputs'][[0, 2]],
                                expected['inputs'][:2])


@pytest.mark.parametrize('name, packed', [
  ('new.txt', bytes), ('new.TXT.gz', gzip.compress),
  ('new.txt.zst', lambda data: pa.compress(data, 'zstd', asbytes=True))])
def test_text_files_of_any_system_and_compressed(reviews, tmp_path, name, packed):
  source, expected, context, _ = reviews
  content = '\ufeffa good film\r\na bad film\r\n"good" good\r\n'.encode()
  (tmp_path / 'new').mkdir()
  (tmp_path / 'new' / name).write_bytes(packed(content))
  seen, reader = [], source.reader(context)
  found = read(dataclasses.replace(
    reader, tokens=lambda texts: seen.extend(texts) or reader.tokens(texts)),
    tmp_path / 'new')  # the folder
  assert seen == ['a good film', 'a bad film', '"good" good'] and not found.faults
  np.testing.assert_array_equal(found.columns['inputs'][:2], expected['inputs'][:2])


def test_longer_texts_are_said(reviews, tmp_path):
  source, _, context, said = reviews
  (tmp_path / 'new.txt').write_text('a a a a a a a\n')
  read(source.reader(context), tmp_path / 'new.txt')
  assert said[-1] == '1 text longer than 4 tokens, so truncated'


def test_it_begins_where_it_is_told(reviews, tmp_path, monkeypatch):
  source, expected, context, _ = reviews
  monkeypatch.setattr('bigmodels.data.readers.texts._TEXTS', 2)
  chunks = [*source.reader(context).examples(
    [tmp_path / 'train.csv'], labels=False).chunks(2)]
  assert [[*chunk.names] for chunk in chunks] == [[2, 3], [4]]
  np.testing.assert_array_equal(joined(chunks).columns['inputs'],
                                expected['inputs'][2:])


@pytest.mark.parametrize('name, content, labels, words', [
  ('a.csv', 'review,label\nx,yes\n', False, "no column 'text'"),
  ('a.csv', 'text\nx\n', True, "no column 'label'"),
  ('a.csv', 'text,label\nx,maybe\n', True, "line 2: the label 'maybe' is not one of"),
  ('a.csv', 'text,label\nx\n', False, 'line 2 has 1 values, the header has 2'),
  ('a.txt', 'x\n', True, 'has no labels; must be a table with the columns'),
  ('a.txt', '', False, 'there is no text in it'),
  ('a.txt', b'\xff\xfe\0', False, 'it is UTF-16'),
  ('a.txt', b'x\n\xff', False, 'line 2: byte 0xff is not UTF-8'),
  ('a.txt.gz', gzip.compress(b'x' * 99, mtime=0)[:20], False, 'its gzip data is cut'),
  ('a.txt.gz', gzip.compress(b'x', mtime=0), True, 'has no labels; must be a table')])
def test_files_that_do_not_fit(reviews, tmp_path, name, content, labels, words):
  source, _, context, _ = reviews
  path = tmp_path / name
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  with pytest.raises(UserError, match=re.escape(words)) as error:
    read(source.reader(context), path, labels=labels)
  assert str(path) in str(error.value)


@pytest.mark.parametrize('values', [[], ['a', ''], [1, 2], ['a', None]])
def test_values_that_are_not_texts(reviews, values):
  source, _, context, _ = reviews
  with pytest.raises(UserError, match='reads a list of texts that are not empty'):
    source.reader(context).columns(values, {})


def test_texts_to_translate(tmp_path):
  for side in ('en', 'de'):
    (tmp_path / f'train.{side}').write_text('a b c\nc a\n' * 20)
  source = data.Translations(
    texts.ParallelFiles(str(tmp_path)),
    tokenizers.Words(50, special=('pad', 'unknown', 'begin', 'end')), 8)
  context = DataContext(None, tmp_path, {}, lambda line: None)
  expected = source.open(context).load()
  (tmp_path / 'new.txt').write_text('a b c\nc a\na b c a b c a b c\n')
  found = read(source.reader(context), pathlib.Path(tmp_path / 'new.txt'))
  for name in ('inputs', 'segments'):
    np.testing.assert_array_equal(found.columns[name][:2], expected[name][:2])
  assert found.faults == {2: 'is longer than 8 tokens'}
