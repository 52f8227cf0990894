"""Tests of the names in files of weights."""

import numpy as np
import pytest

from tests.models.gpt2_files import GPT, TOKENS, arrays, write
from tests.models.loading import refusal, started


@pytest.mark.parametrize('prefix, inside', [
  ('module.', ''), ('_orig_mod.', ''), ('module._orig_mod.', ''), ('model.', ''),
  ('module.transformer.', ''), ('', '._orig_mod'), ('', '')])
def test_prefixes_of_wrappers_are_taken_off(tmp_path, prefix, inside):
  lines, state = [], {
    prefix + name.replace('.mlp', f'{inside}.mlp'): x for name, x in arrays().items()}
  params = started(GPT, write(tmp_path, state=state), TOKENS, say=lines.append).params
  np.testing.assert_array_equal(
    params['tokens']['embedding'], arrays()['wte.weight'])
  np.testing.assert_array_equal(
    params['blocks']['block']['feed_forward']['in']['bias'][0],
    arrays()['h.0.mlp.c_fc.bias'])
  wrapper = prefix.removesuffix('transformer.')
  said = [line for line in lines if ': the prefix' in line]
  assert said == [f'{tmp_path}: the prefix {wrapper} is taken off the names there'
                  ] * bool(wrapper)


def test_a_prefix_of_some_names_is_none_of_a_wrapper(tmp_path):
  state = arrays()
  state['module.wte.weight'] = state.pop('wte.weight')
  assert 'module.wte.weight: unexpected' in refusal(
    GPT, write(tmp_path, state=state), TOKENS)
