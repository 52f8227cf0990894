"""Normalization."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax


class BatchNorm(nn.BatchNorm):
  """`flax.linen.BatchNorm` over all axes but the last, in half the time on a CPU.

  Ioffe and Szegedy, *Batch normalization*, 2015. Names and results are the same: a
  batch is divided by its biased standard deviation, which also updates the running
  statistics. Here each value is multiplied by one number and added to another, both
  computed per channel, so that XLA stores no centered copy for the gradient. Rounding
  errors are relative to the values, not to their distance from the mean; the variance
  is that of `use_fast_variance`. Other axes, masks and groups of devices are not
  supported.
  """

  @nn.compact
  def __call__(self, x: jax.Array, use_running_average: bool | None = None, *,
               mask: jax.Array | None = None) -> jax.Array:
    """`[..., channels]` -> the same shape.

    Args:
      x: values, `[..., channels]`.
      use_running_average: whether to use the running statistics instead of the batch's;
        given here or as an attribute.
      mask: not supported; must be None.

    Raises:
      ValueError: for another axis, a mask, groups of devices, or the slow variance.
    """
    if mask is not None or not self.use_fast_variance:
      raise ValueError('bigmodels BatchNorm supports no mask and no slow variance; '
                       'flax.linen.BatchNorm does')
    if self.axis != -1 or self.axis_index_groups is not None:
      raise ValueError('axis: must be -1 and axis_index_groups None, got '
                       f'{self.axis} and {self.axis_index_groups}')
    averaged = nn.merge_param(
      'use_running_average', self.use_running_average, use_running_average)
    shape, axes = x.shape[-1:], tuple(range(x.ndim - 1))
    exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    average = {
      'mean': self.variable('batch_stats', 'mean', jnp.zeros, shape, jnp.float32),
      'var': self.variable('batch_stats', 'var', jnp.ones, shape, jnp.float32)}
    if averaged:
      mean, var = average['mean'].value, average['var'].value
    else:
      mean, square = exact.mean(axes), jnp.square(exact).mean(axes)
      if self.axis_name is not None and not self.is_initializing():
        mean, square = lax.pmean((mean, square), self.axis_name)
      var = jnp.maximum(square - jnp.square(mean), 0)
      if not self.is_initializing():
        for name, new in (('mean', mean), ('var', var)):
          average[name].value = (
            self.momentum * average[name].value + (1 - self.momentum) * new)
    scale, bias = (
      self.param(name, init, shape, self.param_dtype) if used else None
      for name, init, used in (('scale', self.scale_init, self.use_scale),
                               ('bias', self.bias_init, self.use_bias)))
    by = lax.rsqrt(var + self.epsilon) * (1 if scale is None else scale)
    plus = (0 if bias is None else bias) - mean * by
    dtype = nn.dtypes.canonicalize_dtype(x, scale, bias, dtype=self.dtype)
    return (exact * by + plus).astype(dtype)
