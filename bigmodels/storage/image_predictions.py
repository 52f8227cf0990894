"""Images and masks that are made of images: a PNG file for each, in a folder."""

import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from bigmodels.core import files, paths
from bigmodels.core.errors import UserError, listed, one_line
from bigmodels.data.folders import decoding, image_files, listing
from bigmodels.storage.predictions import SUFFIXES

_OF_FILES = {*SUFFIXES, *image_files.SUFFIXES, '.json'}


def find(given: Sequence[pathlib.Path], say: Callable[[str], None]
         ) -> list[listing.File]:
  """Finds the images to read.

  Args:
    given: images, and folders of images at any depth.
    say: prints a line: what is skipped.

  Raises:
    UserError: if there are none, or a table is given.
  """
  for path in given:
    if path.suffix.lower() in SUFFIXES:
      raise UserError(f'--input={path}: is a table; give images, folders or patterns, '
                      'for this run writes an image for each')
  found = listing.find(given, image_files.SUFFIXES, what='image')
  for line in found.lines:
    say(line)
  if not found.files:
    raise UserError(f'--input={listed(map(str, given))}: has no images: files that end '
                    f'in {listed(sorted(image_files.SUFFIXES))}')
  return found.files


def write(make: Callable[[np.ndarray, listing.File], np.ndarray],
          images: Sequence[listing.File], output: str, *, overwrite: bool,
          say: Callable[[str], None], channels: Literal[1, 3] | None = None
          ) -> pathlib.Path:
  """Writes the image that is made of each image, as a PNG file with its name.

  An image of a folder keeps its place in it. One that cannot be read is named, and has
  no file.

  Args:
    make: (image uint8 `[height, width, 1 or 3]`, its file) -> another one, or a mask
      uint8 `[height, width]`.
    images: see `find`.
    output: the folder to write to, `--output`; it is made if it does not exist.
    overwrite: whether to replace files.
    say: prints a line.
    channels: of images for `make`; None for 1 of those that are grey, and 3 of others.

  Returns:
    The folder.

  Raises:
    UserError: if no image can be read; or for files that cannot be written, or
      exist.
  """
  given_as_file = pathlib.Path(output).suffix.lower() in _OF_FILES
  if given_as_file and not os.path.isdir(output):
    raise UserError(f'--output={output}: must be a folder, for this run makes images')
  folder = paths.output(output, ())
  targets = _targets(images, folder, overwrite=overwrite)
  start, count = time.perf_counter(), 0
  for file, target in zip(images, targets, strict=True):
    try:
      image, notes = image_files.read(file.path, channels)
    except decoding.Corrupt as error:
      say(f'warning: {one_line(file.path)}: cannot be read as an image: {error}')
      continue
    made = make(image, file)
    try:
      target.parent.mkdir(parents=True, exist_ok=True)
      files.write(target, image_files.png(made))
    except OSError as error:
      raise UserError(f'--output={output}: cannot be written: {paths.reason(error)}'
                      ) from None
    count += 1
    sizes = f'{image_files.pixels(made.shape)}, from {image_files.pixels(image.shape)}'
    say('; '.join([f'{one_line(str(target))}: {sizes}',
                   *(f'image {note}' for note in notes)]))
  if not count:
    raise UserError(f'--input={listed(file.path for file in images)}: no image can be '
                    'read')
  say(f'{listing.counted(count, "image")} of {len(targets):,} in '
      f'{time.perf_counter() - start:.1f} s: {one_line(str(folder))}')
  return folder


def write_json(path: pathlib.Path, value: Any, *, overwrite: bool,
               say: Callable[[str], None]) -> None:
  """Writes a JSON value.

  Args:
    path: the file.
    value: what to write.
    overwrite: whether to replace the file.
    say: prints a line.

  Raises:
    UserError: if it exists, or cannot be written.
  """
  check_new(path, overwrite=overwrite)
  try:
    files.write(path, json.dumps(value))
  except OSError as error:
    raise UserError(f'--output: {path} cannot be written: {paths.reason(error)}'
                    ) from None
  say(one_line(str(path)))


def check_new(path: pathlib.Path, *, overwrite: bool) -> None:
  """Refuses a file that exists.

  Args:
    path: the file.
    overwrite: whether it may be replaced.

  Raises:
    UserError: if it exists and may not.
  """
  if files.exists(path) and not overwrite:
    raise UserError(f'--output: {path} exists; choose another folder, or replace it '
                    'with --overwrite')


def _targets(found: Sequence[listing.File], folder: pathlib.Path, *, overwrite: bool
             ) -> list[pathlib.Path]:
  """The file to write for each image, no two the same."""
  sources = {os.path.realpath(file.path) for file in found}
  targets: dict[pathlib.Path, str] = {}
  for file in found:
    target = (folder / file.name).with_suffix('.png')
    if target in targets:
      raise UserError(f'--input: {targets[target]} and {file.path} would both be '
                      f'written to {target}; give them in two commands')
    if os.path.realpath(target) in sources:
      raise UserError(f'--output={folder}: {target} is a file of --input, which would '
                      'be lost; choose another folder')
    if files.exists(target) and not overwrite:
      raise UserError(f'--output={folder}: {target} exists; choose another, or replace '
                      'it with --overwrite')
    targets[target] = file.path
  return [*targets]
