"""bigmodels.core.errors: what is told of an error that was not meant to be read."""

import errno
import os
import pathlib

import jax.numpy as jnp
import pytest

import bigmodels
from bigmodels.core.errors import UserError, blamed, listed, nearest, of_machine

CODE = pathlib.Path(bigmodels.__file__).parent


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


def test_long_lists_are_cut_short():
  assert listed('abcdefghij') == 'a, b, c, d, e, f, g, h and 2 more'
  assert listed(range(3), 2) == '0, 1 and 1 more'
  assert listed([]) == 'nothing'


def test_the_nearest_choice_is_told():
  assert nearest('adm', ['adam', 'sgd']) == "; did you mean 'adam'?"
  assert nearest('xyz', ['adam', 'sgd']) == '; there is adam, sgd'
  assert nearest('xyz', []) == '; there is none'


def _system(code, *name):
  return OSError(code, os.strerror(code), *name)


@pytest.mark.parametrize(('error', 'message'), [
  (_system(errno.ENOENT, '/home/a/x.csv'), '/home/a/x.csv: No such file or directory'),
  (_system(errno.EACCES, 'runs/a'), 'runs/a: Permission denied'),
  (_system(errno.ENAMETOOLONG, 'x'), 'x: File name too long'),
  (_system(errno.ELOOP, 'x'), 'x: Too many levels of symbolic links'),
  (_system(errno.ENOTDIR, b'x/y'), 'x/y: Not a directory'),
  (_system(errno.EISDIR, 'x'), 'x: Is a directory'),
  (_system(errno.EROFS, 'x'), 'x: Read-only file system'),
  (_system(errno.ENOSPC), 'OSError: [Errno 28] No space left on device'),
  (_system(errno.EMFILE), 'OSError: [Errno 24] Too many open files'),
  (_system(errno.EACCES, str(CODE / 'run.py')), 'run.py: Permission denied'),
  (MemoryError('17 GB'), 'out of memory: MemoryError: 17 GB'),
  (UnicodeEncodeError('utf-8', 'a\udcff', 1, 2, 'surrogates not allowed'),
   r"'a\udcff' is not UTF-8")])
def test_what_is_wrong_with_a_file_or_the_machine(error, message):
  try:
    raise error
  except Exception as raised:
    assert message in str(of_machine(raised, CODE))


@pytest.mark.parametrize('error', [
  ValueError('x'), KeyError('x'), OSError('in words'), _system(errno.EINVAL),
  _system(errno.ENOENT, str(CODE / 'gone.py')), _system(errno.ENOENT, os.__file__),
  _system(errno.ENOENT, '/a/site-packages/jax/x'), _system(errno.EBADF, 3),
  UnicodeEncodeError('ascii', 'ä', 0, 1, 'ordinal not in range'), RuntimeError()])
def test_what_may_be_wrong_with_the_code(error):
  assert of_machine(error, CODE) is None
