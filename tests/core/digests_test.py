"""Tests of bigmodels.core.digests: equal for equal things only."""

import hashlib
import json

import pytest

from bigmodels.core import digests


def test_bytes_and_a_hash_have_one_digest():
  sha256 = hashlib.sha256(b'ab')
  sha256.update(b'c')
  # As `printf abc | sha256sum` prints it.
  assert digests.of_bytes(b'abc') == digests.of_hash(sha256) == 'ba7816bf8f01cfea'


@pytest.mark.parametrize('value', [
  None, 1, 1.5, 'a', [1, 2], {'a': 1, 'b': [1.0]}, {'a': {'b': None}}, True, [], {}])
def test_a_digest_survives_json_and_the_order_of_keys(value):
  assert digests.of_json(json.loads(json.dumps(value))) == digests.of_json(value)
  if isinstance(value, dict):
    assert digests.of_json(dict(reversed(value.items()))) == digests.of_json(value)


def test_digests_tell_values_apart():
  values = [None, 0, 1, 1.5, True, False, '', '1', [], [1], [[1]], {}, {'1': 1},
            {'1': True}, {'1': '1'}, [1, 2], [2, 1], 1.0000000000000002]
  assert len({digests.of_json(value) for value in values}) == len(values)


def test_a_tuple_and_a_key_that_is_a_number_are_what_json_makes_of_them():
  assert digests.of_json((1, {2: 3})) == digests.of_json([1, {'2': 3}])


def test_a_record_with_its_digest_is_intact():
  record = {'a': 1, 'b': [2.5, None]}
  sealed = {**record, 'digest': digests.of_json(record)}
  assert digests.is_intact(dict(reversed(sealed.items())))
  for other in ({**sealed, 'a': 2}, record, {**sealed, 'c': 1}, [sealed], None):
    assert not digests.is_intact(other)
