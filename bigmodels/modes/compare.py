"""--mode=compare: tests whether the runs of a workdir are better than those of others.

  python run.py --mode=compare --workdir=runs/a --other=runs/b
  python run.py --mode=compare --workdir=runs/a --other=runs/b --metric=test/loss
"""

import json

from bigmodels.cli.request import Request
from bigmodels.core import files, paths
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.logs import comparison_page
from bigmodels.logs.formats import number
from bigmodels.logs.values import leading
from bigmodels.metrics.comparison import POWER, Difference, difference
from bigmodels.plots import comparison
from bigmodels.storage import populations
from bigmodels.storage.populations import Population

USES_CACHE = False
_LEVEL = 0.05  # chance of a false difference, over all comparisons


def run(request: Request, *, other: list[str] | None = None, metric: str | None = None,
        output: str | None = None) -> None:
  """Compares a metric of several seeds of --workdir with that of others.

  Args:
    request: the flags of every mode.
    other: a workdir to compare with: of a run with --seeds, or the folder of runs that
      differ in their seeds; may be given several times.
    metric: its name, such as test/accuracy; the monitored one if left out, or the
      first of the evaluated split.
    output: path of the page; comparison.html in --workdir if left out, with
      comparison.json beside it.

  Raises:
    UserError: for a folder without results, or a metric that one of them lacks.
  """
  if request.workdir is None or not other:
    raise UserError('--mode=compare: name two folders, --workdir=runs/a '
                    '--other=runs/b')
  given = [request.workdir, *other]
  roots = [paths.expanded(name, strict=True) for name in given]
  twice = [name for index, name in enumerate(given)
           if roots[index].resolve() in [root.resolve() for root in roots[:index]]]
  if twice:
    raise UserError(f'--other={twice[0]}: is given twice')
  page = roots[0] / 'comparison.html' if output is None else paths.output(
    output, ('.html', '.htm'))
  numbers = page.with_suffix('.json')
  if numbers.exists() and not page.exists():
    raise UserError(f'--output={output or page}: {numbers}, which would hold the '
                    'numbers, is another file; choose another name')
  all_of = [populations.read(root, name)
            for root, name in zip(roots, given, strict=True)]
  metric = _metric(all_of, metric)
  first, notes = all_of[0], [note for each in all_of for note in each.notes]
  found, compared = [], []
  for each in all_of[1:]:
    a, b, paired, lines = _values(first, each, metric)
    result = difference(a, b, paired=paired,
                        confidence=1 - _LEVEL / len(other))
    compared.append((each, result))
    found += _verdict(first, each, metric, a, b, result, len(other))
    notes += lines
  for line in (*dict.fromkeys(notes), *found):
    print(line)
  try:
    _write(page, metric, first, compared, found, [*dict.fromkeys(notes)])
  except OSError as error:
    raise UserError(f'{page}: cannot be written: {error.strerror}; --output=FILE.html '
                    'names another') from error
  print(f'page: {page}')


def _metric(all_of: list[Population], name: str | None) -> str:
  """The metric to compare.

  Raises:
    UserError: if a population lacks it.
  """
  common = [metric for metric in all_of[0].metrics
            if all(metric in each.metrics for each in all_of)]
  if name is None:
    monitored = [all_of[0].monitor] if all_of[0].monitor in common else []
    usual = [*monitored, *leading(common, None)]
    if not usual:
      raise UserError('--mode=compare: the runs have no metric of an evaluated split '
                      'in common')
    return usual[0]
  if name not in common:
    lacking = next(each.name for each in all_of if name not in each.metrics)
    raise UserError(f'--metric={name}: {lacking} has no such metric'
                    f'{nearest(name, common)}')
  return name


def _values(first: Population, second: Population, metric: str
            ) -> tuple[list[float], list[float], bool, list[str]]:
  """The values of both, whether they are paired, and lines about what is left out.

  Raises:
    UserError: if one has no value.
  """
  notes, split = [], metric.partition('/')[0]
  if first.rows.get(split) != second.rows.get(split):
    notes.append(f'warning: {first.name} and {second.name} were evaluated on other '
                 f'rows of {split!r}: {first.rows.get(split, "none")}, and '
                 f'{second.rows.get(split, "none")}')
  found = []
  for each in (first, second):
    of_seed = {seed: value for seed, value in zip(
      each.seeds, each.metrics[metric], strict=True) if value is not None}
    lacking = [seed for seed in each.seeds if seed not in of_seed]
    if not of_seed:
      raise UserError(f'--metric={metric}: {each.name} has no value of it')
    if lacking:
      notes.append(f'{each.name}: no value of {metric} for seed {listed(lacking)}')
    found.append(of_seed)
  a, b = found
  common = [seed for seed in a if seed in b]
  paired = len(common) > 1 and len(common) == min(len(a), len(b))
  if not paired:
    return [*a.values()], [*b.values()], False, notes
  alone = [seed for seed in sorted({*a, *b}) if seed not in common]
  if alone:
    notes.append(f'{first.name} and {second.name}: only one of them has seed '
                 f'{listed(alone)}, which is left out')
  return [a[seed] for seed in common], [b[seed] for seed in common], True, notes


def _verdict(first: Population, second: Population, metric: str, a: list[float],
             b: list[float], found: Difference, comparisons: int) -> list[str]:
  """What the comparison found, in lines."""
  means = [sum(values) / len(values) for values in (a, b)]
  higher = found.mean > 0
  better = '' if metric != first.monitor or first.goal is None else (
    ', which is better' if higher == (first.goal == 'max') else ', which is worse')
  how = (f'{len(a)} pairs of runs of one seed' if found.paired else
         f'{len(a)} and {len(b)} runs, not paired')
  interval = '' if found.interval is None else (
    f' ({100 * (1 - _LEVEL):.0f} % interval {found.interval[0]:.3g} to '
    f'{found.interval[1]:.3g}'
    + (f', of all {comparisons} comparisons together' if comparisons > 1 else '') + ')')
  lines = [f'{metric}: {first.name} {number(means[0])}, {second.name} '
           f'{number(means[1])}; difference {found.mean:.3g}{interval}; {how}']
  if found.significant:
    lines.append(f'{first.name} has the {"higher" if higher else "lower"} {metric}'
                 f'{better}')
  else:
    lines.append(f'not enough to tell which of {first.name} and {second.name} has the '
                 f'higher {metric}')
  if min(len(a), len(b)) < 2:
    lines.append('the spread between runs cannot be estimated from a single run; '
                 '--seeds=8 trains eight')
  elif not found.significant:
    lines.append(
      'the number of seeds for a difference of this size cannot be estimated from '
      'these runs' if found.needed is None else
      f'a difference of {abs(found.mean):.3g} would take {found.needed:,} seeds of '
      f'each to be found with a probability of {100 * POWER:.0f} %')
  return lines


def _write(page, metric, first, compared, found, notes):
  everyone = [first, *(each for each, _ in compared)]
  columns = {each.name: {seed: value for seed, value in zip(
    each.seeds, each.metrics[metric], strict=True) if value is not None}
    for each in everyone}
  pairs = len(everyone) > 1 and all(each.keys() == columns[first.name].keys()
                                    for each in columns.values())
  drawn = {
    'Runs': comparison.runs(
      [*columns], [[*values.values()] for values in columns.values()], metric, pairs),
    'Differences': comparison.differences(
      [f'{first.name} - {each.name}' for each, _ in compared],
      [result.mean for _, result in compared],
      [result.interval for _, result in compared], metric)}
  comparison_page.write(page, metric, found, notes, drawn, columns)
  files.write(page.with_suffix('.json'), json.dumps({
    'metric': metric, 'runs': columns, 'notes': notes,
    'comparisons': [{'first': first.name, 'second': each.name, **result._asdict()}
                    for each, result in compared]}, indent=2) + '\n')
