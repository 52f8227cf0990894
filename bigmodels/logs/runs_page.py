"""The page of many runs: a table that sorts, and their curves on top of each other."""

import pathlib
import string
from collections.abc import Callable, Mapping, Sequence
from html import escape

from bigmodels.core import files
from bigmodels.core.errors import escape_controls
from bigmodels.logs.chart import Line, chart
from bigmodels.logs.page import PAGE, STYLE
from bigmodels.logs.run_table import shown, value
from bigmodels.storage import listing
from bigmodels.storage.listing import RunSummary

PALETTE = ('#5b94d6', '#d9622b', '#2a9d6f', '#8e63ce', '#c2447a', '#b08900', '#0f8b9d',
           '#7a8794', '#b5574b', '#4f6bd1')
DRAWN = 50  # runs with curves

_STYLE = """\
body { max-width: 1400px; } header { margin-bottom: 28px; }
.chart path:not(.grid):hover { stroke-width: 3; }
.scroll { max-height: 70vh; } th, td { min-width: 0; padding: 5px 12px;
  white-space: nowrap; }
td.text { text-align: left; } thead th { cursor: pointer; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%;
  background: var(--c); margin-right: 8px; cursor: pointer; }
.off .dot { opacity: .2; }
"""
# Clicking on a head sorts; on a dot hides the curves of that run.
_SCRIPT = """\
<script>
const body = document.querySelector('tbody');
document.querySelectorAll('thead th').forEach((head, i) => head.onclick = () => {
  const sign = head.dataset.sign = head.dataset.sign == 1 ? -1 : 1;
  const key = row => row.cells[i].dataset.v;
  [...body.rows].sort((a, b) => key(a) === '' ? 1 : key(b) === '' ? -1 :
    sign * (isNaN(key(a)) || isNaN(key(b)) ? key(a).localeCompare(key(b)) :
    key(a) - key(b))).forEach(row => body.append(row));
});
body.onclick = event => {
  if (!event.target.dataset.run) return;
  const hidden = event.target.closest('tr').classList.toggle('off');
  document.querySelectorAll('path.' + event.target.dataset.run).forEach(
    path => path.style.display = hidden ? 'none' : '');
};
</script>
"""


def write(path: pathlib.Path, title: str, runs: Sequence[RunSummary],
          columns: Sequence[str], metrics: Sequence[str],
          say: Callable[[str], None]) -> None:
  """Writes the page atomically; it needs no other file and no network.

  Args:
    path: of the HTML file.
    title: title of the page.
    runs: the runs, one a row.
    columns: columns of the table.
    metrics: metrics whose curves are drawn.
    say: prints a line, if curves are left out.
  """
  drawn = {run.name: (f'r{i}', PALETTE[i % len(PALETTE)])
           for i, run in enumerate(runs[:DRAWN])}
  if len(runs) > DRAWN:
    say(f'{path}: the curves are those of the first {DRAWN} of {len(runs):,} runs; '
        '--where and --sort choose others')
  curves = {run.name: listing.curves(run.path, set(metrics)) for run in runs[:DRAWN]}
  cards = []
  for metric in metrics:
    picture = chart([Line(name, curves[name][metric], color, group)
                     for name, (group, color) in drawn.items()], metric)
    if picture:
      cards.append(f'<figure><figcaption>{escape(metric)}</figcaption>{picture}'
                   '</figure>')
  head = ''.join(f'<th>{escape(column)}</th>' for column in columns)
  rows = '\n'.join(_row(run, columns, drawn, path.parent) for run in runs)
  problems = ''.join(f'<p class="note">{escape(run.name)} is damaged: '
                     f'{escape(run.problem)}</p>' for run in runs if run.problem)
  body = (
    f'<header><h1>{escape(title)}</h1></header>\n<section><div class="cards">'
    f'{"".join(cards)}</div></section>\n<section><h2>{len(runs):,} runs</h2>'
    f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n'
    f'</tbody></table></div>{problems}</section>\n{_SCRIPT}')
  page = string.Template(PAGE).substitute(
    title=escape(title), style=STYLE + _STYLE, body=body)
  files.write(path, escape_controls(page))


def _row(run: RunSummary, columns: Sequence[str], drawn: Mapping[str, tuple[str, str]],
         folder: pathlib.Path) -> str:
  cells = []
  for i, column in enumerate(columns):
    found, text = value(run, column), escape(shown(run, column))
    if i == 0:
      report = run.path / 'report.html'
      if report.is_file() and report.is_relative_to(folder):
        text = f'<a href="{escape(report.relative_to(folder).as_posix())}">{text}</a>'
      if run.name in drawn:
        group, color = drawn[run.name]
        text = (f'<span class="dot" style="--c:{color}" data-run="{group}"></span>'
                f'{text}')
    kind = ' class="text"' if isinstance(found, str) else ''
    sort = '' if found is None else escape(str(found))
    cells.append(f'<t{"h" if i == 0 else "d"}{kind} data-v="{sort}">{text}'
                 f'</t{"h" if i == 0 else "d"}>')
  return f'<tr>{"".join(cells)}</tr>'
