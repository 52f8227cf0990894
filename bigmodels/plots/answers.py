"""Plots of answers to questions on a context."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bigmodels.plots import style
from bigmodels.plots.table import Table, spread

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_SHOWN = 16  # questions in the report
_AROUND = 120  # characters of a context on either side of an answer
_KINDS = ('who', 'what', 'when', 'where', 'which', 'why', 'how many', 'how')
_LENGTHS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, None))


def answers(scores: Mapping[str, np.ndarray], predictions: Sequence[str],
            references: Sequence[Sequence[str]], outputs: Mapping[str, np.ndarray],
            words: Callable[[np.ndarray], Sequence[dict[str, str]]] | None
            ) -> 'dict[str, Figure | Table]':
  """Draws F1 and exact match by the length and kind of question, and lists examples.

  Args:
    scores: `f1` and `exact_match` of each question, 0 to 100, `[n]`.
    predictions: the predicted answers.
    references: the right answers of each question.
    outputs: `start` and `end`, the characters of the predicted answers, `[n]`.
    words: rows `[k]` -> `question` and `context` of each; None if unknown.

  Returns:
    Title -> figure or table.
  """
  count = len(predictions)
  if not count:
    return {}
  lengths = np.array([len(each[0].split()) for each in references])
  figures = {'F1 by the length of the answer': _bars(scores, [
    (str(low) if low == high else f'{low} to {high}' if high else f'{low} or more',
     (lengths >= low) & (lengths <= (high or np.inf))) for low, high in _LENGTHS],
    'words of the answer')}
  if words is None:
    return figures
  kinds = np.array([kind_of(each['question']) for each in words(np.arange(count))])
  figures['F1 by the kind of question'] = _bars(
    scores, [(name, kinds == name) for name in (*_KINDS, 'other')], 'question')
  rows = spread(count, _SHOWN)
  shown = [(each['question'], _marked(each['context'], *(
    int(outputs[name][row]) for name in ('start', 'end'))), predictions[row],
    ' | '.join(dict.fromkeys(references[row])), f'{scores["f1"][row]:.0f}')
    for row, each in zip(rows.tolist(), words(rows), strict=True)]
  return {**figures, 'Questions': Table(
    ('question', 'context, [predicted]', 'predicted', 'true', 'F1'), shown)}


def kind_of(question: str) -> str:
  """Returns the first of who, what, when, ... in a question, or 'other'."""
  found = ' '.join(['', *re.findall(r'\w+', question.lower()), ''])
  places = {kind: found.find(f' {kind} ') for kind in _KINDS}
  return min((place, -len(kind), kind) for kind, place in (
    *places.items(), ('other', len(found))) if place >= 0)[2]


def _bars(scores, groups, label):
  groups = [(name, rows) for name, rows in groups if rows.any()]
  figure, axes = style.panel(style.HALF, 3.2)
  place = np.arange(len(groups))
  for shift, (name, what, color) in enumerate((
    ('f1', 'F1', style.BLUE), ('exact_match', 'exact match', style.ORANGE))):
    axes.bar(place + 0.38 * (shift - 0.5),
             [scores[name][rows].mean() for _, rows in groups], 0.36, color=color,
             label=what)
  axes.set_xticks(place, [f'{name}\n{rows.sum():,}' for name, rows in groups])
  axes.tick_params(axis='x', labelsize=7)
  axes.set(xlabel=f'{label}; number of questions', ylim=(0, 100))
  axes.legend(fontsize=8, frameon=False)
  return figure


def _marked(context: str, start: int, end: int) -> str:
  """A context around a span, which is put in brackets."""
  first, last = max(0, start - _AROUND), min(len(context), end + _AROUND)
  return (('… ' if first else '') + context[first:start] + f'[{context[start:end]}]'
          + context[end:last] + (' …' if last < len(context) else ''))
