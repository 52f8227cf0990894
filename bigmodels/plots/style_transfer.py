"""Plots of photographs, styles, and the images that have both."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.table import Inputs, spread

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_SHOWN = 3  # photographs: the images are large


def style_transfer(outputs: Mapping[str, np.ndarray], inputs: Inputs,
                   classes: Sequence[str] | None) -> 'dict[str, Figure]':
  """Draws photographs, the images whose style they take, and the results.

  Args:
    outputs: `photographs`, `styles` and `predictions`, uint8 `[n, height, width, 3]`;
      the losses `content`, `style`, `content_noise`, `style_noise` and
      `style_photograph`, `[n]`.
    inputs: rows -> the photographs, with their names.
    classes: not used.

  Returns:
    Title -> figure.
  """
  count = len(outputs['predictions'])
  words = inputs.words(np.arange(count)) if inputs.words else [{}] * count
  rows = spread(count, _SHOWN)
  figure = style.figure(style.FULL, 3.9 * len(rows))
  for row, panels in zip(rows, figure.subplots(len(rows), 3, squeeze=False),
                         strict=True):
    def losses(content, of_style):
      return f'content {content:.3g}, style {of_style:.3g}'

    noise = losses(outputs['content_noise'][row], outputs['style_noise'][row])
    for panel, name, *lines in (
      (panels[0], 'photographs', words[row].get('image', str(row)),
       losses(0, outputs['style_photograph'][row])),
      (panels[1], 'styles', words[row].get('style', 'style'), f'noise: {noise}'),
      (panels[2], 'predictions', 'result',
       losses(outputs['content'][row], outputs['style'][row]))):
      panel.imshow(outputs[name][row])
      style.subtitle(panel, *(style.shorten(line, 46) for line in lines))
      panel.set(xticks=[], yticks=[])
      panel.spines[:].set_linewidth(0.6)
  return {'Photograph, style and result': figure}
