"""Published parameters: files as Hugging Face's `transformers` writes them.

What a model says of its files is `models.hugging_face.Published`: here they are found,
compared with it, and made the arrays of this project.
"""

import contextlib
import json
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

ONLY = '(--config.init_pattern=REGEX takes only what it matches)'
_FLOATS = ('F64', 'F32', 'F16', 'BF16')


class Unfit(Exception):
  """Why what is at a path cannot be used."""


def parameters(path: pathlib.Path, wanted: dict[str, jax.Array], kept: Any,
               model: Any, say: Callable[[str], None], *, whole: bool,
               classes: tuple[str, ...] | None) -> tuple[dict[str, jax.Array], int]:
  """Published parameters, and how many arrays there are not taken.

  Args:
    path: of a `.safetensors` file, or of a folder.
    wanted: name -> a parameter or batch statistic, or its shape and sharding.
    kept: state of the run's tokenizer, or None.
    model: of the run; its `hugging_face()` says what is in the files.
    say: prints a line.
    whole: whether nothing in the files may be left over.
    classes: names of the run's classes, or None.

  Raises:
    Unfit: for files that cannot be read, are of another model, or do not fit.
  """
  files = weight_files(path)
  published = _published(model)
  config = _config(path, published, wanted, say)
  if config is not None:
    _check_config(config, published, wanted)
    if 'head/kernel' in wanted:
      _check_labels(config, classes, lambda line: say(f'{path}: {line}'))
  _check_tokenizer(_beside(path, 'tokenizer.json'), kept)
  with contextlib.ExitStack() as stack:
    arrays = _open(files, published.rename, stack)
    for copy, source in published.copies.items():
      tied = config is None or config.get('tie_word_embeddings', True)
      if tied and (copy in arrays or source in arrays):
        arrays.setdefault(copy, arrays.get(source))
        arrays.setdefault(source, arrays[copy])
    places = {name: _names(published.places[name], x.shape)
              for name, x in wanted.items() if name in published.places}
    used = {n for names in places.values() for n in names}
    left = [n for n in arrays if n not in used and n not in published.copies
            and not re.fullmatch(published.buffers, n)]
    theirs, missing = {}, {}
    for name in wanted:
      names = places.get(name)
      gone = [n for n in names or () if n not in arrays]
      if names is None or gone:
        missing[name] = ', '.join(_in_short(gone)) or _unpublished(published, name)
      else:
        theirs[name] = _shape(published.places[name], names, arrays)
    unused = [n for n in left if re.fullmatch(published.other, n)]
    check({name: x.shape for name, x in wanted.items()}, theirs, missing,
           [n for n in left if n not in unused] if whole else ())
    if unused and whole:
      say(f'{path}: this model has no such parts, left there: '
          f'{first(sorted(unused))}')
    for copy, source in published.copies.items():
      if whole and copy not in used and arrays.get(copy) != arrays.get(source) and (
        copy in arrays and not np.array_equal(
          _read(arrays[copy]), _read(arrays[source]))):
        raise Unfit(f'{copy} differs from {source}; in this model they are tied')
    found = {}
    for name, x in wanted.items():
      array = _assemble(published.places[name], places[name], arrays).astype(x.dtype)
      if name.endswith('/var') and (array < 0).any():
        raise Unfit(f'{", ".join(_in_short(places[name]))}: '
                    f'{(array < 0).sum():,} of {array.size:,} variances are below 0')
      found[name] = jax.make_array_from_callback(
        x.shape, x.sharding, lambda index, array=array: array[index])
  return found, len(left)


def first(names: Iterable[str], most: int = 10) -> str:
  names = list(names)
  rest = f', ... ({len(names)} in all)' if len(names) > most else ''
  return (', '.join(names[:most]) or 'none') + rest


def check(ours: Mapping[str, tuple], theirs: Mapping[str, tuple],
           missing: Mapping[str, str], left: Iterable[str]) -> None:
  """Refuses parameters that do not fit.

  Args:
    ours: name -> shape wanted.
    theirs: those of them that are there, name -> shape there.
    missing: those that are not -> what was looked for.
    left: what is there beside.

  Raises:
    Unfit: with a line for each that does not fit.
  """
  left = list(left)
  if not theirs:
    raise Unfit(f'nothing that is wanted is there; there is {first(left)}; wanted: '
                f'{first(missing.values(), 3)}')
  wrong = [f'  {name}: not there{f" ({what})" * (what != name)}'
           for name, what in missing.items()]
  wrong += [f'  {name}: there, but not wanted' for name in _in_short(left)]
  wrong += [f'  {name}: there {shape}, wants {ours[name]}'
            for name, shape in theirs.items() if shape != ours[name]]
  if wrong:
    raise Unfit('its parameters do not fit:\n' + '\n'.join([*wrong, ONLY]))


def _in_short(names: Iterable[str]) -> list[str]:
  """Names that differ in one number, that of a block, as one line."""
  alike: dict[str, list[str]] = {}
  for name in sorted(names, key=lambda name: (len(name), name)):  # 9 before 10
    alike.setdefault(re.sub(r'(?<=\.)\d+(?=\.)', '{}', name, count=1), []).append(name)
  return [same[0] if len(same) == 1 else
          f'{same[0]} to {same[-1]} ({len(same)})' for same in alike.values()]


def weight_files(path: pathlib.Path) -> dict[pathlib.Path, set[str] | None]:
  """The files that a path stands for, and which arrays an index says are in each."""
  if path.is_file():
    if path.suffix == '.json':
      raise Unfit('must be a folder or a .safetensors file; did you mean its folder, '
                  f'{path.parent}?')
    return {path: None}
  if not path.is_dir():
    raise Unfit(f'a link to {os.readlink(path)}, which is not there'
                if path.is_symlink() else 'there is no such file or folder')
  index = path / 'model.safetensors.index.json'
  if (path / 'model.safetensors').is_file():
    return {path / 'model.safetensors': None}
  if not index.is_file():
    raise Unfit(
      'must be the workdir of a run, a .safetensors file, or a folder with '
      f'{index.name.removesuffix(".index.json")} or {index.name}' + _hint(path))
  shards = _read_json(index).get('weight_map')
  if not isinstance(shards, dict) or not all(
    isinstance(name, str) for name in shards.values()):
    raise Unfit(f'{index.name} has no weight_map of names of files')
  outside = [name for name in shards.values() if _is_outside(name)]
  if outside:
    raise Unfit(f'{index.name} names {outside[0]!r}, which is outside of the folder')
  files = {path / name: set() for name in shards.values()}
  gone = [file.name for file in files if not file.is_file()]
  if gone:
    raise Unfit(f'{len(gone)} of {len(files)} files that {index.name} names are not '
                f'there: {first(gone)}')
  for array, name in shards.items():
    files[path / name].add(array)
  return files


def _is_outside(name: str) -> bool:
  """Whether a file that an index names is not in its folder."""
  given = pathlib.PurePosixPath(name)
  return given.is_absolute() or not given.parts or '..' in given.parts or '\0' in name


def _hint(folder: pathlib.Path) -> str:
  """What a folder without weights that can be read has instead."""
  if (folder / 'pytorch_model.bin').is_file():
    return ('; pytorch_model.bin, which can run any program when it is read, is not '
            "read: transformers' save_pretrained writes it anew")
  snapshots = sorted(folder.glob('snapshots/*/*.safetensors'))
  if snapshots:
    return f'; did you mean {snapshots[0].parent}?'
  others = sorted(file.name for file in folder.glob('*.safetensors'))
  return f'; there is {first(others)}, which can be named' * bool(others)


def _beside(path: pathlib.Path, name: str) -> pathlib.Path | None:
  """A file of a name in a folder; of a file: beside it, else beside what it links to.

  Raises:
    Unfit: if what has that name is not a file.
  """
  places = [path] if path.is_dir() else [file.parent for file in _links(path)]
  for folder in places:
    if os.path.lexists(folder / name):
      if not (folder / name).is_file():
        raise Unfit(f'{folder / name} is not a file, or links to none')
      return folder / name
  return None


def _links(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A file, and if it is a link what it links to, and so on."""
  yield path
  while path.is_symlink():
    path = path.parent / os.readlink(path)
    yield path


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    found = json.loads(path.read_text(encoding='utf-8-sig'))
  except (OSError, ValueError, RecursionError) as error:
    raise Unfit(f'{path.name} cannot be read: {error}') from None
  if not isinstance(found, dict):
    raise Unfit(f'{path.name} must be a JSON object, got a {type(found).__name__}')
  return found


def _published(model: Any):
  """What a model says of its files; see `models.hugging_face.Published`."""
  if not hasattr(model, 'hugging_face'):
    from bigmodels import models  # for their names only

    having = [n for n in models.__all__ if hasattr(getattr(models, n), 'hugging_face')]
    raise Unfit(f'is no workdir of a run, and {type(model).__name__} has no published '
                f'parameters; {", ".join(having)} have')
  try:
    return model.hugging_face()
  except ValueError as error:
    raise Unfit(f'is no workdir of a run, and this model is none that is published: '
                f'{error}') from None


def _unpublished(published, name: str) -> str:
  """Why no file has a parameter of ours, or its name."""
  return next((why for pattern, why in published.unpublished.items()
               if re.fullmatch(pattern, name)), name)


def _config(path: pathlib.Path, published, wanted: Iterable[str],
            say: Callable[[str], None]) -> dict[str, Any] | None:
  """What `config.json` says; None, which is printed, if there is none."""
  file = _beside(path, 'config.json')
  if file is None:
    keys = ', '.join(_settings(published, wanted))
    say(f'{path}: no config.json beside it, so what shapes do not show is not checked: '
        f'{keys}')
    return None
  return _read_json(file)


def _settings(published, wanted: Iterable[str]) -> dict[str, Any]:
  """The settings that matter for parameters of ours."""
  return {key: setting for key, setting in published.config.items()
          if any(re.fullmatch(setting.of, name) for name in wanted)}


def _check_config(config: Mapping[str, Any], published, wanted: Iterable[str]) -> None:
  """Refuses a model that computes something else with the same shapes.

  Args:
    config: what `config.json` says.
    published: what the model says of its files.
    wanted: names of ours.

  Raises:
    Unfit: with a line for each key.
  """
  wrong = [f'  model_type: there {_shown(config["model_type"])}, must be '
           f'{_shown(published.model_type)}'
           ] if config.get('model_type', published.model_type) != (
             published.model_type) else []
  classes, start = config.get('architectures') or [], published.architecture
  if not isinstance(classes, list) or not all(
    isinstance(name, str) and name.startswith(start) for name in classes):
    wrong.append(f'  architectures: there {_shown(classes)}, must begin with '
                 f'{_shown(start)}')
  if not wrong:  # of another family no other key is worth a word
    wrong = [f'  {key}: there {_shown(config[key])}, must be absent'
             for key in ('auto_map', 'per_layer_config') if config.get(key)]
    for key, setting in _settings(published, wanted).items():
      said = key if key in config or setting.alias not in config else setting.alias
      value = config.get(said, setting.default)
      if not any(_same(value, legal) for legal in setting.legal):
        there = 'there' if said in config else 'absent, which means'
        wrong.append(f'  {said}: {there} {_shown(value)}, must be '
                     f'{" or ".join(map(_shown, setting.legal))}')
    if wrong:
      wrong.append(ONLY)
  if wrong:
    raise Unfit(f'its config.json is of another model than this '
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


def _shown(value: Any, most: int = 60) -> str:
  text = json.dumps(value)
  return text if len(text) <= most else f'{text[:most]}...'


def _check_labels(config: Mapping[str, Any], ours: tuple[str, ...] | None,
                  say: Callable[[str], None]) -> None:
  """Compares the classes of a published head with those of a run.

  Args:
    config: what `config.json` says.
    ours: names of the run's classes; None for none.
    say: prints a line where both have names and they differ.

  Raises:
    Unfit: if they are the same in another order.
  """
  names = config.get('id2label')
  if ours is None or not isinstance(names, dict):
    return
  theirs = [names.get(str(place)) for place in range(len(ours))]
  if len(names) != len(ours) or not all(isinstance(name, str) for name in theirs) or (
    all(re.fullmatch(r'LABEL_\d+', name) for name in theirs)):
    return
  one, two = ([name.casefold().strip() for name in each] for each in (theirs, ours))
  if one == two:
    return
  place = next(i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
  differ = (f'class {place} of its config.json (id2label) is {theirs[place]!r}, that '
            f'of this run {ours[place]!r}')
  if sorted(one) == sorted(two):
    raise Unfit(f'{differ}: the same classes in another order; '
                "--config.init_pattern='(?!head/).*' takes all but the last layer")
  say(f'{differ}; taken by number')


def _check_tokenizer(path: pathlib.Path | None, kept: Any) -> None:
  """Refuses parameters that were taught by another vocabulary than the run's."""
  if kept is None or path is None:
    return
  from tokenizers import Tokenizer

  if not isinstance(kept.get('tokenizer'), str):
    raise Unfit(f"the run's tokenizer is {kept.get('kind')}, these parameters were "
                f'taught by the {path.name} beside them; give the data that file')
  try:
    theirs = Tokenizer.from_file(str(path)).get_vocab()
  except Exception as error:  # the library raises nothing narrower
    raise Unfit(f'{path.name} cannot be read: {error}') from None
  ours = Tokenizer.from_str(kept['tokenizer']).get_vocab()
  if ours != theirs:
    same = len(ours.items() & theirs.items())
    raise Unfit(f"{path.name} there has {len(theirs):,} tokens, the run's tokenizer "
                f'{len(ours):,}, of which {same:,} are the same; give the data that '
                'file')


def _open(files: Mapping[pathlib.Path, set[str] | None],
          rename: Callable[[str], str], stack: contextlib.ExitStack
          ) -> dict[str, tuple]:
  """Name, as a model means it, -> file and name there, of every array.

  Raises:
    Unfit: for a file that cannot be read, arrays elsewhere than an index says, and
      two arrays of one name.
  """
  from safetensors import SafetensorError, safe_open

  arrays, places = {}, {}
  for path, indexed in files.items():
    try:
      file = stack.enter_context(safe_open(path, 'numpy'))
      names = list(file.keys())
    except (SafetensorError, OSError) as error:
      raise Unfit(f'{path.name} cannot be read as safetensors: {error}') from None
    gone = sorted((indexed or set()) - set(names))
    if gone:
      raise Unfit(f'{path.name} lacks what the index says is there: {first(gone)}')
    for name in names:
      ours = rename(name)
      if ours in arrays:
        raise Unfit(f'{ours} is there twice: as {places[ours]}, and as {name} in '
                    f'{path.name}')
      arrays[ours], places[ours] = (file, name), f'{name} in {path.name}'
  return arrays


def _read(array: tuple) -> np.ndarray:
  """An array as float32.

  Raises:
    Unfit: for other types, values that are not finite, or become so in float32.
  """
  file, name = array
  kind = file.get_slice(name).get_dtype()
  if kind not in _FLOATS:
    raise Unfit(f'{name} is of the type {kind}, must be one of {", ".join(_FLOATS)}')
  there = file.get_tensor(name)
  with np.errstate(over='ignore'):
    found = there.astype(np.float32)
  wrong = int((~np.isfinite(found)).sum())
  if wrong:
    beyond = wrong - int((~np.isfinite(there.astype(np.float64))).sum())
    why = 'beyond the range of float32' if beyond == wrong else 'not finite'
    raise Unfit(f'{name} is {why}: {wrong:,} of {found.size:,} values')
  return found


def _names(place, shape: tuple[int, ...]) -> list[str]:
  """The arrays that a parameter of ours is made of."""
  if '{}' not in place.name:
    return [place.name]
  return [place.name.format(block) for block in range(shape[0])]


def _axes(place, number: int) -> tuple[int, ...]:
  """Which axes there ours are: of `[out, in, ...]`, `[..., in, out]`."""
  axes = tuple(range(number))
  return (*axes[2:], *axes[1::-1]) if place.transposed else axes


def _shape(place, names: list[str], arrays: dict[str, tuple]) -> tuple[int, ...]:
  """The shape that a parameter would have."""
  shapes = []
  for name in names:
    file, there = arrays[name]
    shape = tuple(file.get_slice(there).get_shape())
    shape = tuple(shape[axis] for axis in _axes(place, len(shape)))
    first, rest = shape[: len(place.merged)], shape[len(place.merged) :]
    # Other sides of the same product are shown as they are, which fits nothing.
    if place.merged and (first == place.merged or math.prod(first) != math.prod(
      place.merged)):
      shape = (math.prod(first), *rest)
    shapes.append((*shape[:-1], shape[-1] / place.parts) if shape else shape)
  first = tuple(int(n) if n == int(n) else n for n in shapes[0])
  if any(shape != shapes[0] for shape in shapes):
    raise Unfit(f'{names[0]} to {names[-1]} differ in shape')
  return (len(names), *first) if '{}' in place.name else first


def _assemble(place, names: list[str], arrays: dict[str, tuple]) -> np.ndarray:
  """A parameter of ours: turned, cut and stacked."""
  found = []
  for name in names:
    array = _read(arrays[name])
    array = array.transpose(_axes(place, array.ndim))
    if place.merged:
      array = array.reshape(-1, *array.shape[len(place.merged) :])
    size = array.shape[-1] // place.parts
    found.append(array[..., place.part * size : (place.part + 1) * size])
  return np.stack(found) if '{}' in place.name else found[0]
