"""What images a model takes: told when it is traced, before anything is compiled."""

import jax


def check_images(model: object, inputs: jax.Array, least: int) -> None:
  """Refuses what are no images, or so small ones that strides would find nothing left.

  Args:
    model: for its name.
    inputs: of the model.
    least: pixels of height and width.

  Raises:
    ValueError: with the shape wanted and the shape given.
  """
  if inputs.ndim != 4 or min(inputs.shape[1:3]) < least:
    raise ValueError(
      f'{type(model).__name__} wants images [batch, height, width, channels] of at '
      f'least {least}x{least} pixels, got {inputs.shape}')
