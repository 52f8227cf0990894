"""YCbCr of 8 bits, ITU-R BT.601, as MATLAB's `rgb2ycbcr`.

The luma Y is 16 for black and 235 for white; Cb and Cr are 128 for grey. The functions
take arrays of NumPy or JAX.
"""

from typing import Any

import numpy as np

_MATRIX = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0],
                    [112.0, -93.786, -18.214]]) / 255
_OFFSET = np.array([16.0, 128.0, 128.0])


def from_rgb(rgb: Any) -> Any:
  """Returns Y, Cb and Cr, not rounded, of RGB from 0 to 255: `[..., 3]`."""
  return rgb @ _MATRIX.T.astype(rgb.dtype) + _OFFSET.astype(rgb.dtype)


def to_rgb(ycbcr: Any) -> Any:
  """Returns RGB, neither rounded nor clipped, of Y, Cb and Cr: `[..., 3]`."""
  inverse = np.linalg.inv(_MATRIX).T.astype(ycbcr.dtype)
  return (ycbcr - _OFFSET.astype(ycbcr.dtype)) @ inverse
