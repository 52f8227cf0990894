"""Decoding of images to the channels and the dtype that a dataset declares.

Values match TensorFlow's decoders, for which TFDS prepares datasets: 16 bits are
reduced to the upper 8, transparency is dropped, colour profiles are not applied. An
EXIF orientation is applied if asked for.
"""

import contextlib
import io
import struct
import zlib
from typing import NamedTuple

import numpy as np

# The formats of TensorFlow, and others that are plain data. Not EPS: Pillow passes it
# to Ghostscript, which executes it.
_FORMATS = ('PNG', 'JPEG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM', 'JPEG2000')
_MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}
_GREY = ('1', 'L', 'LA', 'La')
_PNG = b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR'
_ORIENTATION = 0x0112  # of EXIF
_TURNED = {  # EXIF orientation -> the image as it is to be seen
  2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
  5: lambda x: x.swapaxes(0, 1), 6: lambda x: x.swapaxes(0, 1)[:, ::-1],
  7: lambda x: x.swapaxes(0, 1)[::-1, ::-1], 8: lambda x: x.swapaxes(0, 1)[::-1]}


class Header(NamedTuple):
  """What the beginning of a file says of an image.

  Attributes:
    height, width: in pixels, as the image is to be seen.
    grey: whether it has no colours; a palette counts as colours.
  """

  height: int
  width: int
  grey: bool


def header(data: bytes) -> Header:
  """Returns the size of an encoded image, with its EXIF orientation applied.

  Raises:
    ValueError, OSError: if it is not an image.
  """
  if found := _jpeg_header(data):
    return found
  with _opened(data) as image:
    if image.format == 'TIFF':
      image.load()  # Pillow orients these, some releases when opened
    width, height = image.size
    if _orientation(image) > 4:
      width, height = height, width
    return Header(height, width, _own(image) in ('L', 'LA'))


def _jpeg_header(data: bytes) -> Header | None:
  """The header of a grey or colour JPEG without EXIF data; None for other files.

  Ten times as fast as by Pillow.
  """
  at = 2
  while data.startswith(b'\xff\xd8\xff') and at + 10 <= len(data) and data[at] == 0xff:
    marker = data[at + 1]
    if 0xc0 <= marker <= 0xcf and marker not in (0xc4, 0xc8, 0xcc):  # start of frame
      height, width = (int.from_bytes(data[n : n + 2]) for n in (at + 5, at + 7))
      usual = height and width and data[at + 4] == 8 and data[at + 9] in (1, 3)
      return Header(height, width, data[at + 9] == 1) if usual else None
    if marker == 0xe1 or not 0xc0 <= marker <= 0xfe:  # EXIF data, or fill bytes
      return None
    at += 2 + int.from_bytes(data[at + 2 : at + 4])
  return None


def _is_large(pixels: int) -> bool:
  """Whether `Image.open` warns of an image of so many pixels, or refuses it."""
  from PIL import Image

  return Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS


def _plain_jpeg(data: bytes, mode: str | None):
  """A JPEG that needs no conversion, in half the time of `Image.open`; or None.

  Damaged files are left to `Image.open`, for its messages.
  """
  from PIL import Image

  header = _jpeg_header(data)
  if header is None or _is_large(header.height * header.width):
    return None
  own = 'L' if header.grey else 'RGB'
  if mode not in (None, own):
    return None
  try:
    return Image.frombytes(own, header[1::-1], data, 'jpeg', own, '')
  except Exception:
    return None


def _plain_png(data: bytes, mode: str | None):
  """As `_plain_jpeg`, of a grey or colour PNG of 8 bits with nothing beside its pixels.

  Its checksums are compared, as `Image.open` does.
  """
  from PIL import Image

  width, height, *form = struct.unpack('>IIBBBBB', data[16:29])
  own = {0: 'L', 2: 'RGB'}.get(form[1])
  if own is None or form != [8, form[1], 0, 0, 0] or mode not in (None, own) or (
    not width * height or _is_large(width * height)):
    return None
  at, pixels = 8, []
  while at + 12 <= len(data):
    size, kind = struct.unpack_from('>I4s', data, at)
    content = data[at + 8 : at + 8 + size]
    if data[at + 8 + size : at + 12 + size] != struct.pack(
      '>I', zlib.crc32(content, zlib.crc32(kind))):
      return None
    if kind == b'IDAT':
      pixels.append(content)
    elif kind == b'IEND':
      break
    elif kind != b'IHDR':
      return None
    at += 12 + size
  else:  # it ends before its end
    return None
  try:
    return Image.frombytes(own, (width, height), b''.join(pixels), 'zip', own, 0)
  except Exception:
    return None


def _opened(data: bytes):
  """An image whose pixels are not yet decoded."""
  from PIL import Image, UnidentifiedImageError

  try:
    return Image.open(io.BytesIO(data), formats=_FORMATS)
  except UnidentifiedImageError:  # its message has an address
    raise UnidentifiedImageError('cannot identify image file') from None
  except Image.DecompressionBombError as error:
    raise ValueError(str(error)) from None


def decode(data: bytes, channels: int | None, dtype: np.dtype, *,
           orient: bool = False) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns an image `[height, width, channels]`, and notes on what was converted.

  Args:
    data: the encoded image; only the first of several frames is read.
    channels: 1 for grey, 2 with transparency, 3 for RGB, 4 with transparency; None or
      0 for the channels of the image.
    dtype: uint8 or uint16.
    orient: whether to apply an EXIF orientation.

  Returns:
    The image, and notes on changed values, which continue the text 'image'.

  Raises:
    ValueError, OSError: if it cannot be read, or the conversion is not defined.
  """
  from PIL import Image

  fast = _plain_png if data.startswith(_PNG) and len(data) > 33 else _plain_jpeg
  if dtype == np.uint8 and (plain := fast(data, _MODES.get(channels or 0))):
    array = np.asarray(plain)
    return array.reshape(*array.shape[:2], -1), ()
  with _opened(data) as image:
    image.load()
    orientation = _orientation(image)
    turned = _TURNED.get(orientation if orient else 1, np.asarray)
    if image.mode == 'RGBA' and image.format == 'PNG' and data[25] == 4:
      image = _grey(image)
    mode = _MODES.get(channels or 0) or _own(image)
    notes = []
    if getattr(image, 'is_animated', False) and image.format != 'MPO':
      notes.append('with several frames cut to the first')
    if orientation != 1 and not orient:
      notes.append('with an EXIF orientation read as stored')
    if image.mode.startswith('I') or image.mode == 'F':
      bits = _bits(image, data)
      grey = np.asarray(image).astype(np.int64)
      if not 0 <= grey.min() <= grey.max() < 2**bits:
        raise ValueError(f'values of {grey.min()} to {grey.max()} in {bits} bits')
      if dtype == np.uint16 and channels == 1:
        grey = (grey << (16 - bits)).astype(np.uint16)
        return turned(grey[..., None]), tuple(notes)
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
    array = np.asarray(image if image.mode == mode else image.convert(mode))
    if dtype == np.uint16:
      notes.append(f'of mode {image.mode} scaled to 16 bits')
      array = array.astype(np.uint16) * 257
    return turned(array.reshape(*array.shape[:2], -1)), tuple(notes)


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


def _orientation(image) -> int:
  """The EXIF orientation, from 1 to 8; 1 is as stored, and for TIFF."""
  with contextlib.suppress(Exception):  # a damaged EXIF does not damage the image
    if 'exif' in image.info:
      found = image.getexif().get(_ORIENTATION, 1)
      return found if found in _TURNED else 1
  return 1


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
