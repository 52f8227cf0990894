"""--to=safetensors: weights as `transformers` loads them, or by parameter path."""

import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from bigmodels.config import config_file
from bigmodels.core.errors import UserError
from bigmodels.core.version import VERSION
from bigmodels.export.hugging_face import card, config
from bigmodels.storage import exported, published, published_arrays
from bigmodels.storage.compatibility import IncompatibleWeights
from bigmodels.storage.published_arrays import Part
from bigmodels.storage.records import read_result
from bigmodels.storage.workdir import Workdir
from bigmodels.training import inference, initialize
from bigmodels.training.runs import Run

DTYPES = {'float32': np.float32, 'bfloat16': ml_dtypes.bfloat16, 'float16': np.float16}
_ROWS = 8  # compared after writing


def write(run: Run, folder: pathlib.Path, *, dtype: str, shard_bytes: int,
          say: Callable[[str], None]) -> None:
  """Writes `model.safetensors` and the files beside it.

  Args:
    run: see `bigmodels.export`.
    folder: an empty one.
    dtype: a key of `DTYPES`.
    shard_bytes: maximum size of a file of weights.
    say: prints a line.

  Raises:
    UserError: for weights that the dtype cannot hold, or a file that reads differently.
  """
  layout, why = _layout(run)
  if layout is None:
    say(f'weights by parameter path: {why}')
    arrays = {name: Part(x.shape, lambda x=x: np.asarray(x).copy('C'))
              for name, x in exported.by_path(run.state).items()}
  else:
    say(f'weights as {layout.architecture}{layout.head} of transformers')
    arrays = published_arrays.parts(layout, initialize.named(run.state))
  text = config_file.to_text(run.resolved)
  metadata = {
    'format': 'bigmodels' if layout is None else 'pt',  # transformers asks for 'pt'
    'bigmodels': VERSION, 'experiment': run.resolved.name,
    'step': str(run.step), 'config_sha256': hashlib.sha256(text.encode()).hexdigest()}
  size, rounding = _write_arrays(folder, arrays, dtype, shard_bytes, metadata)
  notes = []
  if layout is not None:
    config.write_json(folder / 'config.json', config.model_config(run, layout, dtype))
    if layout.pipeline == 'image-classification':
      found, lacking = config.preprocessor_config(run)
      config.write_json(folder / 'preprocessor_config.json', found)
      notes += [f'preprocessor_config.json lacks the transform {name}, which the run '
                'applies to its inputs' for name in lacking]
    if layout.pipeline.endswith('classification') and len(config.labels_of(run)) == 1:
      notes.append('the one logit is that of class 1 against class 0; transformers '
                   'takes it as a regression, so apply a sigmoid')
  config.write_tokenizer(run, layout, folder, notes.append)
  config.write_json(folder / exported.FILE, _record(run, arrays, text, layout is None))
  for note in notes:
    say(note)
  result = read_result(Workdir(run.path), say) if run.path.is_dir() else None
  (folder / 'README.md').write_text(card.text(run, layout, result, notes),
                                    encoding='utf-8')
  if dtype != 'float32':
    say(f'the largest rounding to {dtype} is {rounding:.2g} of a value')
  say(_compared(run, folder, exact=dtype == 'float32') + f'; {len(arrays)} tensors, '
      f'{size / 1e6:,.1f} MB')


def _layout(run: Run) -> tuple[Any, str]:
  """The layout of `transformers` for a model, or None and why there is none."""
  try:
    layout = published.of_model(run.model)
  except IncompatibleWeights as error:
    return None, str(error).removeprefix('not the workdir of a run, and ')
  absent = [n for n in initialize.named(run.state) if n not in layout.locations]
  if absent:
    return None, f'{layout.family}: {published.unpublished(layout, absent[0])}'
  if layout.unlike:
    return None, layout.unlike
  return layout, ''


def _write_arrays(folder: pathlib.Path, arrays: Mapping[str, Part], dtype: str,
                  shard_bytes: int, metadata: dict[str, str]) -> tuple[int, float]:
  """Writes the files of weights; returns their size, and the largest rounding."""
  from safetensors import SafetensorError
  from safetensors.numpy import save_file

  width = np.dtype(DTYPES[dtype]).itemsize
  shards: list[list[str]] = [[]]
  room = shard_bytes
  for name, part in arrays.items():
    size = int(np.prod(part.shape)) * width
    if shards[-1] and size > room:
      shards.append([])
      room = shard_bytes
    shards[-1].append(name)
    room -= size
  files = ['model.safetensors'] if len(shards) == 1 else [
    f'model-{i:05}-of-{len(shards):05}.safetensors' for i in range(1, len(shards) + 1)]
  total, largest = 0, 0.0
  for file, names in zip(files, shards, strict=True):
    made = {}
    for name in names:
      made[name], rounding = _cast(name, arrays[name].make(), dtype)
      largest = max(largest, rounding)
      total += made[name].nbytes
    try:
      save_file(made, folder / file, metadata)
    except SafetensorError as error:  # a full disk, too
      raise UserError(f'{file} cannot be written: {error}') from error
    (folder / file).chmod(0o644)  # the library makes it private
  if len(shards) > 1:
    config.write_json(folder / 'model.safetensors.index.json', {
      'metadata': {'total_size': total},
      'weight_map': {name: file for file, names in zip(files, shards, strict=True)
                     for name in names}})
  return total, largest


def _cast(name: str, array: np.ndarray, dtype: str) -> tuple[np.ndarray, float]:
  """An array of another dtype, and the largest relative change of its values."""
  if array.dtype != np.float32:  # a counter
    return array, 0.0
  wrong = (~np.isfinite(array)).sum()
  if wrong:
    raise UserError(f'{name}: {wrong:,} of {array.size:,} values are not finite')
  if dtype == 'float32':
    return array, 0.0
  with np.errstate(over='ignore'):
    found = array.astype(DTYPES[dtype])
    back = found.astype(np.float32)
  if not np.isfinite(back).all():
    raise UserError(f'--dtype={dtype}: {name} has values up to '
                    f'{np.abs(array).max():.3g}, beyond its range; choose bfloat16')
  change = np.abs(back - array)[array != 0] / np.abs(array[array != 0])
  return found, float(change.max(initial=0.0))


def _record(run: Run, arrays: Mapping[str, Part], text: str, by_path: bool
            ) -> dict[str, Any]:
  """The content of `bigmodels.json`."""
  kept = {name: value for name, value in run.built.data['kept'].items()
          if name != 'notes' and not name.startswith('identity')}
  normalization = run.normalization
  return {
    'format': 1, 'bigmodels': VERSION, 'experiment': run.resolved.name,
    'step': run.step, 'model': type(run.model).__name__,
    'layout': 'parameter paths' if by_path else 'transformers',
    'classes': list(run.classes) if run.named and run.classes else None,
    'normalization': normalization and {
      name: np.asarray(x).tolist()
      for name, x in zip(('mean', 'std'), normalization, strict=True)},
    'shapes': {name: list(part.shape) for name, part in arrays.items()},
    'config': text.splitlines(), 'kept': json.loads(json.dumps(kept))}


# --- reading back ---------------------------------------------------------------


def _compared(run: Run, folder: pathlib.Path, *, exact: bool) -> str:
  """Reads the files as `init_from` does, and compares them with the run, in a line.

  Raises:
    UserError: if they should be exact and are not.
  """
  from bigmodels.training.compile import Carry

  built = run.built._replace(experiment=initialize.of_folder(
    run.experiment, str(folder)))
  found = initialize.read(built, run.state, lambda line: None)
  read = initialize.with_parameters(Carry(run.state, None, None), found).state
  ours = initialize.named(run.state)
  tensors = max((_difference(x, found[name]) for name, x in ours.items()), default=0.0)
  outputs = _outputs(run)
  text = f'read back: max difference {tensors:.3g}'
  if outputs is not None:
    pairs = zip(*(jax.tree.leaves(outputs(state)) for state in (run.state, read)),
                strict=True)
    rows = max((_difference(a, b) for a, b in pairs), default=0.0)
    text += f', {rows:.3g} in the outputs of {_ROWS} random rows'
    tensors = max(tensors, rows)
  if exact and tensors != 0:
    raise UserError(f'{folder}: {text}, must be 0; nothing was exported')
  return text


def _difference(one: Any, two: Any) -> float:
  one, two = (np.asarray(x).astype(np.float64) for x in (one, two))
  return float(np.abs(one - two).max(initial=0.0))


def _outputs(run: Run) -> Callable[[Any], dict[str, Any]] | None:
  """state -> outputs for random rows; None of an agent, which reads no rows."""
  built = run.built
  if 'environment' in built.train.dataset.provides:
    return None
  rng = np.random.default_rng(0)

  def draw(name, like):
    shape = (_ROWS, *like.shape[1:])
    if like.dtype.kind == 'f':
      return rng.normal(size=shape).astype(like.dtype)
    if name == 'inputs':
      most = run.tokenizer.size if run.tokenizer else 256
      return rng.integers(0, most, shape).astype(like.dtype)
    return (np.zeros if name == 'labels' else np.ones)(shape, like.dtype)

  columns = {name: draw(name, like) for name, like in inference.example(built).items()
             if name != 'corrupt'}

  @jax.jit
  def answer(state):
    outputs = built.learner.evaluate(state, inference.batch(built, columns))[1]
    return {name: x for name, x in outputs.items()
            if jnp.issubdtype(x.dtype, jnp.floating)}

  return answer
