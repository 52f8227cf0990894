"""Inference: new examples are read, batched and transformed as in an evaluation."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bigmodels import losses
from bigmodels.config import Experiment
from bigmodels.core.errors import UserError, listed, nearest
from bigmodels.core.prefetching import prefetch
from bigmodels.data import batches as batching
from bigmodels.data.readers.arrays import ArrayReader
from bigmodels.data.readers.labelled import LabelledExamples
from bigmodels.data.readers.reader import Chunk, Examples, Reader, joined
from bigmodels.data.sources import Columns, DataContext
from bigmodels.data.tables.csv_dialects import SETTINGS, Reading
from bigmodels.training.build import Built

_COLUMNS = ('prediction', 'probability', 'error')  # of a table of predictions
_MOST = 2**13  # examples of a batch, where the evaluation takes a whole split
_BATCH = 1024  # then
_AHEAD = 2  # chunks that are read while others are predicted


class Predicted(NamedTuple):
  """The outputs for some consecutive examples.

  Attributes:
    examples: the examples.
    outputs: name -> `[n, ...]`; those of examples with faults mean nothing.
  """

  examples: Chunk
  outputs: dict[str, np.ndarray]


# --- reading ----------------------------------------------------------------------


def reader_of(built: Built, experiment: Experiment, run: str,
              say: Callable[[str], None]) -> Reader:
  """The reader of new examples of a run.

  Args:
    built: the run.
    experiment: its experiment; the source of its first evaluation is meant.
    run: its name, for errors.
    say: prints a line.

  Raises:
    UserError: if the source refuses what the run keeps.
  """
  source = next(iter(experiment.evals.values()), experiment.train).source
  of_source = getattr(source, 'reader', None)
  if of_source is None:
    return dataclasses.replace(
      array_reader(built, run, say), fit=getattr(source, 'fit', None))
  return of_source(DataContext(
    built.data['data_dir'], pathlib.Path(), built.data['kept'], say))


def with_settings(reader: Reader, settings: Mapping[str, Any]) -> Reader:
  """A reader with other settings for reading tables.

  Args:
    reader: of a run.
    settings: one of `csv_dialects.SETTINGS` -> value.

  Raises:
    UserError: if the reader reads no tables, or a setting is unknown or not legal.
  """
  if not settings:
    return reader
  for name in settings:
    if name not in SETTINGS:
      raise UserError(f'no setting {name!r} of files{nearest(name, SETTINGS)}')
  if not isinstance(getattr(reader, 'reading', None), Reading):
    raise UserError(f'{listed(settings)}: of tables, which this run does not read')
  return dataclasses.replace(
    reader, reading=dataclasses.replace(reader.reading, **settings))


def array_reader(built: Built, run: str, say: Callable[[str], None]) -> ArrayReader:
  """The reader of arrays of raw columns.

  Args:
    built: the run.
    run: its name, for errors.
    say: prints a line.
  """
  like, dataset = example(built), built.train.dataset
  return ArrayReader(
    run, [name for name in built.task.inputs if name in like], like, dataset.tokenizer,
    dataset.features, dataset.target, dataset.classes,
    reading=Reading() if dataset.features else None, say=say)


def are_paths(values: Any) -> bool:
  """Whether values in memory are the paths of files: `pathlib.Path`s."""
  return isinstance(values, os.PathLike) or (
    isinstance(values, list | tuple) and len(values) > 0
    and all(isinstance(value, os.PathLike) for value in values))


def paths_of(data: Any) -> list[pathlib.Path]:
  """The paths of files or folders, given as one or as a list.

  Raises:
    UserError: for anything else.
  """
  paths = [data] if isinstance(data, str | os.PathLike) else data
  if not isinstance(paths, list | tuple) or not all(
    isinstance(path, str | os.PathLike) for path in paths):
    raise UserError('data: must be the path of a file or folder, or a list of them, '
                    f'got {type(data).__name__}')
  return [*map(pathlib.Path, paths)]


def example(built: Built) -> Columns:
  """Every column `[1, ...]` of one example of the training split."""
  return built.train.dataset.read(np.zeros(1, int))


def length(columns: Mapping[str, Any]) -> int:
  """The number of rows of columns `[n, ...]`."""
  return len(next(iter(columns.values())))


def on_files(run: Any, splits: Sequence[str], paths: Sequence[pathlib.Path],
             settings: Mapping[str, Any]) -> Any:
  """A `Run` with the labelled examples of files as the data of a split.

  Args:
    run: to open again.
    splits: the split whose evaluation is meant; none if there is only one.
    paths: the files.
    settings: see `Run.examples`.

  Raises:
    UserError: for several splits, or files that do not fit the run.
  """
  evals = run.experiment.evals
  splits = splits or tuple(evals)
  if len(splits) != 1:
    raise UserError('data: name the split whose evaluation is meant, one of '
                    f'{", ".join(evals)}')
  examples = run.examples(paths, labels=True, **settings)
  source = LabelledExamples(
    examples, examples.classes or run.classes, listed(map(str, paths)), run.say)
  around = getattr(evals[splits[0]].source, 'around', None)
  source = source if around is None else around(source)
  opened = run.reopen(evals={splits[0]: dataclasses.replace(
    evals[splits[0]], source=source, resident=None, workers=0)})
  for line in opened.built.data['kept'].get('notes', ()):
    if line not in run.built.data['kept'].get('notes', ()):
      run.say(line)
  return opened


# --- batches ----------------------------------------------------------------------


def batch_size(experiment: Experiment, rows: int | None, cut: int) -> int:
  """The examples of a batch: as an evaluation of so many would have.

  Numbers may depend on it in their last bits.

  Args:
    experiment: its first evaluation is meant.
    rows: number of examples; None for more than a batch.
    cut: number of parts that a batch is divided into.
  """
  first = next(iter(experiment.evals.values()), None)
  size = batching.size_of(first.batch_size, rows or _MOST, cut) if first else _BATCH
  if size is None:
    size = rows if rows and rows <= _MOST else _BATCH
  return -(-min(size, rows or size) // cut) * cut


def batches(columns: Columns, size: int) -> Iterator[tuple[Columns, int]]:
  """Batches of columns `[n, ...]`, padded to one size, and the row each begins at."""
  for start in range(0, length(columns), size):
    parts = {name: x[start : start + size] for name, x in columns.items()}
    yield {name: x if len(x) == size else np.concatenate([
      x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])
      for name, x in parts.items()}, start


def batch(built: Built, columns: Mapping[str, Any], first: int = 0
          ) -> dict[str, jax.Array]:
  """A batch as the run's transforms make it; missing columns are zeros.

  Args:
    built: the run.
    columns: name -> `[n, ...]`.
    first: number of the first row.
  """
  count = length(columns)
  rows = first + jnp.arange(count, dtype=jnp.int32)
  columns = {
    **{name: jnp.zeros((count, *x.shape[1:]), x.dtype)
       for name, x in example(built).items() if name != 'corrupt'},
    **columns, 'rows': rows, 'epochs': jnp.zeros_like(rows)}
  return built.train.batch({}, {k: v[None] for k, v in columns.items()}, 0,
                           [jax.random.PRNGKey(0)])


def outputs(program: Callable[[Columns], Any], columns: Columns, size: int) -> Columns:
  """The outputs `[n, ...]` of a program for columns `[n, ...]`, in batches.

  Args:
    program: columns `[size, ...]` -> name -> `[size, ...]`.
    columns: of all examples.
    size: examples of a batch.
  """
  found = jax.device_get([program(part) for part, _ in batches(columns, size)])
  return {name: np.concatenate([each[name] for each in found])[: length(columns)]
          for name in found[0]}


def logits(outputs: Columns, task: str) -> np.ndarray:
  """The logits of two or more classes, `[n, classes]`.

  Args:
    outputs: `logits` and `probabilities` `[n, classes]`; or `logits` `[n, 1]` of class
      1, to which zeros are added for class 0.
    task: what gave them, for the error.

  Raises:
    UserError: if the probabilities are not those of the logits.
  """
  found = outputs['logits']
  expected = outputs['probabilities']
  if not np.allclose(losses.probabilities(found), expected, rtol=0, atol=1e-3):
    raise UserError(f"{task}, whose probabilities are not those of the mean of its "
                    "model's logits")
  return found if found.shape[-1] > 1 else np.concatenate(
    [np.zeros_like(found), found], -1)


def table(built: Built, parts: Sequence[Predicted]) -> dict[str, Any]:
  """The predictions of examples as the columns of a table.

  Args:
    built: the run.
    parts: consecutive examples with their outputs.

  Returns:
    The name of each example; extra columns, as `id_NAME` if a name is taken;
    `prediction`, a class by its name, or numbers; `probability`, class -> column;
    further outputs; and `error`, why there is no prediction. Values are masked where
    there is none. An example with several steps has a row for each.
  """
  classes = built.train.dataset.classes
  chunk = joined([part.examples._replace(columns={}) for part in parts])
  outputs = {name: np.concatenate([part.outputs[name] for part in parts])
             for name in parts[0].outputs}
  steps, given = 1, {**chunk.extra}
  if chunk.steps:
    steps = next(iter(chunk.steps.values())).shape[1]
    outputs = {name: values.reshape(-1, *values.shape[2:])
               for name, values in outputs.items()}
    given = {name: np.repeat(values, steps) for name, values in given.items()} | {
      name: values.ravel() for name, values in chunk.steps.items()}

  def each(values):
    return values if steps == 1 else np.repeat(values, steps)

  lost = np.zeros(chunk.length, bool)
  lost[[*chunk.faults]] = True
  lost = each(lost)
  found: dict[str, Any] = {chunk.unit: each(np.arange(
    chunk.names.start, chunk.names.stop) if isinstance(
      chunk.names, range) else chunk.names)}
  for name, values in given.items():
    found[f'id_{name}' if name in (*found, *_COLUMNS) else name] = values
  if built.task.answers:
    answers, outputs = built.task.answers(outputs), {}
    for name, values in answers.items():
      if isinstance(values, np.ndarray):
        outputs[name] = values
      else:
        found[name] = [None if gone else value for value, gone in zip(
          values, lost.tolist(), strict=True)]
  for name, values in outputs.items():
    name = {'predictions': 'prediction', 'probabilities': 'probability'}.get(name, name)
    values = values.reshape(len(values), -1)
    one = values.shape[1] == 1
    if classes and one and name == 'prediction' and values.dtype.kind in 'iu':
      values = np.array(classes, object)[values]
    columns = [_masked(column, lost) for column in values.T]
    names = chunk.targets or (classes if name == 'probability' else None)
    keys = names if names and len(names) == len(columns) else (
      [*map(str, range(len(columns)))])
    found[name] = columns[0] if one else dict(zip(keys, columns, strict=True))
  errors: list[str | None] = [None] * chunk.length
  for index, why in chunk.faults.items():
    errors[index] = why
  return {**found, 'error': [why for why in errors for _ in range(steps)]}


def _masked(column: np.ndarray, lost: np.ndarray) -> np.ndarray:
  """A column `[n]`, masked where `lost` and where it is masked already."""
  mask = lost | np.ma.getmaskarray(column)
  column = np.ascontiguousarray(np.ma.getdata(column))
  return np.ma.masked_array(column, mask) if mask.any() else column


# --- streams ----------------------------------------------------------------------


def stream(program: Callable[[Columns], Any], examples: Examples, first: int,
           size_of: Callable[[int | None], int]) -> Iterator[Predicted]:
  """The outputs for the examples of an input, in order, while it is being read.

  Batches are cut as an evaluation of the whole input would cut them.

  Args:
    program: columns `[size, ...]` -> name -> `[size, ...]`.
    examples: of the input.
    first: example to begin at; a multiple of the size of a batch.
    size_of: number of examples, or None -> size of a batch.
  """
  size, held = None, []
  least = max(size_of(None), _MOST + 1)  # with so many, the size is that of any number
  for chunk in prefetch(examples.chunks(first), _AHEAD):
    held.append(chunk)
    count = sum(each.length for each in held)
    if size is None and (examples.length or first + count >= least):
      size = size_of(examples.length)
    whole = count - count % size if size else 0
    if whole:
      chunk = joined(held)
      held = [chunk.part(whole, count)] if whole < count else []
      yield _predicted(program, chunk.part(0, whole), size)
  if held:
    chunk = joined(held)
    yield _predicted(program, chunk, size or size_of(first + chunk.length))


def whole(parts: Iterable[Predicted]) -> dict[str, np.ndarray]:
  """The outputs `[n, ...]` of all examples.

  Raises:
    UserError: for the first example that has no prediction.
  """
  parts = [*parts]
  for part in parts:
    for index, why in part.examples.faults.items():
      raise UserError(f'{part.examples.names[index]}: {why}')
  return {name: np.concatenate([part.outputs[name] for part in parts])
          for name in parts[0].outputs}


def _predicted(program: Callable[[Columns], Any], chunk: Chunk, size: int) -> Predicted:
  return Predicted(chunk, outputs(program, chunk.columns, size))
