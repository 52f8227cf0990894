"""Figures on a page: inline SVG, or PNG.

Black, white and grey are replaced by colours of the page, so that figures follow its
light or dark scheme. One that would be larger than a PNG becomes a PNG on a white card.
"""

import base64
import io
import re
import warnings
from html import escape
from typing import Any

LARGEST = 300_000  # characters of one SVG


def card(name: str, figure: Any, prefix: str) -> str:
  """The HTML of a figure with a caption.

  Args:
    name: of the figure.
    figure: of matplotlib.
    prefix: of ids, which must be unique on a page.
  """
  plot, kind = _svg(figure, prefix, name), 'drawing'
  if len(plot) > LARGEST:
    picture = _png(figure, name)
    if len(picture) < len(plot):
      plot, kind = picture, 'picture'
  return (f'<figure class="{kind}"><figcaption>{escape(name)}</figcaption>'
          f'{plot}</figure>\n')


def _svg(figure, prefix, name):
  metadata = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
  # Text instead of outlines: it uses the page's font, and can be searched and copied.
  text = _save(figure, {'svg.fonttype': 'none', 'svg.hashsalt': prefix}, format='svg',
               facecolor='none', metadata=metadata).decode()
  text = text[text.index('<svg'):]
  # Ids must be unique on the page.
  text = re.sub(r'(<[^>]*?\bid="|href="#|url\(#)', rf'\g<1>{prefix}-', text)
  for color, variable in (('#000000', 'ink'), ('#ffffff', 'card'),
                          ('#b0b0b0', 'line'), ('#cccccc', 'line')):
    text = re.sub(rf'(fill|stroke): {color}', rf'\g<1>: var(--{variable})', text)
  return text.replace('<svg', f'<svg role="img" aria-label="{escape(name)}"', 1)


def _png(figure, name):
  data = base64.b64encode(_save(figure, {}, format='png', facecolor='white', dpi=144))
  width = figure.get_figwidth() * 96
  return (f'<img alt="{escape(name)}" width="{width:.0f}" '
          f'src="data:image/png;base64,{data.decode()}">')


def _save(figure, settings, **options):
  import matplotlib

  buffer = io.BytesIO()
  with matplotlib.rc_context(settings), warnings.catch_warnings():
    # A browser has glyphs that matplotlib's font may not have.
    warnings.filterwarnings('ignore', 'Glyph', UserWarning)
    figure.savefig(buffer, **options)
  return buffer.getvalue()
