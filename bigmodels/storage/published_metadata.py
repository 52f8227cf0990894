"""Checks of the files beside published weights: `config.json`, `tokenizer.json`.

They hold what the shapes of arrays do not show, such as the number of heads.
"""

import json
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bigmodels.data import tokenizer_files
from bigmodels.storage.compatibility import ONLY, IncompatibleWeights
from bigmodels.storage.weight_files import beside, read_json


def read_config(path: pathlib.Path, published, names: Iterable[str],
                say: Callable[[str], None]) -> dict[str, Any] | None:
  """Reads `config.json`.

  Args:
    path: of the weights.
    published: the model's `models.hugging_face.Published`.
    names: of the parameters that are taken.
    say: prints a line, which names what is not checked if there is no such file.

  Returns:
    its content; None if there is no such file.

  Raises:
    IncompatibleWeights: if it cannot be read.
  """
  file = beside(path, 'config.json')
  if file is None:
    if keys := ', '.join(_settings(published, names)):
      say(f'{path}: no config.json beside it, so what shapes do not show is not '
          f'checked: {keys}')
    return None
  return read_json(file)


def _settings(published, names: Iterable[str]) -> dict[str, Any]:
  """The settings that matter for parameters with these names."""
  return {key: setting for key, setting in published.config.items()
          if any(re.fullmatch(setting.of, name) for name in names)}


def check_config(config: Mapping[str, Any], published, names: Iterable[str]) -> None:
  """Refuses a model that computes something else with the same shapes.

  Args:
    config: what `read_config` gives.
    published: the model's `models.hugging_face.Published`.
    names: of the parameters that are taken.

  Raises:
    IncompatibleWeights: with a line for each key.
  """
  wrong = [f'  model_type: there {_json(config["model_type"])}, must be '
           f'{_json(published.model_type)}'
           ] if config.get('model_type', published.model_type) != (
             published.model_type) else []
  classes, start = config.get('architectures') or [], published.architecture
  if not isinstance(classes, list) or not all(
    isinstance(name, str) and name.startswith(start) for name in classes):
    wrong.append(f'  architectures: there {_json(classes)}, must begin with '
                 f'{_json(start)}')
  if not wrong:  # the keys of another family say nothing
    wrong = [f'  {key}: there {_json(config[key])}, must be absent'
             for key in ('auto_map', 'per_layer_config') if config.get(key)]
    for key, setting in _settings(published, names).items():
      used = key if key in config or setting.alias not in config else setting.alias
      value = config.get(used, setting.default)
      if not any(_same(value, legal) for legal in setting.legal):
        there = 'there' if used in config else 'absent, which means'
        wrong.append(f'  {used}: {there} {_json(value)}, must be '
                     f'{" or ".join(map(_json, setting.legal))}')
    if wrong:
      wrong.append(ONLY)
  if wrong:
    raise IncompatibleWeights(
      f'its config.json is of another model than this '
      f'{published.family}:\n' + '\n'.join(wrong))


def _same(value: Any, legal: Any) -> bool:
  """Whether a value of JSON is a legal one; numbers may be written as floats."""
  if isinstance(legal, int | float) and isinstance(value, int | float):
    if isinstance(value, bool) and not isinstance(legal, bool):
      return False
    try:
      return math.isclose(value, legal, rel_tol=1e-6)  # some are rounded to float32
    except OverflowError:  # an integer beyond floats
      return False
  return value == legal


def _json(value: Any, most: int = 60) -> str:
  text = json.dumps(value)
  return text if len(text) <= most else f'{text[:most]}...'


def check_labels(config: Mapping[str, Any], ours: tuple[str, ...] | None,
                 say: Callable[[str], None]) -> None:
  """Compares the classes of a published head with those of a run.

  Args:
    config: what `read_config` gives.
    ours: names of the run's classes; None if they have none.
    say: prints a line if both have names and they differ.

  Raises:
    IncompatibleWeights: if they are the same in another order.
  """
  names = config.get('id2label')
  if ours is None or not isinstance(names, dict):
    return
  theirs = [names.get(str(index)) for index in range(len(ours))]
  if len(names) != len(ours) or not all(isinstance(name, str) for name in theirs) or (
    all(re.fullmatch(r'LABEL_\d+', name) for name in theirs)):
    return
  one, two = ([name.casefold().strip() for name in each] for each in (theirs, ours))
  if one == two:
    return
  index = next(i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
  differ = (f'class {index} of its config.json (id2label) is {theirs[index]!r}, that '
            f'of this run {ours[index]!r}')
  if sorted(one) == sorted(two):
    raise IncompatibleWeights(
      f'{differ}: the same classes in another order; '
      "--config.init_pattern='(?!head/).*' takes all but the last layer")
  say(f'{differ}; taken by number')


def check_tokenizer(path: pathlib.Path | None, tokenizer: Mapping[str, Any] | None
                    ) -> None:
  """Refuses weights that were trained with another vocabulary than the run's.

  Args:
    path: of `tokenizer.json`, or None.
    tokenizer: state of the run's tokenizer, or None.

  Raises:
    IncompatibleWeights: if they differ, or cannot be compared.
  """
  if tokenizer is None or path is None:
    return
  from tokenizers import Tokenizer

  library = tokenizer_files.as_library(tokenizer)
  if library is None:
    raise IncompatibleWeights(
      f"the run's tokenizer is {tokenizer.get('kind')}, these parameters "
      f'were trained with the {path.name} beside them; give the data that '
      'file')
  try:
    theirs = Tokenizer.from_file(str(path)).get_vocab()
  except Exception as error:  # the library raises nothing narrower
    raise IncompatibleWeights(f'{path.name} cannot be read: {error}') from None
  ours = library.get_vocab()
  if ours != theirs:
    same = len(ours.items() & theirs.items())
    raise IncompatibleWeights(
      f"{path.name} there has {len(theirs):,} tokens, the run's tokenizer "
      f'{len(ours):,}, of which {same:,} are the same; give the data that '
      'file')
