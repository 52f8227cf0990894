"""The page of a comparison: what it found, the plots, and the numbers."""

import pathlib
import string
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bigmodels.core import files
from bigmodels.core.errors import escape_controls
from bigmodels.logs import figures
from bigmodels.logs.formats import number
from bigmodels.logs.page import PAGE, STYLE


def write(path: pathlib.Path, metric: str, found: Sequence[str], notes: Sequence[str],
          drawn: Mapping[str, Any], columns: Mapping[str, Mapping[int, float]]) -> None:
  """Writes the page atomically; it needs no other file and no network.

  Args:
    path: of the HTML file.
    metric: that was compared.
    found: lines about the differences.
    notes: lines about the runs.
    drawn: title -> figure of matplotlib.
    columns: name of a set of runs -> seed -> value.
  """
  cards = ''.join(figures.card(title, figure, f'c{index}')
                  for index, (title, figure) in enumerate(drawn.items()))
  seeds = sorted({seed for values in columns.values() for seed in values})
  head = ''.join(f'<th>{escape(name)}</th>' for name in columns)
  rows = ''.join(
    f'<tr><th>seed {seed}</th>' + ''.join(
      f'<td>{number(values[seed]) if seed in values else ""}</td>'
      for values in columns.values()) + '</tr>' for seed in seeds)
  body = (
    f'<header><h1>{escape(metric)}</h1></header>\n'
    + ''.join(f'<p>{escape(line)}</p>\n' for line in found)
    + ''.join(f'<p class="note">{escape(line)}</p>\n' for line in notes)
    + f'<div class="cards">{cards}</div>\n<h2>Runs</h2>\n<div class="scroll"><table>'
    f'<thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
  page = string.Template(PAGE).substitute(
    title=escape(f'Comparison of {metric}'), style=STYLE, body=body)
  files.write(path, escape_controls(page))
