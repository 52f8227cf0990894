"""What can be seen of an evaluated split: arrays in, matplotlib Figures out.

Nothing touches pyplot, so no figure is kept alive; matplotlib itself loads when
the first one is made. Text and frames are black, which the report recolours.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
  from matplotlib.figure import Figure

BLUE, ORANGE, GREY = '#3b7dd8', '#d9622b', '#8c959f'
# Inches: a third, a half, two thirds and all of the report's width.
NARROW, HALF, WIDE, FULL = 3.09, 4.85, 6.61, 10.14
MISTAKES, POINTS, SNAPSHOTS = 24, 2000, 8  # shown at most
Inputs = Callable[[np.ndarray], np.ndarray]


def classification(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
                   classes: Sequence[str] | None) -> 'dict[str, Figure]':
  """Confusion matrix, ROC curve of two classes, reliability, and the worst mistakes.

  Args:
    outputs: `labels` `[n]`, `predictions` `[n]`, `probabilities` `[n, classes]`.
    inputs: rows `[k]` -> raw inputs `[k, ...]` of the split. Mistakes are shown where
      these are images `[k, height, width, 1 or 3]`.
    classes: their names; None numbers them.

  Returns:
    title -> figure. What the outputs cannot give is left out: mistakes, where there
    are none. Rows that are not finite do not count; without any other, no figure.
  """
  labels = np.asarray(outputs['labels']).astype(int)
  predictions = np.asarray(outputs['predictions'], np.float64)
  scores = np.asarray(outputs['probabilities'], np.float64)
  rows = np.flatnonzero(np.isfinite(predictions) & np.isfinite(scores).all(-1))
  if not len(rows):
    return {}
  note = _note(len(rows), len(labels))
  predictions = predictions[rows].astype(int)
  labels, scores = labels[rows], scores[rows]
  names = _names(classes, scores.shape[-1])
  confidence = scores[np.arange(len(rows)), predictions]
  result = {'Confusion matrix': _confusion(labels, predictions, names, note)}
  if len(names) == 2 and len(np.unique(labels)) == 2:
    result['ROC curve'] = _roc(labels, scores[:, 1], names[1])
  result['Reliability'] = _reliability(confidence, labels == predictions)
  wrong = np.flatnonzero(labels != predictions)
  wrong = wrong[np.argsort(-confidence[wrong], kind='stable')][:MISTAKES]
  if len(wrong) and inputs is not None:
    images = np.asarray(inputs(rows[wrong]))
    if images.ndim == 4 and images.shape[-1] in (1, 3):
      result['Most confident mistakes'] = _mistakes(
        images, labels[wrong], predictions[wrong], confidence[wrong], names)
  return result


def regression(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
               classes: Sequence[str] | None) -> 'dict[str, Figure]':
  """Predictions against targets, and their residuals; one panel a target, at most 6.

  Args:
    outputs: `targets` and `predictions`, both `[n, targets]`.
    inputs: not looked at.
    classes: names of the targets; None numbers them.

  Returns:
    title -> figure; none where no prediction is finite.
  """
  targets = np.asarray(outputs['targets'], np.float64)
  predictions = np.asarray(outputs['predictions'], np.float64)
  rows = np.isfinite(predictions).all(-1) & np.isfinite(targets).all(-1)
  if not rows.any():
    return {}
  note = _note(rows.sum(), len(rows))
  targets, predictions = targets[rows], predictions[rows]
  names = _names(classes, targets.shape[-1])
  return {
    'Predicted against actual': _scatter(targets, predictions, names, note),
    'Residuals': _residuals(predictions - targets, names, note),
  }


def language(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
             classes: Sequence[str] | None) -> 'dict[str, Figure]':
  """How hard the texts of a split are: a histogram of their loss.

  Args:
    outputs: `nats` and `tokens`, both `[n]`, of each text.
    inputs: not looked at.
    classes: not looked at.
  """
  nats, tokens = (np.asarray(outputs[k], np.float64) for k in ('nats', 'tokens'))
  rows = np.isfinite(nats) & (tokens > 0)
  if not rows.any():
    return {}
  each = nats[rows] / tokens[rows]
  figure = _figure(HALF, 3.2)
  axes = _axes(figure.subplots())
  axes.hist(each, bins=min(60, max(10, len(each) // 10)), color=BLUE)
  mean = nats[rows].sum() / tokens[rows].sum()
  axes.axvline(mean, color=ORANGE, linewidth=1.2)
  axes.set_xlabel('loss of a text, nats a token')
  axes.set_ylabel('texts')
  _subtitle(axes, f'the line: {mean:.3f}, the mean over all tokens',
            _note(rows.sum(), len(rows)))
  return {'Loss of each text': figure}


def control(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
            classes: Sequence[str] | None, *, every: int = 1) -> 'dict[str, Figure]':
  """What the episodes of a split gave, and what was seen in a few of them.

  Args:
    outputs: `return` and `length`, both `[n]`; `frames`, what was observed every so
      many steps, `[n, frames, ...]`.
    inputs: not looked at.
    classes: not looked at.
    every: steps between two of the frames.

  Returns:
    title -> figure. Films are shown of images `[height, width, 1 or 3]` and of at most
    a dozen numbers.
  """
  returns = np.asarray(outputs['return'], np.float64)
  rows = np.isfinite(returns)
  if not rows.any():
    return {}
  returns = np.sort(returns[rows])
  figure = _figure(HALF, 3.2)
  axes = _axes(figure.subplots())
  axes.step(returns, np.arange(1, len(returns) + 1) / len(returns), where='post',
            color=BLUE)
  axes.axvline(returns.mean(), color=ORANGE, linewidth=1.2)
  axes.set_xlabel('return of an episode')
  axes.set_ylabel('share with this or less')
  axes.set_ylim(0, 1.02)
  _subtitle(axes, f'the line: {returns.mean():.4g}, the mean of {len(returns)} '
            'episodes', _note(rows.sum(), len(rows)))
  result = {'Returns': figure}
  film = outputs['frames']
  shown = np.flatnonzero(rows)[np.argsort(outputs['return'][rows], kind='stable')]
  shown = shown[[0, len(shown) // 2, -1]]
  ends = np.ceil(outputs['length'][shown] / every).astype(int)
  told = [f'{outputs["return"][i]:.4g}' for i in shown]
  if film.ndim == 5 and film.shape[-1] in (1, 3):
    # The last one lies within the episode, the first is its beginning.
    places = [np.linspace(0, max(end - 1, 0), 8).astype(int) for end in ends]
    result['Episodes'] = _album(
      [film[i, at] for i, at in zip(shown, places, strict=True)], told, 255, WIDE,
      'beginning to end of the worst, the middle and the best, with their returns')
  elif film.ndim == 3 and film.shape[-1] <= 12:
    result['Episodes'] = _tracks(
      [film[i, :end] for i, end in zip(shown, ends, strict=True)], told, every)
  return result


def generation(outputs: Mapping[str, np.ndarray], inputs: Inputs | None,
               classes: Sequence[str] | None, *,
               snapshots: Mapping[int, Mapping[str, np.ndarray]], paths: tuple[int, int],
               white: int = 255, note: str | None = None) -> 'dict[str, Figure]':
  """What a generator makes: samples beside real images, along the run, in between.

  Args:
    outputs: `generated`, `real` and `between`, uint8 `[n, height, width, 1 or 3]`, and
      `labels` `[n]`. The first rows of `between` are images on paths between two
      latents, one path after the other.
    inputs: not looked at.
    classes: their names; None numbers them.
    snapshots: step -> `generated` `[k, height, width, 1 or 3]`, of the same latents.
    paths: how many paths there are, and images on each.
    white: the byte of white.
    note: how they were measured, put beside them.

  Returns:
    title -> figure.
  """
  labels = np.asarray(outputs['labels'])
  if outputs['real'].shape[-1] not in (1, 3):
    return {}
  there = np.unique(labels)[:10]
  names = _names(classes, int(labels.max()) + 1)
  rows = [np.flatnonzero(labels == label)[:10] for label in there]
  width = min(map(len, rows))
  result = {}
  for title, images in (('Samples', outputs['generated']), ('Real', outputs['real'])):
    result[title] = _album(
      [images[row[:width]] for row in rows], [names[label] for label in there], white,
      HALF, note if title == 'Samples' else 'of the same split')
  if snapshots:
    steps = sorted(snapshots)
    # More of them early, when more changes.
    shown = sorted({int(i) for i in np.ceil(
      (len(steps) - 1) * np.linspace(0, 1, SNAPSHOTS) ** 2)})
    result['Along the run'] = _album(
      [snapshots[steps[i]]['generated'] for i in shown],
      [f'{steps[i]:,}' for i in shown], white, HALF,
      'the same latents after so many steps')
  count, points = paths
  if len(labels) >= count * points:
    result['Between two latents'] = _album(
      [outputs['between'][i * points : (i + 1) * points] for i in range(count)],
      [''] * count, white, HALF, 'on the great circle from left to right')
  return result


def curve(splits: Mapping[str, tuple[Sequence[float], Sequence[float]]],
          colors: Mapping[str, str], *, best: float | None = None,
          width: float = HALF) -> 'Figure':
  """One metric over the steps, all splits in one panel.

  Args:
    splits: name -> steps `[n]`, values `[n]`, NaN where there is none. The one called
      'train' is a thin line, the others have a marker at each evaluation.
    colors: of the splits, by name.
    best: the step of the best checkpoint, marked with a line.
    width: in inches.
  """
  figure = _figure(width, 0.32 * width + 1.1)
  axes, shown = _axes(figure.subplots()), np.zeros(0)
  for name, (steps, values) in splits.items():
    steps, values = _thin(np.asarray(steps, float), np.asarray(values, float))
    finite = values[np.isfinite(values)]
    shown = np.append(shown, finite)
    train = name == 'train'
    marker = None if train and len(finite) > 1 else 'o'
    axes.plot(steps, values, color=colors[name], marker=marker, markersize=3,
              linewidth=1 if train else 1.5, zorder=2 if train else 3)
  # Decades, not a spike, are what a linear axis would hide.
  if len(shown) and shown.min() > 0 and np.percentile(shown, 95) > 50 * shown.min():
    axes.set_yscale('log')
  if best is not None:
    axes.axvline(best, color='black', linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
  axes.grid(axis='y', linewidth=0.5)
  axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
  axes.set_xlabel('step')
  return figure


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = 15):
  """Confidence against accuracy (Guo et al. 2017, arXiv:1706.04599).

  Args:
    confidence: probability of the predicted class, `[n]`.
    right: whether it was right, bool `[n]`.
    bins: of equal width over 0 to 1; a bin holds its upper edge.

  Returns:
    expected calibration error; mean confidence, accuracy and count of each bin,
    `[bins]`, with 0 for an empty bin.
  """
  edge = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  counts = np.bincount(edge, minlength=bins)
  some = np.maximum(counts, 1)
  means = np.bincount(edge, weights=confidence, minlength=bins) / some
  accuracy = np.bincount(edge, weights=right, minlength=bins) / some
  error = float(np.sum(counts * np.abs(means - accuracy)) / max(len(confidence), 1))
  return error, means, accuracy, counts


# --- panels of classification ---------------------------------------------------


def _confusion(labels, predictions, names, note):
  from matplotlib.colors import LinearSegmentedColormap, to_rgb

  size = len(names)
  counts = np.zeros((size, size), int)
  np.add.at(counts, (labels, predictions), 1)
  shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  # From clear to opaque rather than from white: nothing shines on a dark page.
  clear = LinearSegmentedColormap.from_list(
    'clear', [(*to_rgb(BLUE), 0), (*to_rgb(BLUE), 1)])
  width = NARROW if size <= 4 else WIDE
  figure = _figure(width, width if size <= 4 else 0.9 * width)
  axes = _axes(figure.subplots())
  axes.set(xlabel='predicted', ylabel='true')
  axes.tick_params(length=0)
  image = axes.imshow(shares, cmap=clear, vmin=0, vmax=1, interpolation='none')
  if size <= 40:
    short = [_short(name, 18) for name in names]
    style = {'fontsize': 8 if size <= 20 else 5.5, 'parse_math': False}
    turned = max(map(len, short)) * size * style['fontsize'] * 0.7 > 60 * width
    axes.set_xticks(range(size), short, rotation=90 if turned else 0, **style)
    axes.set_yticks(range(size), short, **style)
  if size <= 20:
    digits = len(str(counts.max()))
    fontsize = min(10, 42 * width / size / (0.62 * max(digits, 2)))
    for row, column in np.ndindex(size, size):
      axes.text(column, row, str(counts[row, column]), ha='center', va='center',
                fontsize=fontsize, alpha=1 if counts[row, column] else 0.35,
                color='#fefefe' if shares[row, column] > 0.55 else 'black')
  if size > 4:
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=28)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=7)
    bar.set_label('share of the true class', fontsize=8)
  _subtitle(axes, note)
  return figure


def _roc(labels, scores, positive):
  from sklearn import metrics

  false, true, _ = metrics.roc_curve(labels, scores)
  area = metrics.auc(false, true)
  keep = np.unique(np.linspace(0, len(false) - 1, POINTS).round().astype(int))
  figure = _figure(NARROW, NARROW)
  axes = _axes(figure.subplots())
  axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
  axes.plot(false[keep], true[keep], color=BLUE, linewidth=1.8)
  axes.fill_between(false[keep], true[keep], color=BLUE, alpha=0.12, linewidth=0)
  axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect='equal',
           xlabel='false positive rate', ylabel='true positive rate')
  _subtitle(axes, f'AUC {area:.4f}, positive: {_short(positive, 18)}')
  return figure


def _reliability(confidence, right, bins=15):
  error, means, accuracy, counts = calibration(confidence, right, bins)
  some = counts > 0
  centers, wide = (np.arange(bins) + 0.5) / bins, 0.9 / bins
  figure = _figure(NARROW, NARROW)
  upper, lower = map(_axes, figure.subplots(2, sharex=True, height_ratios=(3, 1)))
  upper.bar(centers[some], accuracy[some], width=wide, color=BLUE, alpha=0.45)
  upper.plot(means[some], accuracy[some], 'o', color=BLUE, markersize=3)
  upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
  upper.set(xlim=(0, 1), ylim=(0, 1.03), ylabel='accuracy')
  lower.bar(centers, counts / counts.sum(), width=wide, color=GREY, alpha=0.7)
  lower.set(xlabel='confidence', ylabel='share')
  _subtitle(upper, f'expected calibration error {error:.4f}')
  return figure


def _mistakes(images, labels, predictions, confidence, names):
  columns, side = 8, FULL / 8.5
  rows = -(-len(images) // columns)
  short = [_short(name, 16) for name in names]
  pairs = [(short[a], short[b]) for a, b in zip(labels, predictions, strict=True)]
  between = ' → ' if max(len(a + b) for a, b in pairs) <= 14 else '\n→ '
  caption = 0.36 if between == ' → ' else 0.5
  height = rows * (side + caption)
  # Placed by hand: the solver of layouts takes seconds over so many panels.
  figure = _figure(FULL, height, layout=None)
  grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={
    'left': 0.005, 'right': 0.995, 'bottom': 0, 'top': 1 - caption / height,
    'hspace': caption / side, 'wspace': 0.06})
  for axes in grid.flat:
    axes.set_axis_off()
  # Bytes need not go up to 255: those of scikit-learn's digits end at 16.
  white = max(1, images.max()) if images.dtype == np.uint8 else 255
  for axes, image, pair, value in zip(  # the last row may not be full
      grid.flat, images, pairs, confidence, strict=False):
    axes.imshow(_picture(image, white), interpolation='none')
    axes.set_title(f'{between.join(pair)}\n{value:.3f}', fontsize=8, pad=3,
                   parse_math=False)
  return figure


def _tracks(films, returns, every):
  """What was observed, `[frames, numbers]` of each episode, over its steps."""
  figure = _figure(FULL, 2.6)
  names = ('the worst', 'the middle', 'the best')
  panels = figure.subplots(1, len(films), sharey=True)
  for axes, film, name, gained in zip(panels, films, names, returns, strict=True):
    _axes(axes)
    for number, track in enumerate(film.T):
      axes.plot(np.arange(len(track)) * every, track, linewidth=1, label=str(number))
    axes.set_xlabel('step')
    _subtitle(axes, f'{name}: return {gained}')
  panels[0].set_ylabel('observed')
  panels[-1].legend(fontsize=7, frameon=False, ncols=2)
  return figure


def _album(rows, names, white, width, note):
  """Images `[n, height, width, 1 or 3]` of several rows, in one picture."""
  gap, each = 2, max(1, 40 // rows[0].shape[1])  # pixels between images, and of one
  rows = [row.repeat(each, 1).repeat(each, 2) for row in rows]
  cells = [np.pad(row, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=white)
           for row in rows]
  page = np.concatenate([np.concatenate(list(row), 1) for row in cells])[:-gap, :-gap]
  high = rows[0].shape[1] + gap
  names = [_short(name, 16) for name in names]
  longest = max(map(len, names))
  figure = _figure(width, width * page.shape[0] / page.shape[1] * (
    1 - 0.012 * longest) + 0.3 * bool(note))
  axes = figure.subplots()
  axes.imshow(_picture(page, white, largest=1200), interpolation='none')
  axes.spines[:].set_visible(False)
  axes.set_xticks([])
  axes.set_yticks(np.arange(len(rows)) * high + (high - gap) / 2, names, fontsize=8,
                  parse_math=False)
  axes.tick_params(length=0)
  if note:
    _subtitle(axes, note)
  return figure


def _picture(image, white=255, largest=96):
  """`[height, width, 1 or 3]` of any range -> RGB in 0 to 1, small enough to embed.

  Of bytes, `white` becomes 1.
  """
  step = -(-max(image.shape[:2]) // largest)
  image = image[::step, ::step]
  if image.dtype == np.uint8:
    image = image / white
  else:
    image = image.astype(np.float64)
    finite = image[np.isfinite(image)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0, 1)
    image = np.nan_to_num((image - low) / ((high - low) or 1), posinf=1, neginf=0)
  return np.broadcast_to(image, (*image.shape[:2], 3))


# --- panels of regression -------------------------------------------------------


def _scatter(targets, predictions, names, note):
  rows = np.arange(len(targets))
  if len(rows) > POINTS:
    rows = np.sort(np.random.default_rng(0).choice(rows, POINTS, replace=False))
    note = f'{len(rows):,} of {len(targets):,} rows, drawn at random'
  figure, panels = _panels(names)
  for column, (axes, name) in enumerate(panels):
    actual, answer = targets[rows, column], predictions[rows, column]
    # A picture inside the drawing: thousands of vector points would weigh more.
    axes.scatter(actual, answer, 9, BLUE, alpha=0.45, linewidths=0, rasterized=True)
    ends = [min(actual.min(), answer.min()), max(actual.max(), answer.max())]
    axes.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlabel='actual', ylabel='predicted')
    _subtitle(axes, name, note)
    note = ''
  return figure


def _residuals(residuals, names, note):
  figure, panels = _panels(names)
  for column, (axes, name) in enumerate(panels):
    values = residuals[:, column]
    # A stray outlier would squeeze the rest; the bars at the ends take what is beyond.
    low, high = np.percentile(values, (1, 99))
    low, high = max(values.min(), 2 * low - high), min(values.max(), 2 * high - low)
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size:
      low, high = low - 0.5 * (size or 1), high + 0.5 * (size or 1)
    bins = int(np.clip(2 * len(values) ** (1 / 3), 5, 60))
    axes.hist(np.clip(values, low, high), bins=bins, range=(low, high), color=BLUE,
              alpha=0.6, edgecolor='white', linewidth=0.4)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlabel='predicted - actual', ylabel='rows')
    summary = f'mean {values.mean():.3g}, deviation {values.std():.3g}'
    _subtitle(axes, name, summary, note)
    note = ''
  return figure


def _panels(names, most=6, columns=3):
  count = min(len(names), most)
  rows = -(-count // columns)
  figure = _figure(FULL, 3 * rows) if count > 1 else _figure(HALF, 3.6)
  grid = figure.subplots(rows, min(count, columns), squeeze=False).flat
  for axes in grid[count:]:
    axes.set_axis_off()
  for axes in grid[:count]:
    _axes(axes).locator_params(axis='x', nbins=5)
  shown = [_short(name, 36) if len(names) > 1 else '' for name in names[:most]]
  return figure, list(zip(grid[:count], shown, strict=True))


# --- drawing --------------------------------------------------------------------


def _figure(width, height, layout='constrained'):
  from matplotlib.figure import Figure

  return Figure(figsize=(width, height), layout=layout)


def _axes(axes):
  axes.spines[['top', 'right']].set_visible(False)
  axes.spines[['left', 'bottom']].set_linewidth(0.6)
  axes.tick_params(labelsize=8, length=3, width=0.6)
  axes.xaxis.label.set_fontsize(8.5)
  axes.yaxis.label.set_fontsize(8.5)
  return axes


def _subtitle(axes, *lines):
  axes.set_title('\n'.join(filter(None, lines)), fontsize=8.5, loc='left',
                 parse_math=False)


def _note(finite, total):
  return '' if finite == total else f'{finite:,} of {total:,} rows are finite'


def _names(classes, count):
  given = [' '.join(str(name).split()) for name in classes or ()][:count]
  return given + [str(i) for i in range(len(given), count)]


def _short(name, longest):
  """Cut in the middle: names that are alike tend to differ at an end."""
  half = longest // 2
  return name if len(name) <= longest else f'{name[:half]}…{name[1 - half:]}'


def _thin(steps, values, most=600):
  """Means over stretches of a curve that has more points than a screen can show."""
  if len(steps) <= most:
    return steps, values
  groups = np.array_split(np.arange(len(steps)), most)
  return tuple(np.array([a[g].mean() for g in groups]) for a in (steps, values))
