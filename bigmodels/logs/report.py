"""The report of a run: one self-contained HTML page.

Plots are inline SVG or PNG, see `logs.figures`; sounds are inline WAV.
"""

import base64
import math
import pathlib
import re
import string
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from bigmodels.core import files
from bigmodels.core.errors import escape_controls, message_of
from bigmodels.logs import figures
from bigmodels.logs.chart import Line, chart
from bigmodels.logs.formats import duration, large, number
from bigmodels.logs.page import PAGE, STYLE
from bigmodels.logs.values import leading, mean, members
from bigmodels.plots import Sound, Table

PALETTE = ('#d9622b', '#2a9d6f', '#8e63ce', '#c2447a', '#b08900', '#0f8b9d')
TRAIN = '#5b94d6'
PANELS = 8
HEADLINES = 4
ALL_PLOTS = 1_700_000  # characters of all plots


def write(path: str | pathlib.Path, *, title: str, config_text: str,
          records: Sequence[Mapping[str, Any]], result: Mapping[str, Any],
          plots: Mapping[str, Mapping[str, Any]], monitor: str | None = None,
          classes: Sequence[str] | None = None, data: Sequence[str] = ()) -> None:
  """Writes the report atomically.

  Args:
    path: path of the HTML file.
    title: title of the page.
    config_text: lines `path = value`, in groups separated by an empty line.
    records: records of metrics.jsonl, such as `{'step': 50, 'train/loss': 0.3}`. A list
      has a number for each run; they are drawn as a band and shown as their mean.
      None and NaN are missing values; arrays of several axes are skipped.
    result: content of result.json; missing entries are not shown.
    plots: split -> title -> matplotlib Figure, or `plots.Table`.
    monitor: the most important metric, such as 'validation/accuracy'.
    classes: names for the rows of the table of per-class metrics.
    data: lines about the data: what was found, guessed, dropped and changed.
  """
  metrics = {k: mean(v) for k, v in (result.get('metrics') or {}).items()}
  metrics = {k: v for k, v in metrics.items() if v is not None}
  body = [
    _header(title, metrics, result, monitor),
    _curves(records, result.get('best_step')),
    _plots(plots),
    _several(result),
    _metrics(metrics, classes),
    _data(data),
    _config(config_text),
    _versions(result.get('versions') or {}),
  ]
  page = string.Template(PAGE).substitute(
    title=escape(title), style=STYLE, body='\n'.join(filter(None, body)))
  files.write(pathlib.Path(path), escape_controls(page))


# --- sections -------------------------------------------------------------------


def _header(title, metrics, result, monitor):
  name, used = result.get('experiment'), result.get('utilization') or {}
  rows = (
    ('experiment', str, None if name == title else name),
    ('steps', number, result.get('step')),
    ('best step', number, result.get('best_step')),
    ('temperature', _chosen, result.get('temperature')),
    ('threshold', _chosen, result.get('threshold')),
    ('parameters', large, result.get('parameters')),
    ('training', duration, result.get('train_seconds')),
    ('compilation', duration, result.get('compile_seconds')),
    ('speed', '{:,.0f} examples/s'.format, result.get('examples_per_second')),
    ('time in training', '{:.0%}'.format, used.get('train_fraction')),
    ('MFU', '{:.1%}'.format, used.get('mfu')),
    ('device', str, result.get('device')),
    ('mesh', str, result.get('mesh')),
    ('precision', str, result.get('precision')),
  )
  details = ''.join(f'<div><dt>{label}</dt><dd>{escape(text(value))}</dd></div>'
                    for label, text, value in rows if value is not None)
  status = str(result.get('status') or '')
  kind = 'good' if status == 'finished' else 'other'
  badge = f'<span class="badge {kind}">{escape(status)}</span>' if status else ''
  headline = ''.join(
    f'<div><b>{number(metrics[name])}</b><span>{escape(name.replace("/", " "))}</span>'
    '</div>' for name in leading(metrics, monitor)[:HEADLINES])
  headline = f'<div class="headline">{headline}</div>' if headline else ''
  details = f'<dl>{details}</dl>' if details else ''
  return f'<header><h1>{escape(title)} {badge}</h1>\n{headline}\n{details}</header>'


def _chosen(chosen):
  how = f', by {chosen["by"]} on {chosen["split"]}' if 'split' in chosen else ''
  return f'{chosen["value"]:.4g}{how}'


def _curves(records, best):
  series, not_finite = _series(records)
  chosen, constant = _choose(series)
  if not series:
    return _section('Curves', '<p class="note">Nothing was logged before the run '
                              'ended.</p>')
  splits = list(dict.fromkeys(s for panel in series.values() for s in panel))
  evaluated = [s for s in splits if s != 'train']
  colors = {s: PALETTE[i % len(PALETTE)] for i, s in enumerate(evaluated)}
  colors['train'] = TRAIN
  legend = ''.join(f'<span style="--c:{colors[s]}" class="key {_kind(s)}">'
                   f'{escape(s or "run")}</span>' for s in splits)
  if best is not None:
    legend += f'<span class="key best">best checkpoint, step {number(best)}</span>'
  width = 466 if len(chosen) <= 4 else 296  # pixels: two or three in a row
  cards = ''.join(
    f'<figure class="drawing"><figcaption>{escape(name)}</figcaption>'
    f'{chart(_lines(series[name], colors), name, best=best, width=width)}</figure>\n'
    for name in chosen)
  notes = [f'{name} is not a number at {len(steps)} of its steps, first at step '
           f'{number(min(steps))}.' for name, steps in not_finite.items()]
  if constant:
    notes.append(f'Not drawn, as they never change: {", ".join(constant)}.')
  left = [n for n in series if n not in chosen and n not in constant]
  if left:
    notes.append(f'Not drawn, to keep this page short: {", ".join(left)}.')
  notes = ''.join(f'<p class="note">{escape(note)}</p>' for note in notes)
  return _section('Curves', f'<div class="legend">{legend}</div>'
                            f'<div class="cards">{cards}</div>{notes}')


def _lines(panel, colors):
  """The lines of a metric: of each split, with a band around several runs."""
  found = []
  for split, (steps, values) in panel.items():
    band = {}
    if values.ndim > 1:
      # A run that is left out has no value from there on.
      edges = np.stack([np.fmin.reduce(values, 1), np.fmax.reduce(values, 1)], 1)
      band = dict(zip(steps, map(tuple, edges.tolist()), strict=True))
      values = _mean_of_finite(values)
    train = split == 'train'
    found.append(Line(split, dict(zip(steps, values.tolist(), strict=True)),
                      colors[split], width=1.2 if train else 1.8, marked=not train,
                      band=band))
  return found


def _mean_of_finite(values):
  """The mean over the axis of runs `[n, runs]`; NaN where none has a value."""
  count = np.isfinite(values).sum(1)
  return np.where(count, np.nansum(values, 1) / np.maximum(count, 1), math.nan)


def _plots(plots):
  sections, left = [], ALL_PLOTS
  for i, (split, found) in enumerate(plots.items()):
    cards = []
    for j, (name, figure) in enumerate(found.items()):
      try:
        card = _words(name, figure) if isinstance(figure, Table) else (
          figures.card(name, figure, f'f{i}-{j}'))
      except Exception as error:  # the numbers do not depend on it
        card = (f'<p class="note">{escape(name)} cannot be drawn: '
                f'{escape(message_of(error))}</p>')
      if len(card) > left:
        card = (f'<p class="note">{escape(name)} is left out, to keep this page '
                'small.</p>')
      left -= len(card)
      cards.append(card)
    if cards:
      sections.append(_section(split[:1].upper() + split[1:],
                               f'<div class="cards">{"".join(cards)}</div>'))
  return '\n'.join(sections)


def _several(result):
  """Links to the reports of several runs, and their metrics with intervals."""
  field = next((field for field in ('seed', 'fold') if f'{field}s' in result), None)
  if field is None or not (values := result[f'{field}s']):
    return ''
  rows, pooled = {}, result.get('pooled') or {}
  for name, each in (result.get('statistics') or {}).items():
    split, metric = _split(name)
    if split != 'train' and not _is_class(metric):
      low, high = each['interval']
      rows[name] = {**({'pooled': pooled[name]} if name in pooled else {}),
                    'mean': each['mean'], '95 % from': low, 'to': high,
                    'deviation': each['deviation'], **{
                      f'{field} {value}': number for value, number in zip(
                        values, result['metrics'][name], strict=True)}}
  links = ', '.join(f'<a href="{field}_{value}/report.html">{field} {value}</a>'
                    for value in values)
  gone = ''.join(f'<p class="note"><strong>Seed {seed} ended with a value that is not '
                 'finite, and is left out.</strong></p>'
                 for seed in result.get('not_finite') or ())
  how = 'The interval is of the mean (Student\'s t).' if field == 'seed' else (
    'Pooled metrics are of all examples that were held out. The interval is of the '
    'mean (Student\'s t), wider as folds share training examples (Nadeau and Bengio, '
    '2003).')
  names = [*dict.fromkeys(name for row in rows.values() for name in row)]
  table = rows and _table('metric', rows, names)
  return _section(f'{field}s'.capitalize(),
                  f'<p class="note">Reports: {links}. {how}</p>{gone}'
                  + (f'<div class="tables">{table}</div>' if table else ''))


def _metrics(metrics, classes):
  whole, each = {}, {}
  splits = [*dict.fromkeys(_split(key)[0] for key in metrics)]
  names = [*dict.fromkeys(_split(key)[1].rpartition('/')[0] for key in metrics
                          if _is_class(_split(key)[1]))]
  for key, value in metrics.items():
    split, name = _split(key)
    if _is_class(name):
      name, _, index = name.rpartition('/')
      each.setdefault(int(index), {})[name, split] = value
    else:
      whole.setdefault(name, {})[split] = value
  tables = [_table('metric', whole, splits)] if whole else []
  if each:
    found = {split for row in each.values() for _, split in row}
    of_classes = [split for split in splits if split in found]
    several = len(of_classes) > 1
    rows = {_class_name(classes, index): {
      f'{name}, {split}' if several else name: value
      for (name, split), value in row.items()} for index, row in sorted(each.items())}
    tables.append(_table('class', rows, [
      f'{name}, {split}' if several else name
      for name in names for split in of_classes], bars=True))
  return _section('Metrics', f'<div class="tables">{"".join(tables)}</div>'
                  ) if tables else ''


def _class_name(classes, index):
  known = classes is not None and index < len(classes)
  twice = known and [*classes].count(classes[index]) > 1
  return f'{index} {classes[index]}' if twice else classes[index] if known else (
    str(index))


def _table(corner, rows, order, bars=False):
  """A table whose columns are those of `order` that have a value."""
  columns = [c for c in order if any(c in row for row in rows.values())]
  head = ''.join(f'<th>{escape(c or "value")}</th>' for c in columns)
  lines = []
  for name, row in rows.items():
    cells = ''.join(_cell(row.get(c), bars) for c in columns)
    lines.append(f'<tr><th>{escape(name)}</th>{cells}</tr>')
  head = f'<tr><th>{escape(corner)}</th>{head}</tr>'
  return (f'<div class="scroll"><table><thead>{head}</thead>'
          f'<tbody>{"".join(lines)}</tbody></table></div>')


def _cell(value, bar):
  if value is None:
    return '<td></td>'
  style = f' class="bar" style="--v:{value:.3f}"' if bar and 0 <= value <= 1 else ''
  return f'<td{style}>{number(value)}</td>'


def _data(lines):
  def marked(line):
    warns = line.startswith('warning: ')
    return f'<strong>{escape(line)}</strong>' if warns else escape(line)

  rows = ''.join(f'<div>{marked(line.strip())}</div>' for line in lines)
  return _section('Data', f'<div class="config"><div class="group">{rows}</div></div>'
                  ) if rows else ''


def _config(text):
  groups = []
  for group in re.split(r'\n\s*\n', text.strip()):
    lines = []
    for line in group.splitlines():
      path, equals, value = line.partition(' = ')
      path = f'<b>{escape(path)}</b> = ' if equals else escape(path)
      lines.append(f'<div>{path}{escape(value)}</div>')
    groups.append(f'<div class="group">{"".join(lines)}</div>')
  return (f'<section><details open><summary><h2>Configuration</h2></summary>'
          f'<div class="config">{"".join(groups)}</div></details></section>')


def _versions(versions):
  text = ' · '.join(f'{escape(str(k))}&nbsp;{escape(str(v))}'
                    for k, v in versions.items())
  return f'<footer>{text}</footer>' if text else ''


def _section(name, content):
  return f'<section><h2>{escape(name)}</h2>\n{content}</section>'


def _words(name, table):
  """A card with a table of texts and sounds."""
  head = ''.join(f'<th>{escape(column)}</th>' for column in table.columns)
  rows = ''.join('<tr>' + ''.join(f'<td>{_content(cell)}</td>' for cell in row)
                 + '</tr>' for row in table.rows)
  return (f'<figure class="words"><figcaption>{escape(name)}</figcaption><table>'
          f'<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></figure>\n')


def _content(cell):
  """A text, or a player of a sound."""
  if not isinstance(cell, Sound):
    return escape(cell)
  data = base64.b64encode(cell.wav()).decode()
  return ('<audio controls preload="metadata" '
          f'src="data:audio/wav;base64,{data}"></audio>')


# --- records --------------------------------------------------------------------


def _series(records):
  """Collects metric -> split -> (steps, values), and name -> steps with NaN or inf.

  Values are `[n]`, or `[n, members]` if any of them is a list.
  """
  points, not_finite = {}, {}
  for record in records:
    for key, value in record.items():
      split, name = _split(key)
      value = members(value)
      if key == 'step' or _is_class(name) or value is None or 'step' not in record:
        continue
      # None in a list stands for a run that has ended.
      given = value if not value.ndim else members(
        [each for each in record[key] if each is not None])
      if given is not None and not np.isfinite(given).all():
        not_finite.setdefault(key, set()).add(record['step'])
      # After a resume a step may occur twice; the later record is used.
      points.setdefault(name, {}).setdefault(split, {})[record['step']] = (
        np.where(np.isfinite(value), value, math.nan))
  series = {
    name: {split: _arrays(values) for split, values in panel.items()}
    for name, panel in points.items()}
  return series, not_finite


def _arrays(points):
  """Sorts step -> value into steps and values; a missing member is NaN."""
  steps, values = zip(*sorted(points.items()), strict=True)
  if all(value.ndim == 0 for value in values):
    return steps, np.array(values)
  table = np.full((len(values), max(value.size for value in values)), math.nan)
  for row, value in zip(table, values, strict=True):
    row[: value.size if value.ndim else None] = value
  return steps, table


def _choose(series):
  """Returns the metrics to draw, the loss and trained ones first, and constant ones."""
  constant = []
  for name, panel in series.items():
    lines = [line[np.isfinite(line)] for _, values in panel.values()
             for line in np.atleast_2d(values.T)]
    if name != 'loss' and any(len(line) > 1 for line in lines) and all(
        len(set(line)) <= 1 for line in lines):
      constant.append(name)
  names = [n for n in series if n not in constant]
  names.sort(key=lambda n: (n != 'loss', -len(series[n])))
  return names[:PANELS], constant


def _split(key):
  """'test/f1/3' -> 'test', 'f1/3'."""
  split, slash, name = key.partition('/')
  return (split, name) if slash else ('', key)


def _is_class(name):
  return name.rpartition('/')[2].isdecimal() and '/' in name


def _kind(split):
  return 'train' if split == 'train' else 'evaluated'
