"""Products with a weight matrix, in a form that is fast on a CPU."""

import jax


def matmul(x: jax.Array, kernel: jax.Array, *, transposed: bool = False) -> jax.Array:
  """`x @ kernel` as one product of two matrices.

  On a CPU, forward and backward take half the time of a product with `[batch, length,
  in]`.

  Args:
    x: `[..., in]`.
    kernel: `[in, out]`, or `[out, in]` if transposed.
    transposed: whether to multiply by the transpose of the kernel.

  Returns:
    `[..., out]`.
  """
  flat = x.reshape(-1, x.shape[-1])
  y = flat @ (kernel.T if transposed else kernel)
  return y.reshape(*x.shape[:-1], y.shape[-1])
