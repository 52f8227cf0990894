"""Tests of bigmodels.data.image_decoding: every kind of image has its values.

PNG files of kinds that Pillow does not write are put together here by hand.
"""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bigmodels.data import image_decoding

# 8 x 8 images: 16 bits over all their range, and the upper bytes of it.
DEEP = (np.arange(64, dtype=np.uint16) * 1024 + 37).reshape(8, 8)
UPPER = (np.arange(64) * 4).reshape(8, 8).astype(np.uint8)  # 37 + 256 * 4n, by 256
RED, GREEN, BLUE = 200, 100, 50
LUMA = round(0.299 * RED + 0.587 * GREEN + 0.114 * BLUE)  # ITU-R 601


def saved(image, kind='PNG', **options):
  image.save(file := io.BytesIO(), kind, **options)
  return file.getvalue()


def png(pixels, depth, colour, *, chunks=()):
  """A PNG file, pixels `[height, width, channels]` in a byte or two, or packed."""
  rows = np.asarray(pixels)
  height = len(rows)
  width = rows.shape[1] if depth >= 8 else rows.shape[1] * 8 // depth
  raw = b''.join(b'\0' + row.astype('>u2' if depth == 16 else np.uint8).tobytes()
                 for row in rows)
  parts = [(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)),
           *chunks, (b'IDAT', zlib.compress(raw)), (b'IEND', b'')]
  return b'\x89PNG\r\n\x1a\n' + b''.join(
    struct.pack('>I', len(data)) + name + data
    + struct.pack('>I', zlib.crc32(name + data)) for name, data in parts)


def tiff(values, bits):
  """A TIFF file of grey values `[8, 8]` of some bits, packed."""
  packed = np.packbits((values[..., None] >> np.arange(bits)[::-1] & 1).reshape(8, -1)
                       .astype(np.uint8), axis=1).tobytes()
  tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: 1, 273: 122, 277: 1, 278: 8,
          279: len(packed)}
  return b'II*\0' + struct.pack('<IH', 8, len(tags)) + b''.join(
    struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags.items()
  ) + struct.pack('<I', 0) + packed


def plain(value, mode):
  return Image.new(mode, (8, 8), value)


def rgb(red=RED, green=GREEN, blue=BLUE):
  return np.broadcast_to(np.uint8([red, green, blue]), (8, 8, 3))


def grey(value):
  return np.full((8, 8, 1), value, np.uint8)


def stack(*channels):
  return np.stack(np.broadcast_arrays(*channels), -1).astype(np.uint8)


def half(mode):
  """One colour, of which the left half cannot be seen."""
  image = plain({'LA': (60, 255), 'RGBA': (RED, GREEN, BLUE, 255)}[mode], mode)
  alpha = np.full((8, 8), 255, np.uint8)
  alpha[:, :4] = 0
  image.putalpha(Image.fromarray(alpha))
  return image


def palette(**options):
  image = plain(1, 'P')
  image.putpalette([0, 0, 0, RED, GREEN, BLUE])
  return saved(image, **options)


def orientation(kind):
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned by a quarter
  image = Image.fromarray(stack(UPPER, UPPER, UPPER))
  return saved(image, kind, exif=exif.tobytes(), **(
    {'quality': 100} if kind == 'JPEG' else {}))


def frames(kind, mode='RGB', **options):
  return saved(plain((RED, GREEN, BLUE), mode), kind, save_all=True,
               append_images=[plain((0, 0, 0), mode)], **options)


def deep(*channels):
  return png(np.stack([np.broadcast_to(c, (8, 8)) for c in channels], -1), 16,
             {1: 0, 2: 4, 3: 2, 4: 6}[len(channels)])


BIG = np.uint16(300)  # whose upper byte is 1
PACKED = np.arange(8, dtype=np.uint8)[:, None].repeat(2, 1)  # rows of two bytes
PGM = b'P5\n8 8\n65535\n' + DEEP.astype('>u2').tobytes()

# name -> file, channels, its values, what is said
KINDS = {
  'grey of 16 bits': (deep(DEEP), 1, UPPER[..., None], 'of mode I;16 scaled to 8 bits'),
  'grey of 16 bits for RGB': (deep(DEEP), 3, stack(UPPER, UPPER, UPPER),
                              'of mode I;16 scaled to 8 bits'),
  'grey of 16 bits for RGBA': (deep(DEEP), 4, stack(UPPER, UPPER, UPPER, 255),
                               'of mode I;16 scaled to 8 bits'),
  'grey of 16 bits for any': (deep(DEEP), None, UPPER[..., None],
                              'of mode I;16 scaled to 8 bits'),
  'grey of 16 bits, all dark': (deep(np.full((8, 8), 255)), 1, grey(0),
                                'of mode I;16 scaled to 8 bits'),
  'grey of 16 bits, white': (deep(np.full((8, 8), 65535)), 1, grey(255),
                             'of mode I;16 scaled to 8 bits'),
  'written by Pillow as I;16': (saved(Image.fromarray(DEEP)), 1, UPPER[..., None],
                                'of mode I;16 scaled to 8 bits'),
  'TIFF of 16 bits': (saved(Image.fromarray(DEEP), 'TIFF'), 1, UPPER[..., None],
                      'of mode I;16 scaled to 8 bits'),
  'TIFF of 16 bits, big-endian': (
    saved(Image.frombytes('I;16B', (8, 8), DEEP.astype('>u2').tobytes()), 'TIFF'), 1,
    UPPER[..., None], 'of mode I;16B scaled to 8 bits'),
  'TIFF of 12 bits': (tiff(DEEP >> 4, 12), 1, UPPER[..., None],
                      'of mode I;16 scaled to 8 bits'),
  'PGM of 16 bits': (PGM, 1, UPPER[..., None], 'of mode I scaled to 8 bits'),
  'RGB of 16 bits': (deep(DEEP, BIG, BIG * 3), 3, stack(UPPER, 1, 3),
                     'of mode RGB with 16 bits scaled to 8 bits'),
  'RGBA of 16 bits': (deep(DEEP, BIG, BIG * 3, 65535), 4, stack(UPPER, 1, 3, 255),
                      'of mode RGBA with 16 bits scaled to 8 bits'),
  'RGBA of 16 bits for RGB': (
    deep(DEEP, BIG, BIG * 3, 9000), 3, stack(UPPER, 1, 3),
    ('of mode RGBA with 16 bits scaled to 8 bits',
     'of mode RGBA stripped of transparency')),
  'grey and alpha of 16 bits': (deep(DEEP, 65535), 1, UPPER[..., None],
                                'of mode LA with 16 bits scaled to 8 bits'),
  '1 bit': (png(PACKED, 1, 0), 1, np.unpackbits(PACKED, axis=1)[..., None] * 255, ()),
  '1 bit for RGB': (
    png(PACKED, 1, 0), 3, np.unpackbits(PACKED, axis=1)[..., None].repeat(3, 2) * 255,
    ()),
  '2 bits': (png(np.full((8, 2), 0b00011011), 2, 0), 1,
             np.tile(np.uint8([0, 85, 170, 255]), (8, 2))[..., None], ()),
  '4 bits': (png(np.full((8, 4), 0x1f), 4, 0), 1,
             np.tile(np.uint8([17, 255]), (8, 4))[..., None], ()),
  'grey': (saved(plain(60, 'L')), 1, grey(60), ()),
  'grey for RGB': (saved(plain(60, 'L')), 3, rgb(60, 60, 60), ()),
  'colours': (saved(plain((RED, GREEN, BLUE), 'RGB')), 3, rgb(), ()),
  'colours for grey': (saved(plain((RED, GREEN, BLUE), 'RGB')), 1, grey(LUMA),
                       'of mode RGB turned to L'),
  'colours for RGBA': (saved(plain((RED, GREEN, BLUE), 'RGB')), 4,
                       stack(RED, GREEN, BLUE, np.full((8, 8), 255)), ()),
  'alpha for RGB': (saved(half('RGBA')), 3, rgb(),
                    'of mode RGBA stripped of transparency'),
  'alpha that hides nothing': (saved(plain((RED, GREEN, BLUE, 255), 'RGBA')), 3, rgb(),
                               ()),
  'grey and alpha for grey': (saved(half('LA')), 1, grey(60),
                              'of mode LA stripped of transparency'),
  'grey and alpha for RGB': (saved(half('LA')), 3, rgb(60, 60, 60),
                             'of mode LA stripped of transparency'),
  'grey and alpha': (saved(half('LA')), 2, np.asarray(half('LA')), ()),
  'a palette': (palette(), 3, rgb(), ()),
  'a palette for any': (palette(), None, rgb(), ()),
  'a palette for grey': (palette(), 1, grey(LUMA), 'of mode P turned to L'),
  'a palette with a colour that is transparent': (
    palette(transparency=1), 3, rgb(), 'of mode P stripped of transparency'),
  'a transparent palette for RGBA': (
    palette(transparency=1), 4, stack(RED, GREEN, BLUE, np.zeros((8, 8))), ()),
  'a colour that is transparent': (
    saved(plain((RED, GREEN, BLUE), 'RGB'), transparency=(RED, GREEN, BLUE)), 3, rgb(),
    'of mode RGB stripped of transparency'),
  'CMYK': (  # (255 - c) * (255 - k) / 255
    saved(plain((55, 155, 205, 51), 'CMYK'), 'TIFF'), 3,
    rgb(*[round(v * 204 / 255) for v in (200, 100, 50)]),
    'of mode CMYK turned to RGB'),
  'an orientation': (orientation('PNG'), 3, stack(UPPER, UPPER, UPPER),
                     'with an EXIF orientation read as stored'),
  'frames of a GIF': (frames('GIF'), 3, rgb(), 'with several frames cut to the first'),
  'frames of a PNG': (frames('PNG'), 3, rgb(), 'with several frames cut to the first'),
  'gamma': (png(rgb(), 8, 2, chunks=[(b'gAMA', struct.pack('>I', 100_000))]), 3, rgb(),
            ()),
}


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_has_its_values(kind):
  data, channels, expected, notes = KINDS[kind]
  found, said = image_decoding.decode(data, channels, np.dtype(np.uint8))
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, expected)
  assert said == ((notes,) if isinstance(notes, str) else notes)


@pytest.mark.parametrize(('data', 'channels', 'expected', 'notes'), [
  (deep(DEEP), 1, DEEP[..., None], ()),
  (saved(Image.fromarray(UPPER)), 1, UPPER[..., None] * np.uint16(257),
   ('of mode L scaled to 16 bits',)),
  (saved(plain((RED, GREEN, BLUE), 'RGB')), 3, rgb() * np.uint16(257),
   ('of mode RGB scaled to 16 bits',))])
def test_16_bits_where_they_are_declared(data, channels, expected, notes):
  found, said = image_decoding.decode(data, channels, np.dtype(np.uint16))
  assert found.dtype == np.uint16 and said == notes
  np.testing.assert_array_equal(found, expected)


def test_jpeg_orientation_and_cmyk():
  """As near as JPEG comes."""
  found, said = image_decoding.decode(orientation('JPEG'), 3, np.dtype(np.uint8))
  np.testing.assert_allclose(found, stack(UPPER, UPPER, UPPER), atol=3)
  assert said == ('with an EXIF orientation read as stored',)
  data = saved(plain((55, 155, 205, 51), 'CMYK'), 'JPEG', quality=100)
  found, said = image_decoding.decode(data, 3, np.dtype(np.uint8))
  np.testing.assert_allclose(found, rgb(160, 80, 40), atol=3)
  assert said == ('of mode CMYK turned to RGB',)


# name -> file, type, what is said
NONE = {
  'floats': (saved(plain(0.5, 'F'), 'TIFF'), np.uint8, 'F of TIFF has no def'),
  '32 bits': (saved(plain(70_000, 'I'), 'TIFF'), np.uint8, 'mode I of TIFF has no def'),
  'colours of 16 bits as such': (deep(DEEP, BIG, BIG), np.uint16,
                                 'mode RGB with 16 bits, of which Pillow reads 8'),
  'a program': (saved(plain((RED, GREEN, BLUE), 'RGB'), 'EPS'), np.uint8,
                'cannot identify'),
  'PostScript': (b'%!PS-Adobe-3.0 EPSF-3.0\n', np.uint8, 'cannot identify'),
  'nothing': (b'', np.uint8, 'cannot identify'),
  'text': (b'no image', np.uint8, 'cannot identify'),
  'a truncated PNG': (deep(DEEP)[:80], np.uint8, '[Tt]runcated'),
  'a truncated JPEG': (saved(plain((1, 2, 3), 'RGB'), 'JPEG')[:-100], np.uint8,
                       '[Tt]runcated'),
  'a truncated GIF': (frames('GIF')[:40], np.uint8, '[Tt]runcated'),
}


@pytest.mark.parametrize('kind', NONE)
def test_what_cannot_be_converted_is_an_error(kind):
  data, dtype, said = NONE[kind]
  with pytest.raises((ValueError, OSError), match=said):
    image_decoding.decode(data, 3, np.dtype(dtype))


@pytest.mark.parametrize(('mode', 'channels'), [('L', 1), ('RGB', 3), ('LA', 2)])
def test_every_png_is_decoded_as_by_pillow_or_refused(mode, channels):
  rng = np.random.default_rng(0)
  array = rng.integers(0, 256, (9, 7, channels)).astype(np.uint8).squeeze()
  with io.BytesIO() as file:
    Image.fromarray(array, mode).save(file, 'PNG')
    data = file.getvalue()
  decoded, notes = image_decoding.decode(data, channels, np.uint8)
  np.testing.assert_array_equal(decoded, array.reshape(decoded.shape))
  assert notes == ()
  # A byte that is changed, or a file that ends early: its pixels are right or it fails.
  for at in range(8, len(data)):
    changed = bytearray(data)
    changed[at] ^= 255
    for damaged in (bytes(changed), data[:at]):
      with contextlib.suppress(ValueError, OSError, SyntaxError):
        decoded, _ = image_decoding.decode(damaged, channels, np.uint8)
        np.testing.assert_array_equal(decoded, array.reshape(decoded.shape))
