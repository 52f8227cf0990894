"""bigmodels.errors: what is told of an error that was not meant to be read."""

import jax.numpy as jnp
import pytest

from bigmodels.errors import UserError, blamed, nearest


def test_an_error_that_is_meant_to_be_read_is_told_as_it_is():
  with pytest.raises(UserError, match=r'^the model: width: wants at least 1$'), (
    blamed('the model')):
    raise ValueError('width: wants at least 1\n--------\nFor simplicity, JAX has ...')


def test_any_other_is_told_with_its_kind_and_the_place_in_our_code():
  with pytest.raises(UserError, match=r'^the model: ZeroDivisionError: division by '
                     r'zero \(errors_test\.py, line \d+; --verbosity=1'), (
    blamed('the model')):
    1 / 0  # noqa: B018
  with pytest.raises(UserError, match=r'TypeError: .*\(errors_test\.py, line'), (
    blamed('the model')):  # raised deep in a library
    jnp.zeros((2, (3,)))


def test_what_the_user_can_mend_passes():
  with pytest.raises(UserError, match=r'^mend it$'), blamed('the model'):
    raise UserError('mend it')


def test_the_nearest_choice_is_told():
  assert nearest('adm', ['adam', 'sgd']) == "; did you mean 'adam'?"
  assert nearest('xyz', ['adam', 'sgd']) == '; there is adam, sgd'
  assert nearest('xyz', []) == '; there is none'
