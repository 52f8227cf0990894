"""What is said when a TFDS dataset is not where it was looked for."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import train


def test_absent_empty_and_lacking(request_for, tmp_path):
  absent = tmp_path / 'absent'
  with pytest.raises(UserError) as error:
    train.run(request_for('mnist_cnn', tmp_path / 'a', data_dir=absent))
  assert f"looked for 'mnist' in {absent}, which is not a folder" in str(error.value)
  assert '--mode=download' in str(error.value)
  empty = tmp_path / 'empty'
  empty.mkdir()
  with pytest.raises(UserError, match='prepared there: nothing'):
    train.run(request_for('mnist_cnn', tmp_path / 'b', data_dir=empty))
  for version in ('3.0.2', '3.0.3.incompleteABC'):
    (empty / 'cifar10' / version).mkdir(parents=True)
    (empty / 'cifar10' / version / 'dataset_info.json').write_text('{}')
  with pytest.raises(UserError, match='prepared there: nothing'):  # half of it
    train.run(request_for('mnist_cnn', tmp_path / 'b', data_dir=empty))
  (empty / 'cifar10' / '3.0.2' / 'features.json').write_text('{}')
  with pytest.raises(UserError, match='prepared there: cifar10'):
    train.run(request_for('mnist_cnn', tmp_path / 'c', data_dir=empty))
  with pytest.raises(UserError, match='cannot be read'):
    train.run(request_for('cifar_cnn', tmp_path / 'd', data_dir=empty))


@pytest.mark.slow('train')
def test_real_mnist_decodes_once_and_trains(request_for, shared_tfds, tmp_path, capsys):
  for name in ('first', 'second'):
    train.run(request_for(
      'mnist_cnn', tmp_path / name, data_dir=shared_tfds, duration__steps=2,
      duration__epochs=None, model__widths='(2, 2, 2)', model__hidden='(4,)'))
    said = capsys.readouterr().out
    assert ('decoding 60,000 examples' in said) == (name == 'first')


def test_a_split_or_feature_that_is_not_there(request_for, shared_tfds, tmp_path):
  with pytest.raises(UserError, match="no split 'tests'; did you mean 'test'"):
    train.run(request_for('mnist_cnn', tmp_path / 'a', data_dir=shared_tfds,
                          evals__test__source__selected='tests'))
  with pytest.raises(UserError, match="no feature 'img'"):
    train.run(request_for('mnist_cnn', tmp_path / 'b', data_dir=shared_tfds,
                          train__source__inputs='img'))
