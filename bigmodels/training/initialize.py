"""Parameters from elsewhere: the best of another run, exported or published ones.

Batch statistics are read together with the parameters of their module, and named like
them: `stem/norm/mean` beside `stem/norm/scale`.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from bigmodels.config import Experiment
from bigmodels.core import files
from bigmodels.core.errors import UserError, listed
from bigmodels.core.tree_paths import name_of
from bigmodels.learners.learner import State
from bigmodels.parallel.layout import Layout
from bigmodels.storage import exported
from bigmodels.storage.checkpoint import Damaged
from bigmodels.storage.compatibility import IncompatibleWeights, check
from bigmodels.storage.workdir import Workdir
from bigmodels.techniques import averages
from bigmodels.training import inherited
from bigmodels.training.build import Built
from bigmodels.training.compile import Carry


def start(built: Built, carry: Carry, say: Callable[[str], None] = print) -> Carry:
  """Puts the parameters of an experiment's `init_from` into a fresh carry.

  Args:
    built: the experiment, with `init_from` and `init_pattern`.
    carry: whose state is fresh.
    say: prints a line.

  Raises:
    UserError: see `read`.
  """
  return with_parameters(carry, read(built, carry.state, say))


def read(built: Built, state: State, say: Callable[[str], None] = print
         ) -> dict[str, jax.Array]:
  """The parameters and batch statistics of an experiment's `init_from`.

  Args:
    built: the experiment, with `init_from` and `init_pattern`.
    state: a fresh one, or its shapes and shardings.
    say: prints a line.

  Returns:
    name -> array of any shape, laid out as in the state.

  Raises:
    UserError: naming every parameter that is missing, left over or of another shape.
  """
  experiment, kept = built.experiment, built.data['kept'].get('tokenizer')
  path, pattern = pathlib.Path(experiment.init_from), experiment.init_pattern
  ours = _flat(state.params)
  wanted = {name: x for name, x in ours.items() if re.fullmatch(pattern, name)}
  if not wanted:
    raise UserError(f'--config.init_pattern={pattern}: matches the whole name of no '
                    f'parameter; there is {listed(ours, 10)}')
  modules = {name.rpartition('/')[0] for name in wanted}
  statistics = _statistics(state.model_state)
  taken = {name: x for name, x in statistics.items()
           if re.fullmatch(pattern, name) or name.rpartition('/')[0] in modules}
  count, ours, wanted = len(wanted), ours | statistics, wanted | taken
  try:
    theirs, whole = inherited.kept_of(path), pattern == _WHOLE
    _check_names(built.data['kept'].get('train'), theirs.get('train'), say, whole=whole)
    if inherited.is_run(Workdir(path)):
      found, left = _of_workdir(path, wanted, kept, built.layout, pattern, say)
      _check_finite(found)
    else:
      from bigmodels.storage import published  # here, as few runs read such files

      found, left = _exported(path, wanted, kept, theirs, pattern) or (
        published.parameters(path, wanted, kept, built.model, say, whole=whole,
                             classes=_classes(built)))
  except IncompatibleWeights as error:
    raise UserError(f'--config.init_from={path}: {error}') from error
  others = '' if pattern == _WHOLE else (
    f' ({pattern}), {len(ours) - len(wanted)} are fresh; {left} there are not taken')
  beside = f' and {len(taken)} batch statistics' if taken else ''
  say(f'{count} parameters{beside} from {path}{others}')
  return found


def with_parameters(carry: Carry, found: Mapping[str, jax.Array]) -> Carry:
  """A carry with the parameters and batch statistics of `read`, of any shape."""
  params = jax.tree.map_with_path(
    lambda path, x: found.get(name_of(path), x), carry.state.params)
  model_state = jax.tree.map_with_path(
    lambda path, x: found.get(_name_of_statistic(path), x), carry.state.model_state)
  return carry._replace(state=averages.restarted(carry.state._replace(
    params=params, model_state=model_state)))


def named(state: State) -> dict[str, jax.Array]:
  """Name -> array of any shape, of the parameters and batch statistics of a state."""
  return _flat(state.params) | _statistics(state.model_state)


def of_folder(experiment: Experiment, path: str) -> Experiment:
  """An experiment that begins with all parameters of a run or file at a path."""
  return dataclasses.replace(experiment, init_from=path, init_pattern=_WHOLE)


def require(path: str) -> None:
  """Refuses a path where nothing of use is, before anything is read or compiled.

  Raises:
    UserError: if neither a run nor a file of parameters is there, or several runs are.
  """
  workdir = Workdir(path)
  workdir.check_single()
  try:
    if not files.exists(workdir.path):
      raise IncompatibleWeights('there is no such file or folder')
    if not inherited.is_run(workdir):
      from bigmodels.storage import weight_files  # see `read`

      weight_files.find(workdir.path)
  except IncompatibleWeights as error:
    raise UserError(f'--config.init_from={path}: {error}') from None


_WHOLE = '.*'  # the pattern of an experiment that names none


def _classes(built: Built) -> tuple[str, ...] | None:
  """The names of a run's classes; None where there are none."""
  dataset = getattr(built.train, 'dataset', None)
  return dataset.classes if dataset is not None and dataset.named else None


def _flat(tree: Any) -> dict[str, Any]:
  return {name_of(path): x for path, x in jax.tree.leaves_with_path(tree)}


def _name_of_statistic(path) -> str | None:
  """The name of a batch statistic as if it were a parameter; None of anything else."""
  return exported.our_name(f'{exported.MODEL_STATE}/{name_of(path)}')


def _statistics(model_state: Any) -> dict[str, Any]:
  named = {_name_of_statistic(path): x for path,
           x in jax.tree.leaves_with_path(model_state)}
  return {name: x for name, x in named.items() if name is not None}


def _check_finite(found: Mapping[str, jax.Array]) -> None:
  """Refuses arrays with values that are not finite, such as batch statistics."""
  floats = {name: x for name, x in found.items()
            if jnp.issubdtype(x.dtype, jnp.floating)}
  counts = jax.jit(lambda arrays: jax.tree.map(
    lambda x: (~jnp.isfinite(x)).sum(), arrays))(floats)
  for name, count in jax.device_get(counts).items():
    if count:
      raise IncompatibleWeights(
        f'{name} is not finite: {count:,} of {found[name].size:,} values')


# --- of a run -------------------------------------------------------------------


def _check_names(ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None,
                 say: Callable[[str], None], *, whole: bool) -> None:
  """Refuses parameters whose inputs or outputs have other names than the data here.

  Args:
    ours: what `dataset_spec.record` gives of the training split.
    theirs: the same of the other run.
    say: prints a line, where only a part of the parameters is taken.
    whole: whether all are.

  Raises:
    IncompatibleWeights: naming both sides.
  """
  if not ours or not theirs:
    return
  for field, what in (('features', 'input'), ('classes', 'class')):
    here, there = ours.get(field), theirs.get(field)
    if not here or not there or here == there:
      continue
    numbers = [names == [*map(str, range(len(names)))] for names in (here, there)]
    differ = _unlike(there, here, what)
    if whole and (field == 'features' or not any(numbers)):
      raise IncompatibleWeights(
        f'{differ} (--config.init_pattern=REGEX takes only what it matches, '
        'such as all but the layers that these belong to)')
    say(f'the parameters are taken as they are, but {differ}')
  here, there = ours.get('target'), theirs.get('target')
  if here and there and here != there:
    differ = f'the labels are {there!r} there and {here!r} here'
    if whole and not ours.get('classes'):
      raise IncompatibleWeights(differ)
    say(f'the parameters are taken as they are, but {differ}')


def _unlike(there: list[str], here: list[str], what: str) -> str:
  """How names of inputs or classes differ."""
  many = {'input': 'inputs', 'class': 'classes'}[what]
  only = {'there': [n for n in there if n not in here],
          'here': [n for n in here if n not in there]}
  only = [f'only {place} {", ".join(map(repr, names[:5]))}' + (
    f' and {len(names) - 5} more' if len(names) > 5 else '')
    for place, names in only.items() if names]
  if only:
    return f'its {many} have other names than those here: {"; ".join(only)}'
  place = next(i for i, (a, b) in enumerate(zip(there, here, strict=True)) if a != b)
  return (f'its {many} are in another order than those here: {what} {place} is '
          f'{there[place]!r} there and {here[place]!r} here')


def _of_workdir(path: pathlib.Path, wanted: dict[str, jax.Array], kept: Any,
                layout: Layout, pattern: str, say: Callable[[str], None]
                ) -> tuple[dict[str, jax.Array], int]:
  """The best parameters of a run, and how many of it are not taken."""
  workdir = Workdir(path)
  if not workdir.checkpoints.is_dir():
    raise IncompatibleWeights('there are no checkpoints')
  _check_tokenizers(kept, workdir.stored_data().kept)

  def like_of(step):
    shapes = checkpoints.shapes(step)
    params = shapes['state']['params']
    theirs = {name: x.shape for name, x in _all_of(shapes['state']).items()}
    others = [name for name in theirs if name not in wanted]
    left = [name for name in others if re.fullmatch(pattern, name)]
    check(
      {name: x.shape for name, x in wanted.items()},
      {name: shape for name, shape in theirs.items() if name in wanted},
      {name: name for name in wanted if name not in theirs}, left,
      [name for name in others if name not in left])
    # The experiment's rules may not cover all of another model: cut along fsdp then.
    return layout.with_shardings(shapes, params if pattern == _WHOLE else {})

  with workdir.open_checkpoints() as checkpoints:
    try:
      _, found = checkpoints.best(like_of, say)
    except Damaged as error:
      raise IncompatibleWeights(f'the best checkpoint is damaged ({error})') from error
  theirs = _all_of(found['state'])
  return {name: jax.device_put(theirs[name].astype(x.dtype), x.sharding)
          for name, x in wanted.items()}, len(theirs) - len(wanted)


def _exported(path: pathlib.Path, wanted: dict[str, jax.Array], kept: Any,
              theirs: Mapping[str, Any], pattern: str
              ) -> tuple[dict[str, jax.Array], int] | None:
  """Exported parameters by path, and how many are not taken; None if of other kinds."""
  found = exported.parameters(path, wanted, lambda name: re.fullmatch(pattern, name))
  if found is not None:
    _check_tokenizers(kept, theirs)
  return found


def _check_tokenizers(kept: Any, theirs: Mapping[str, Any]) -> None:
  other = theirs.get('tokenizer')
  if None not in (kept, other) and kept != other:
    raise IncompatibleWeights(
      'that run has another tokenizer than this one, so its parameters '
      'mean nothing here')


def _all_of(state: Mapping[str, Any]) -> dict[str, Any]:
  """Parameters and batch statistics of a state as it was saved; of its average if any.
  """
  state = state.get('average') or state
  return _flat(state['params']) | _statistics(state.get('model_state'))
