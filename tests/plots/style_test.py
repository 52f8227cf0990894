"""What the room imports."""

import subprocess
import sys

from bigmodels.plots import style
from tests.plots.rendering import render


def test_importing_loads_no_drawing_library():
  code = ('import sys, bigmodels.plots; '
          'print([m for m in ("matplotlib", "sklearn") if m in sys.modules])')
  found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                         check=True)
  assert found.stdout.strip() == '[]'


def test_a_legend_has_the_names_of_the_data():
  names = ['_background_', '$x_1$', r'$\nonsense$', 'sea']
  figure, axes = style.panel(style.HALF, 3)
  lines = [axes.plot([0, 1], [0, row])[0] for row in range(4)]
  style.legend(axes, lines, names, fontsize=8)
  render({'A figure': figure})  # mathematics would be an error
  assert [text.get_text() for text in axes.get_legend().get_texts()] == names
  assert [line.get_color() for line in axes.get_legend().get_lines()] == [
    line.get_color() for line in lines]
