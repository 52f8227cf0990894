"""bigmodels.core.errors: what users see of errors."""

import errno
import os
import pathlib

import jax.numpy as jnp
import pytest

import bigmodels
from bigmodels.core.errors import (
  UserError,
  as_user_error,
  did_you_mean,
  listed,
  nearest,
  of_machine,
  why_unwritable,
)

CODE = pathlib.Path(bigmodels.__file__).parent


def test_the_message_of_a_value_error_stays_as_it_is():
  with pytest.raises(UserError, match=r'^the model: width: must be >= 1, got 0$'), (
    as_user_error('the model')):
    raise ValueError('width: must be >= 1, got 0\n--------\nFor simplicity, JAX ...')


def test_other_errors_come_with_their_type_and_the_line_in_our_code():
  with pytest.raises(UserError, match=r'^the model: ZeroDivisionError: division by '
                     r'zero \(errors_test\.py, line \d+; --verbosity=1'), (
    as_user_error('the model')):
    1 / 0  # noqa: B018
  with pytest.raises(UserError, match=r'TypeError: .*\(errors_test\.py, line'), (
    as_user_error('the model')):  # raised deep in a library
    jnp.zeros((2, (3,)))


def test_a_user_error_passes_unchanged():
  with pytest.raises(UserError, match=r'^fix it$'), as_user_error('the model'):
    raise UserError('fix it')


def test_long_lists_are_cut_short():
  assert listed('abcdefghij') == 'a, b, c, d, e, f, g, h and 2 more'
  assert listed(range(3), 2) == '0, 1 and 1 more'
  assert listed([]) == 'nothing'


def test_the_nearest_choice_is_suggested():
  assert nearest('adm', ['adam', 'sgd']) == "; did you mean 'adam'?"
  assert nearest('xyz', ['adam', 'sgd']) == '; choose from adam, sgd'
  assert nearest('xyz', []) == '; there are none'
  names = [f'{number:04}' for number in range(5000)]
  assert nearest('xyz', names).endswith(', 0098, 0099 and 4,900 more')
  assert did_you_mean('Adm', iter(['adam', 'sgd'])) == "; did you mean 'adam'?"
  assert did_you_mean('xyz', ['adam', 'meanly']) == ''


@pytest.mark.parametrize('error, why', [
  (OSError(errno.ENOSPC, 'x'), 'No space left on device'),
  (OSError(errno.EDQUOT, 'x'), 'Disk quota exceeded'),
  (ValueError('tensorstore: Read-only file system [in write]'),
   'Read-only file system'), (OSError(errno.EIO, 'Input/output error'), None),
  (KeyError('x'), None), (None, None)])
def test_a_disk_that_cannot_be_written_is_found_in_a_cause_too(error, why):
  assert why_unwritable(error) == why
  outer = RuntimeError('cannot save')
  outer.__cause__ = error
  assert why_unwritable(outer) == why


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
