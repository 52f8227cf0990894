"""Published parameters, from files as Hugging Face's `transformers` writes them.

A model describes its files by `models.hugging_face.Published`. Here they are compared
with the model and turned into the arrays of this project; `published_arrays.parts` is
the way back.
"""

import contextlib
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from bigmodels.core.errors import listed
from bigmodels.storage import published_arrays, weight_files
from bigmodels.storage import published_metadata as metadata
from bigmodels.storage.compatibility import IncompatibleWeights, check, in_short
from bigmodels.storage.weight_files import StoredArray


def parameters(path: pathlib.Path, expected: dict[str, jax.Array],
               tokenizer: Mapping[str, Any] | None, model: nn.Module,
               say: Callable[[str], None], *, whole: bool,
               classes: tuple[str, ...] | None) -> tuple[dict[str, jax.Array], int]:
  """Reads published parameters.

  Args:
    path: of a `.safetensors` file, or of a folder.
    expected: name -> a parameter or batch statistic of any shape, or its shape and
      sharding.
    tokenizer: state of the run's tokenizer, or None.
    model: of the run; its `hugging_face()` describes the files.
    say: prints a line.
    whole: whether nothing in the files may be left over.
    classes: names of the run's classes, or None.

  Returns:
    name -> parameter, of the shapes and shardings that are expected; and how many
    arrays of the files are not taken.

  Raises:
    IncompatibleWeights: for files that cannot be read, are of another model, or do not
      fit.
  """
  files = weight_files.find(path)
  published = of_model(model)
  config = metadata.read_config(path, published, expected, say)
  if config is not None:
    metadata.check_config(config, published, expected)
    if 'head/kernel' in expected:
      metadata.check_labels(config, classes, lambda line: say(f'{path}: {line}'))
  metadata.check_tokenizer(weight_files.beside(path, 'tokenizer.json'), tokenizer)
  with contextlib.ExitStack() as stack:
    arrays = weight_files.open_arrays(files, published.without_prefix, stack,
                                      lambda line: say(f'{path}: {line}'))
    for copy, source in published.copies.items():
      tied = config is None or config.get('tie_word_embeddings', True)
      if tied and (copy in arrays or source in arrays):
        arrays.setdefault(copy, arrays.get(source))
        arrays.setdefault(source, arrays[copy])
    sources = {name: published_arrays.names_of(published.locations[name], x.shape)
               for name, x in expected.items() if name in published.locations}
    used = {n for names in sources.values() for n in names}
    left = [n for n in arrays if n not in used and n not in published.copies
            and not re.fullmatch(published.buffers, n)]
    theirs, missing = {}, {}
    for name in expected:
      names, location = sources.get(name), published.locations.get(name)
      gone = [n for n in names or () if n not in arrays]
      if names is None or gone:
        missing[name] = ', '.join(in_short(gone)) or unpublished(published, name)
      else:
        theirs[name] = published_arrays.shape_of(location, names, arrays)
    unused = [n for n in left if re.fullmatch(published.other, n)]
    check({name: x.shape for name, x in expected.items()}, theirs, missing,
          [n for n in left if n not in unused] if whole else (), left)
    if unused and whole:
      say(f'{path}: not taken, since this model has no such parts: '
          f'{listed(sorted(unused))}')
    if whole:
      _check_copies(published.copies, used, arrays)
    found = {}
    for name, x in expected.items():
      array = published_arrays.assemble(published.locations[name], sources[name],
                                        arrays).astype(x.dtype)
      if name.endswith('/var') and (array < 0).any():
        raise IncompatibleWeights(
          f'{", ".join(in_short(sources[name]))}: '
          f'{(array < 0).sum():,} of {array.size:,} variances are below 0')
      found[name] = jax.make_array_from_callback(
        x.shape, x.sharding, lambda index, array=array: array[index])
  return found, len(left)


def of_model(model: nn.Module):
  """A model's `models.hugging_face.Published`.

  Raises:
    IncompatibleWeights: if it has none.
  """
  if not hasattr(model, 'hugging_face'):
    others = sorted({kind.__name__ for kind in _subclasses(nn.Module)
                     if hasattr(kind, 'hugging_face')})
    raise IncompatibleWeights(
      f'not the workdir of a run, and {type(model).__name__} has no '
      f'published parameters, as these have: {listed(others, 20)}')
  try:
    return model.hugging_face()
  except ValueError as error:
    raise IncompatibleWeights(
      'not the workdir of a run, and parameters of this variant are not '
      f'published: {error}') from None


def _subclasses(kind: type) -> Iterator[type]:
  """All classes that were defined so far and inherit from one."""
  for each in kind.__subclasses__():
    yield each
    yield from _subclasses(each)


def unpublished(published, name: str) -> str:
  """Why no file has a parameter of ours, or its name."""
  return next((why for pattern, why in published.unpublished.items()
               if re.fullmatch(pattern, name)), name)


def _check_copies(copies: Mapping[str, str], used: set[str],
                  arrays: Mapping[str, StoredArray]) -> None:
  """Refuses arrays that differ where the layers of this model are tied."""
  for copy, source in copies.items():
    if copy in used or copy not in arrays or arrays[copy] == arrays.get(source):
      continue
    if not np.array_equal(arrays[copy].read(), arrays[source].read()):
      raise IncompatibleWeights(
        f'{copy} differs from {source}; in this model they are tied')
