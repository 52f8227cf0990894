"""Decoding of images to the channels and the dtype that a dataset declares.

Values match TensorFlow's decoders, for which TFDS prepares datasets: 16 bits are
reduced to the upper 8, transparency is dropped, orientation and colour profiles are not
applied.
"""

import contextlib
import io

import numpy as np

# The formats of TensorFlow, and others that are plain data. Not EPS: Pillow passes it
# to Ghostscript, which executes it.
_FORMATS = ('PNG', 'JPEG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM', 'JPEG2000')
_MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}
_GREY = ('1', 'L', 'LA', 'La')
_ORIENTATION = 0x0112  # of EXIF


def decode(data: bytes, channels: int | None, dtype: np.dtype
           ) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns an image `[height, width, channels]`, and notes on what was converted.

  Args:
    data: the encoded image; only the first of several frames is read.
    channels: 1 for grey, 2 with transparency, 3 for RGB, 4 with transparency; None or
      0 for the channels of the image.
    dtype: uint8 or uint16.

  Returns:
    The image, and notes on changed values, which continue the text 'image'.

  Raises:
    ValueError, OSError: if it cannot be read, or the conversion is not defined.
  """
  from PIL import Image

  with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
    image.load()
    if image.mode == 'RGBA' and image.format == 'PNG' and data[25] == 4:
      image = _grey(image)
    mode = _MODES.get(channels or 0) or _own(image)
    notes = [*_as_stored(image)]
    if image.mode.startswith('I') or image.mode == 'F':
      bits = _bits(image, data)
      grey = np.asarray(image).astype(np.int64)
      if not 0 <= grey.min() <= grey.max() < 2**bits:
        raise ValueError(f'values of {grey.min()} to {grey.max()} in {bits} bits')
      if dtype == np.uint16 and channels == 1:
        return (grey << (16 - bits)).astype(np.uint16)[..., None], tuple(notes)
      notes.append(f'of mode {image.mode} scaled to 8 bits')
      if 'transparency' in image.info:
        notes.append(f'of mode {image.mode} stripped of transparency')
      image = Image.fromarray((grey >> (bits - 8)).astype(np.uint8))
    elif _is_deep(image, data):
      if dtype == np.uint16:
        raise ValueError(f'mode {image.mode} with 16 bits, of which Pillow reads 8')
      notes.append(f'of mode {image.mode} with 16 bits scaled to 8 bits')
    if mode in ('L', 'RGB') and _is_transparent(image):
      notes.append(f'of mode {image.mode} stripped of transparency')
    if image.mode not in (*_GREY, 'P', 'PA', 'RGB', 'RGBA') or (
      mode in ('L', 'LA') and image.mode not in _GREY):
      notes.append(f'of mode {image.mode} turned to {mode}')
    array = np.asarray(image.convert(mode))
    if dtype == np.uint16:
      notes.append(f'of mode {image.mode} scaled to 16 bits')
      array = array.astype(np.uint16) * 257
    return array.reshape(*array.shape[:2], -1), tuple(notes)


def _own(image) -> str:
  """The mode of an image without its palette."""
  if image.mode in ('P', 'PA'):
    return 'RGBA' if 'transparency' in image.info or image.mode == 'PA' else 'RGB'
  if image.mode.startswith('I') or image.mode == 'F':
    return 'L'
  return {'1': 'L', 'La': 'LA', 'RGBa': 'RGBA'}.get(
    image.mode, image.mode if image.mode in _MODES.values() else 'RGB')


def _grey(image):
  """A grey 16-bit PNG with transparency, which Pillow reads as RGBA, as grey."""
  grey, kind = image.convert('LA'), image.format
  grey.info, grey.format = image.info, kind
  return grey


def _as_stored(image):
  """Yields notes on data that is read as stored, where a viewer would convert it."""
  if getattr(image, 'is_animated', False) and image.format != 'MPO':
    yield 'with several frames cut to the first'
  with contextlib.suppress(Exception):  # a damaged EXIF does not damage the image
    if 'exif' in image.info and image.getexif().get(_ORIENTATION, 1) != 1:
      yield 'with an EXIF orientation read as stored'


def _bits(image, data: bytes) -> int:
  """The number of bits of the values of an image in mode I or I;16.

  Raises:
    ValueError: if its format does not say.
  """
  if image.mode != 'F':
    if image.format == 'PNG':
      return data[24]
    if image.format in ('PPM', 'JPEG2000'):
      return 16  # Pillow scales them to that
    if image.format == 'TIFF' and image.mode.startswith('I;16'):
      return int(np.ravel(image.tag_v2.get(258, 16))[0])
  raise ValueError(f'mode {image.mode} of {image.format} has no defined range of '
                   'values to be scaled')


def _is_deep(image, data: bytes) -> bool:
  """Whether several channels have 16 bits each, of which Pillow reads the upper 8."""
  if image.format == 'TIFF':
    return int(np.max(image.tag_v2.get(258, 8))) > 8
  return image.format == 'PNG' and data[24] == 16


def _is_transparent(image) -> bool:
  if 'transparency' in image.info:
    return True
  return image.mode in ('LA', 'La', 'PA', 'RGBA', 'RGBa') and (
    image.getchannel(image.getbands()[-1]).getextrema()[0] < 255)
