"""Tests of bigmodels.data.text_bytes."""

from bigmodels.data import text_bytes


def test_texts_come_back():
  texts = ['', 'a', 'Straße 日本語', 'two\nlines ']
  rows = text_bytes.rows(texts)
  assert rows.shape == (4, len('Straße 日本語'.encode())) and rows.dtype == 'uint8'
  assert text_bytes.texts(rows) == texts
  assert text_bytes.texts(text_bytes.rows(['a\0b', '\ud800'])) == ['a b', '?']
  assert text_bytes.rows([]).shape == (0, 1) and text_bytes.rows(['']).shape == (1, 1)
