"""Tests of bigmodels.tasks.special_tokens."""

import types

import pytest

from bigmodels.tasks.special_tokens import special_tokens


def test_numbers_in_order_and_what_is_missing():
  tokenizer = types.SimpleNamespace(special={'end': 2, 'begin': 7})
  assert special_tokens(tokenizer, 'begin', 'end', task='reading') == [7, 2]
  with pytest.raises(ValueError, match="reading needs a tokenizer with the special "
                     "token 'pad'; it has end, begin"):
    special_tokens(tokenizer, 'end', 'pad', task='reading')
