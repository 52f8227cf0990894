"""--mode=predict: predicts new examples with the best checkpoint of a workdir."""

import contextlib
import itertools
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from bigmodels.cli.request import Request
from bigmodels.core import paths
from bigmodels.core.errors import UserError, listed
from bigmodels.storage import image_predictions
from bigmodels.storage.fingerprint import fingerprint
from bigmodels.storage.predictions import SUFFIXES, PredictionsFile
from bigmodels.tasks.task import Findings
from bigmodels.training import inference
from bigmodels.training.inference import Predicted
from bigmodels.training.runs import Run

_ROWS = 2**16  # of a part of the output
_SECONDS = 20.0  # after which a part is written
_NAMED = 5  # examples without a prediction that are named


def run(request: Request, *, input: list[str] | None = None, output: str | None = None,
        overwrite: bool = False, draw_threshold: float | None = None) -> None:
  """Writes a prediction for each example of files, in their order.

  A command that was stopped goes on where it was, if it is given again. How a table is
  written is found out; --config.delimiter, decimal, thousands, missing and encoding say
  it. A run that makes images of images writes them to a folder, as PNG files, and
  begins anew; so does one that finds something in images, if `output` is no table: it
  draws it, and writes it as JSON.

  Args:
    request: the flags of every mode.
    input: a file, a folder or a pattern such as 'photos/*.jpg': a table, texts, images
      or arrays, as the run reads.
    output: the file to write: .csv, .jsonl or .parquet; of images a folder.
    overwrite: replace the output if it exists.
    draw_threshold: minimum score, 0 to 1, of what is drawn in images; that of the run,
      --config.task.draw_threshold, if left out.

  Raises:
    UserError: for files that do not fit the run, or a run without predictions.
  """
  if not input:
    raise UserError('--mode=predict: set --input=FILE, a folder or a pattern')
  if not output:
    raise UserError('--mode=predict: set --output=FILE.csv, .jsonl or .parquet; of '
                    'images a folder')
  if draw_threshold is not None and not 0 <= draw_threshold <= 1:
    raise UserError(f'--draw_threshold={draw_threshold}: must be 0 to 1')
  given, skipped = request.matching(input, '--input')
  request, reading = request.reading()
  workdir, resolved = request.recorded(with_data=False)
  with (request.opened(workdir, resolved, alone='predict') as (group, opened),
        contextlib.ExitStack() as stack):
    say = group.say
    for line in skipped:
      say(line)
    findings = opened.built.task.findings
    draws = findings is not None and pathlib.Path(output).suffix.lower() not in SUFFIXES
    if draw_threshold is not None and not draws:
      raise UserError(f'--draw_threshold={draw_threshold}: ' + (
        'this run draws nothing in images' if findings is None else
        f'nothing is drawn in a table; --output={output} must be a folder'))
    if opened.built.task.image_to_image is not None:
      inference.with_settings(opened.reader, reading)
      image_predictions.write(
        lambda image, file: opened.image_to_image(image),
        image_predictions.find(given, say), output, overwrite=overwrite, say=say,
        channels=opened.built.task.channels)
      return
    if draws:
      inference.with_settings(opened.reader, reading)
      if draw_threshold is not None:
        findings = findings._replace(threshold=draw_threshold)
      _draw(opened, findings, given, output, overwrite, say)
      return
    opened.check_predicts()
    target = paths.output(output, SUFFIXES)
    examples = opened.examples(given, **reading)
    if target.exists() and any(os.path.samefile(target, x) for x in examples.files):
      raise UserError(f'--output={output}: is a file of --input, which would be lost; '
                      'choose another')
    file = PredictionsFile(target, [
      str(workdir.path), opened.step, int(fingerprint(opened.params)),
      opened.threshold, opened.temperature, examples.identity(), reading],
      overwrite=overwrite)
    if file.rows:
      say(f'going on after {file.rows // examples.steps:,} examples')
    start, first = time.perf_counter(), file.rows
    without = _write(file, opened, _with_bar(opened.predictions(
      examples, first // examples.steps), stack), say)
    file.finish()
    if without and without * examples.steps == file.rows:
      raise UserError(f'no example has a prediction; {target} says why')
    seconds = time.perf_counter() - start
    say(f'{file.rows:,} prediction{"s" * (file.rows != 1)} in {seconds:.1f} s '
        f'({(file.rows - first) / max(seconds, 1e-9):,.0f}/s): {target}')


def _write(file: PredictionsFile, opened: Run, parts: Iterator[Predicted],
           say: Callable[[str], None]) -> int:
  """Writes predictions; returns the number of examples without one."""
  pending, rows, since = [], 0, time.perf_counter()
  without, count = [], 0
  for part in parts:
    pending.append(part)
    rows += part.examples.length
    count += len(part.examples.faults)
    without += [f'{part.examples.names[i]} ({why})' for i, why in itertools.islice(
      part.examples.faults.items(), _NAMED - len(without))]
    if rows >= _ROWS or time.perf_counter() - since > _SECONDS:
      file.write(inference.table(opened.built, pending))
      pending, rows, since = [], 0, time.perf_counter()
  if pending:
    file.write(inference.table(opened.built, pending))
  if count:
    say(f'warning: {count:,} without a prediction: {listed(without)}' + (
      ', ...' if count > _NAMED else ''))
  return count


def _draw(opened: Run, findings: Findings, given: list[pathlib.Path], output: str,
          overwrite: bool, say: Callable[[str], None]) -> None:
  """Draws what is found in images, and writes it as JSON."""
  image_predictions.check_new(pathlib.Path(output) / findings.file, overwrite=overwrite)
  images = image_predictions.find(given, say)
  examples = opened.examples([pathlib.Path(file.path) for file in images])
  found = zip(map(str, examples.files), _rows(opened.predictions(examples)),
              strict=True)
  names, sizes, outputs = [], [], []

  def make(image, file):
    # Both are in the order of files; those that cannot be read are left out here.
    outputs.append(next(row for path, row in found if path == file.path))
    names.append(file.name)
    sizes.append(image.shape[:2])
    return findings.draw(findings.threshold, image, outputs[-1])

  folder = image_predictions.write(make, images, output, overwrite=overwrite, say=say)
  every = {name: np.stack([each[name] for each in outputs]) for name in outputs[0]}
  say(findings.line(findings.threshold, every))
  image_predictions.write_json(folder / findings.file, findings.document(
    names, sizes, every), overwrite=overwrite, say=say)


def _rows(parts: Iterator[Predicted]) -> Iterator[dict[str, np.ndarray]]:
  """The outputs of each example, name -> `[...]`."""
  for part in parts:
    for row in range(part.examples.length):
      yield {name: values[row] for name, values in part.outputs.items()}


def _with_bar(parts: Iterator[Predicted], stack: contextlib.ExitStack
              ) -> Iterator[Predicted]:
  """The same, shown in a bar on a terminal."""
  if not sys.stderr.isatty():
    yield from parts
    return
  from tqdm import tqdm

  bar = stack.enter_context(tqdm(
    total=1.0, leave=False, dynamic_ncols=True,
    bar_format='{percentage:3.0f}% |{bar}| [{elapsed}<{remaining}]'))
  for part in parts:
    bar.update(part.examples.done - bar.n)
    yield part
