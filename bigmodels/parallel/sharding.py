"""Which axis of an array is sharded along which axis of the mesh.

Every parameter is sharded along `fsdp` by its shape (fully sharded data parallelism:
Rajbhandari et al., *ZeRO*, 2020), and along `tensor` by an experiment's rules, which
match names (Shoeybi et al., *Megatron-LM*, 2019).
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import PartitionSpec

from bigmodels.core.errors import UserError, nearest
from bigmodels.core.tree_paths import name_of

_SMALL = 2**12  # elements: gathering fewer costs more than a copy on every device


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshShape:
  """The number of devices along each axis of the mesh. It does not change results.

  Attributes:
    data: replicas of the parameters, each with its shards of the batch; -1 takes the
      remaining devices.
    fsdp: devices over which one replica of the parameters is sharded, each with its
      shard of the batch; -1 takes the remaining devices.
    tensor: devices that share the work on one example, by the experiment's `rules`.
    population: groups of devices, each with its share of the runs of several seeds.

  Raises:
    ValueError: if a size is neither -1 nor >= 1, or two are -1.
  """

  data: int = -1
  fsdp: int = 1
  tensor: int = 1
  population: int = 1

  def __post_init__(self):
    for name, size in vars(self).items():
      if size < 1 and size != -1:
        raise ValueError(
          f'{name}: must be >= 1, or -1 for the remaining devices, got {size}')
    if list(vars(self).values()).count(-1) > 1:
      raise ValueError('only one axis can take the remaining devices, -1: '
                       + ', '.join(k for k, v in vars(self).items() if v == -1))

  @classmethod
  def parse(cls, text: str) -> 'MeshShape':
    """Parses `data:4,fsdp:2,tensor:1`; an axis that is not named has size 1.

    Raises:
      UserError: if the text is not of this form.
    """
    axes = [field.name for field in dataclasses.fields(cls)]
    sizes = dict.fromkeys(axes, 1)
    named = []
    for part in text.split(','):
      name, colon, size = (field.strip() for field in part.partition(':'))
      if name not in axes:
        raise UserError(f'--mesh={text}: no axis {name!r}{nearest(name, axes)}')
      if name in named:
        raise UserError(f'--mesh={text}: {name} is named twice')
      if not colon or not re.fullmatch(r'-?\d+', size):
        raise UserError(f'--mesh={text}: {name} needs a number of devices, such as '
                        f'{name}:4, or {name}:-1 for the remaining ones')
      named.append(name)
      sizes[name] = int(size)
    try:
      return cls(**sizes)
    except ValueError as error:
      raise UserError(f'--mesh={text}: {error}') from None

  def resolve(self, devices: int) -> 'MeshShape':
    """The same shape with every size known, for this number of devices.

    Raises:
      UserError: if it does not use exactly that many devices.
    """
    sizes = vars(self)
    known = math.prod(size for size in sizes.values() if size != -1)
    problem = ''
    if -1 not in sizes.values():
      if known != devices:
        problem = f'needs {known} device{"s" * (known > 1)}, got {devices}'
    elif devices % known:
      problem = f'{devices} device{"s" * (devices > 1)} cannot be divided by {known}'
    if problem:
      raise UserError(f'--mesh={self}: {problem}; --mesh=data:-1 shards the batch over '
                      'all of them')
    return MeshShape(**{
      name: devices // known if size == -1 else size for name, size in sizes.items()})

  def __str__(self):
    return ','.join(f'{name}:{size}' for name, size in self.axes.items())

  @property
  def axes(self) -> dict[str, int]:
    """The axes of the mesh and their sizes; `population` is one if it is used."""
    return {name: size for name, size in vars(self).items()
            if name != 'population' or size != 1}

  @property
  def data_shards(self) -> int:
    """The number of shards of a batch."""
    return self.data * self.fsdp


class Rule(NamedTuple):
  """The mesh axes of the parameters with certain names.

  Attributes:
    pattern: regular expression of the whole name, such as `head/Dense_0/kernel`.
    axes: 'tensor', 'fsdp' or None for each axis of the array.
  """

  pattern: str
  axes: tuple[str | None, ...]


def parameter_specs(params: Any, rules: Iterable[Rule], mesh: MeshShape) -> Any:
  """A `PartitionSpec` for every parameter.

  The first rule that matches the whole name applies. Of the axes that it leaves free
  (or maps to a `tensor` of size 1) the longest one that `fsdp` divides is sharded along
  `fsdp`, the last of several of that length. Arrays of fewer than 4,096 elements are
  replicated, and so is one without such an axis if it has less than a thousandth of all
  parameters.

  Args:
    params: a tree of arrays or shapes.
    rules: of the experiment; every parameter needs one if `tensor` is larger than 1.
    mesh: with every size known.

  Returns:
    The tree of specs.

  Raises:
    UserError: if no rule covers a parameter, a rule does not fit it, or a mesh axis
      does not divide its axis.
  """
  rules = tuple(rules)
  leaves, tree = jax.tree.flatten_with_path(params)
  named = [(name_of(path), leaf.shape) for path, leaf in leaves]
  if mesh.tensor > 1 and not any('tensor' in rule.axes for rule in rules):
    raise UserError(f'--mesh={mesh}: the experiment has no rules for tensor; add '
                    'some, such as those in bigmodels.models.sharding_rules, or use '
                    'fsdp')
  large = sum(math.prod(shape) for _, shape in named) / 1000
  specs = []
  for name, shape in named:
    rule = next((r for r in rules if _matches(r, name)), None)
    if rule is None and mesh.tensor > 1:
      raise UserError(f'--mesh={mesh}: no rule covers the parameter {name} {shape}; '
                      "add one to the experiment's rules")
    axes = _axes_of_rule(rule, name, shape, mesh) if rule else (None,) * len(shape)
    specs.append(_along_fsdp(axes, name, shape, mesh,
                             strict=rule is None and math.prod(shape) >= large))
  return jax.tree.unflatten(tree, specs)


def state_specs(state: Any, params: Any, specs: Any, mesh: MeshShape) -> Any:
  """A `PartitionSpec` for every array of a state.

  An array with the shape of a parameter, whose path ends in the parameter's (an
  optimizer's moments, a moving average), has the parameter's spec.

  Args:
    state: a tree of arrays or shapes.
    params: the parameters.
    specs: of the parameters, from `parameter_specs`.
    mesh: with every size known.

  Returns:
    The tree of specs.
  """
  specs = jax.tree.leaves(specs, is_leaf=lambda x: isinstance(x, PartitionSpec))
  known = {(name_of(path), leaf.shape): spec for (path, leaf), spec in zip(
    jax.tree.leaves_with_path(params), specs, strict=True)}

  def spec(path, leaf):
    keys = name_of(path).split('/')
    for start in range(len(keys)):
      found = known.get(('/'.join(keys[start:]), leaf.shape))
      if found is not None:
        return found
    none = (None,) * len(leaf.shape)
    return _along_fsdp(none, name_of(path), leaf.shape, mesh, strict=False)

  return jax.tree.map_with_path(spec, state)


def _matches(rule: Rule, name: str) -> bool:
  try:
    return re.fullmatch(rule.pattern, name) is not None
  except re.error as error:
    raise UserError(f'rules: {rule.pattern!r} is not a regular expression: {error}'
                    ) from None


def _axes_of_rule(rule: Rule, name: str, shape: tuple, mesh: MeshShape) -> tuple:
  if len(rule.axes) != len(shape):
    raise UserError(f'rules: {rule.pattern} names {len(rule.axes)} axes, {name} has '
                    f'the shape {shape}')
  sizes: Mapping[str, int] = vars(mesh)
  for axis, length in zip(rule.axes, shape, strict=True):
    if axis not in (None, 'tensor', 'fsdp') or (axis and rule.axes.count(axis) > 1):
      raise UserError(f"rules: {rule.pattern}: each axis must be 'tensor', 'fsdp' or "
                      f'None, and no name twice; got {rule.axes}')
    if axis and length % sizes[axis]:
      raise UserError(f'--mesh={mesh}: {name} {shape} is sharded along its axis of '
                      f'{length}, which {axis}:{sizes[axis]} does not divide')
  # An axis of one device shards nothing: this one is free for fsdp.
  return tuple(None if axis and sizes[axis] == 1 else axis for axis in rule.axes)


def _along_fsdp(axes: tuple, name: str, shape: tuple, mesh: MeshShape, *,
                strict: bool) -> PartitionSpec:
  if mesh.fsdp > 1 and 'fsdp' not in axes and math.prod(shape) >= _SMALL:
    fitting = [(length, index) for index, length in enumerate(shape)
               if axes[index] is None and length % mesh.fsdp == 0]
    if fitting:
      _, best = max(fitting)
      axes = (*axes[:best], 'fsdp', *axes[best + 1:])
    elif strict:
      raise UserError(f'--mesh={mesh}: no axis of the parameter {name} {shape} can be '
                      f'divided by fsdp:{mesh.fsdp}; use another fsdp, or add a rule: '
                      f'Rule({name!r}, {(None,) * len(shape)})')
  while axes and axes[-1] is None:
    axes = axes[:-1]
  return PartitionSpec(*axes)
