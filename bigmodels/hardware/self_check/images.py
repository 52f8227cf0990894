"""Our layers of images and their gradients, against loops over the windows' taps."""

import itertools

import numpy as np

from bigmodels.hardware.self_check.program import (
  Program,
  cotangent,
  normal,
  positive,
  with_differences,
  with_gradients,
)
from bigmodels.layers import convolution, normalization, pooling
from bigmodels.layers.cpu import convolution as cpu


def _windows(x, kernel_size, strides, pads):
  """For each tap of the window: what it sees, `[batch, rows, columns, channels]`."""
  x = np.pad(x, ((0, 0), *pads, (0, 0)))
  rows, columns = ((n - k) // s + 1 for n, k, s in zip(
    x.shape[1:3], kernel_size, strides, strict=True))
  for i, j in itertools.product(*map(range, kernel_size)):
    yield (i, j), x[:, i: i + strides[0] * rows: strides[0],
                    j: j + strides[1] * columns: strides[1]]


def convolve(x, kernel, strides, pads):
  """A cross-correlation, `[batch, out_height, out_width, out]`.

  Args:
    x: images, `[batch, height, width, in]`.
    kernel: `[h, w, in, out]`.
    strides: (vertical, horizontal).
    pads: zeros, ((above, below), (left, right)).
  """
  return sum(part @ kernel[tap] for tap, part in _windows(
    x, kernel.shape[:2], strides, pads))


def by_kernel(x, cotangent, kernel_size, strides, pads):
  """Gradient of `convolve` by the kernel, `[h, w, in, out]`.

  Args:
    x: images, `[batch, height, width, in]`.
    cotangent: `[batch, out_height, out_width, out]`.
    kernel_size: (h, w).
    strides: (vertical, horizontal).
    pads: zeros, ((above, below), (left, right)).
  """
  found = [np.einsum('nyxi,nyxo->io', part, cotangent) for _, part in _windows(
    x, kernel_size, strides, pads)]
  return np.stack(found).reshape(*kernel_size, *found[0].shape)


def by_images(cotangent, kernel, size, strides, pads):
  """Gradient of `convolve` by the images, `[batch, *size, in]`.

  Args:
    cotangent: `[batch, out_height, out_width, out]`.
    kernel: `[h, w, in, out]`.
    size: (height, width).
    strides: (vertical, horizontal).
    pads: zeros, ((above, below), (left, right)).
  """
  found = np.zeros((len(cotangent), *(n + sum(p) for n, p in zip(
    size, pads, strict=True)), kernel.shape[2]))
  rows, columns = cotangent.shape[1:3]
  for i, j in itertools.product(*map(range, kernel.shape[:2])):
    found[:, i: i + strides[0] * rows: strides[0],
          j: j + strides[1] * columns: strides[1]] += cotangent @ kernel[i, j].T
  return found[:, pads[0][0]: pads[0][0] + size[0], pads[1][0]: pads[1][0] + size[1]]


def _outputs(size, kernel_size, strides, pads):
  return tuple((n + sum(p) - k) // s + 1 for n, k, s, p in zip(
    size, kernel_size, strides, pads, strict=True))


def _same(size, kernel_size, strides):
  """Zeros (before, after) along both axes, as in TensorFlow."""
  whole = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(
    size, kernel_size, strides, strict=True)]
  return tuple((n // 2, n - n // 2) for n in whole)


def _conv(batch, size, channels, kernel_size, out, strides=(1, 1), padding='SAME',
          function=convolution.conv, dtype='float32') -> Program:
  """A convolution and both of its gradients."""
  pads = {'SAME': _same(size, kernel_size, strides), 'VALID': ((0, 0),) * 2}.get(
    padding) or ((padding,) * 2,) * 2
  outputs = _outputs(size, kernel_size, strides, pads)
  sizes = ' x '.join(map(str, (batch, *size, channels)))
  return Program(
    f'{function.__name__} of {dtype} {sizes}, window {kernel_size} to {out}, strides '
    f'{strides}, {padding}, with gradients',
    with_gradients(lambda x, kernel: function(
      x, kernel, strides=strides, padding=padding) if function is convolution.conv
      else function(x, kernel, strides, pads)),
    lambda c, x, kernel: (convolve(x, kernel, strides, pads),
                          by_images(c, kernel, size, strides, pads),
                          by_kernel(x, c, kernel_size, strides, pads)),
    (cotangent(batch, *outputs, out, dtype=dtype),
     normal(batch, *size, channels, dtype=dtype),
     normal(*kernel_size, channels, out, dtype=dtype)),
    terms=1 if dtype == 'bfloat16' else batch * outputs[0] * outputs[1], rounding=dtype)


_CONVOLUTIONS = (
  _conv(3, (9, 8), 5, (3, 3), 7),
  _conv(3, (8, 8), 16, (3, 3), 8),
  _conv(2, (11, 7), 5, (3, 3), 6, (2, 2)),
  _conv(2, (12, 12), 4, (5, 5), 3, (1, 1), 'VALID'),
  _conv(2, (9, 11), 6, (3, 3), 5, (2, 1), 1),
  _conv(2, (10, 9), 3, (4, 4), 6, (3, 2), 'SAME'),
  _conv(5, (13, 13), 1, (3, 3), 4),
  _conv(4, (7, 7), 12, (1, 1), 9),
  _conv(4, (9, 9), 12, (1, 1), 9, (2, 2)),
  _conv(3, (2, 2), 6, (3, 3), 5),
  _conv(17, (28, 28), 3, (5, 5), 8),
  _conv(33, (14, 14), 8, (3, 3), 16),
  _conv(3, (9, 8), 5, (3, 3), 7, function=cpu.conv_by_lax),
  _conv(2, (11, 7), 5, (3, 3), 6, (2, 2), function=cpu.conv_by_lax),
  _conv(3, (9, 8), 8, (3, 3), 16, dtype='bfloat16'),
)


def _depthwise(x, kernel, strides, pads):
  return sum(part * kernel[tap][0] for tap, part in _windows(
    x, kernel.shape[:2], strides, pads))


def _depthwise_gradients(c, x, kernel, strides, pads):
  by_kernel = [np.einsum('nyxi,nyxi->i', part, c) for _, part in _windows(
    x, kernel.shape[:2], strides, pads)]
  by_images = [_image_by(c[..., i:i + 1], kernel[..., i:i + 1], x, strides, pads)
               for i in range(x.shape[3])]
  return (_depthwise(x, kernel, strides, pads), np.concatenate(by_images, -1),
          np.stack(by_kernel).reshape(kernel.shape))


def _image_by(cotangent, kernel, x, strides, pads):
  return by_images(cotangent, kernel, x.shape[1:3], strides, pads)


def _transposed(c, x, kernel):
  """A window of 4, strides of 2, 1 pixel cropped: `x` is the cotangent of images."""
  strides, pads = (2, 2), ((1, 1),) * 2
  size = tuple(2 * n for n in x.shape[1:3])
  return (by_images(x, kernel, size, strides, pads),
          convolve(c, kernel, strides, pads),
          by_kernel(c, x, kernel.shape[:2], strides, pads))


_OTHER_CONVOLUTIONS = (
  Program('depthwise convolution, with gradients',
          with_gradients(lambda x, k: convolution.conv(x, k, padding=1, groups=7)),
          lambda c, x, k: _depthwise_gradients(c, x, k, (1, 1), ((1, 1),) * 2),
          (cotangent(3, 9, 8, 7), normal(3, 9, 8, 7), normal(3, 3, 1, 7)),
          terms=3 * 72),
  Program('depthwise convolution, strides of 2, with gradients',
          with_gradients(lambda x, k: convolution.conv(
            x, k, strides=(2, 2), padding=1, groups=5)),
          lambda c, x, k: _depthwise_gradients(c, x, k, (2, 2), ((1, 1),) * 2),
          (cotangent(3, 5, 4, 5), normal(3, 9, 8, 5), normal(3, 3, 1, 5)), terms=60),
  Program('convolution of 2 groups',
          lambda x, k: convolution.conv(x, k, groups=2),
          lambda x, k: np.concatenate([
            convolve(part, kernel, (1, 1), ((1, 1),) * 2) for part, kernel in zip(
              np.split(x, 2, 3), np.split(k, 2, 3), strict=True)], 3),
          (normal(3, 9, 8, 6), normal(3, 3, 3, 10)), terms=27),
  Program('transposed convolution, with gradients',
          with_gradients(lambda x, k: convolution.conv_transpose(
            x, k, strides=(2, 2), padding=1)), _transposed,
          (cotangent(3, 14, 10, 4), normal(3, 7, 5, 6), normal(4, 4, 4, 6)), terms=420),
)


def _max_pool(x, window, stride, padding):
  x = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)),
             constant_values=-np.inf)
  return np.max([part for _, part in _windows(
    x, (window,) * 2, (stride,) * 2, ((0, 0),) * 2)], 0)


def _average_pool(x, window):
  rows, columns = (n // window for n in x.shape[1:3])
  x = x[:, : rows * window, : columns * window]
  return x.reshape(len(x), rows, window, columns, window, -1).mean((2, 4))


def _batch_norm(x, scale, bias):
  axes = tuple(range(x.ndim - 1))
  mean, var = x.mean(axes), x.var(axes)
  return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def _apply_batch_norm(x, scale, bias):
  channels = x.shape[-1]
  return normalization.BatchNorm(use_running_average=False).apply({
    'params': {'scale': scale, 'bias': bias},
    'batch_stats': {'mean': np.zeros(channels, 'float32'),
                    'var': np.ones(channels, 'float32')}}, x, mutable='batch_stats')[0]


def _running(x):
  """The running statistics after a batch."""
  return normalization.BatchNorm(
    use_running_average=False, momentum=0.9, use_scale=False, use_bias=False).apply({
      'batch_stats': {'mean': np.ones(x.shape[-1], 'float32'),
                      'var': np.ones(x.shape[-1], 'float32')}}, x,
      mutable='batch_stats')[1]['batch_stats']


_POOLS_AND_NORMS = (
  *(Program(f'max_pool of {window}, stride {stride}, padding {padding}, with gradients',
            with_gradients(lambda x, w=window, s=stride, p=padding: pooling.max_pool(
              x, w, stride=s, padding=p)),
            with_differences(lambda x, w=window, s=stride, p=padding: _max_pool(
              x, w, s, p)),
            (cotangent(2, *outputs, 3), normal(2, 9, 7, 3)), terms=9)
    for window, stride, padding, outputs in (
      (2, 2, 0, (4, 3)), (3, 2, 1, (5, 4)), (3, 1, 0, (7, 5)))),
  Program('average_pool of 3, with gradients',
          with_gradients(lambda x: pooling.average_pool(x, 3)),
          with_differences(lambda x: _average_pool(x, 3)),
          (cotangent(2, 3, 2, 3), normal(2, 9, 7, 3)), terms=9),
  Program('global_average_pool, with gradients',
          with_gradients(pooling.global_average_pool),
          lambda c, x: (x.mean((1, 2)), np.broadcast_to(
            c[:, None, None] / 63, x.shape)),
          (cotangent(33, 5), positive(33, 9, 7, 5)), terms=63),
  Program('BatchNorm, with gradients', with_gradients(_apply_batch_norm),
          with_differences(_batch_norm),
          (cotangent(5, 3, 3, 4), normal(5, 3, 3, 4) * 2 + 0.5, positive(4), normal(4)),
          terms=45),
  Program('BatchNorm of 257 x 14 x 14 x 5', _apply_batch_norm, _batch_norm,
          (normal(257, 14, 14, 5), positive(5), normal(5)), terms=257),
  Program('running statistics of BatchNorm', _running, lambda x: {
    'mean': 0.9 + 0.1 * x.mean((0, 1, 2)), 'var': 0.9 + 0.1 * x.var((0, 1, 2))},
    (normal(257, 14, 14, 5),), terms=257),
)

PROGRAMS = (*_CONVOLUTIONS, *_OTHER_CONVOLUTIONS, *_POOLS_AND_NORMS)
