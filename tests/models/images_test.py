"""Tests of bigmodels.models.images."""

import numpy as np
import pytest

from bigmodels.models.images import check_images


@pytest.mark.parametrize('size', [(8, 9, 3), (2, 8, 9, 3, 1), (64,), (2, 7, 9, 3),
                                  (2, 9, 7, 3)])
def test_errors_name_both_shapes(size):
  with pytest.raises(ValueError) as error:
    check_images('model', np.zeros(size), 8)
  assert str(error.value) == (
    'str needs images [batch, height, width, channels] of at least 8x8 pixels, got '
    f'{size}')


def test_images_pass():
  check_images('model', np.zeros((2, 8, 9, 3)), 8)
