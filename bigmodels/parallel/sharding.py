"""Which axis of an array lies along which axis of the mesh, by its name and shape.

No model knows of it. Every parameter is sharded along `fsdp` by its shape (fully
sharded data parallelism: Rajbhandari et al., *ZeRO*, 2020), and along `tensor` by the
rules of its family (Shoeybi et al., *Megatron-LM*, 2019).
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

BATCH = ('data', 'fsdp')  # the axes that cut the batch
_SMALL = 2**12  # elements: gathering fewer costs more than holding them everywhere


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshShape:
  """How many devices lie along each axis of the mesh. It changes no result.

  Attributes:
    data: copies of the parameters, each with its part of the batch; -1 takes the
      devices that are left.
    fsdp: devices that share one copy of the parameters, each with its part of the
      batch; -1 takes the devices that are left.
    tensor: devices that share the work on one example, by the experiment's `rules`.
  """

  data: int = -1
  fsdp: int = 1
  tensor: int = 1

  def __post_init__(self):
    for name, size in vars(self).items():
      if size < 1 and size != -1:
        raise ValueError(f'{name}: wants at least 1, or -1 for the rest, got {size}')
    if list(vars(self).values()).count(-1) > 1:
      raise ValueError('only one axis can take the rest, -1: '
                       + ', '.join(k for k, v in vars(self).items() if v == -1))

  @classmethod
  def parse(cls, text: str) -> 'MeshShape':
    """Reads `data:4,fsdp:2,tensor:1`; an axis that is not named has size 1.

    Raises:
      UserError: for anything else.
    """
    axes = [field.name for field in dataclasses.fields(cls)]
    sizes = dict.fromkeys(axes, 1)
    named = []
    for part in text.split(','):
      name, colon, size = (word.strip() for word in part.partition(':'))
      if name not in axes:
        raise UserError(f'--mesh={text}: no axis {name!r}{nearest(name, axes)}')
      if name in named:
        raise UserError(f'--mesh={text}: {name} is named twice')
      if not colon or not re.fullmatch(r'-?\d+', size):
        raise UserError(f'--mesh={text}: {name} wants a number of devices, such as '
                        f'{name}:4, or {name}:-1 for the rest')
      named.append(name)
      sizes[name] = int(size)
    try:
      return cls(**sizes)
    except ValueError as error:
      raise UserError(f'--mesh={text}: {error}') from None

  def over(self, devices: int) -> 'MeshShape':
    """The same with every size known.

    Raises:
      UserError: if it does not use exactly that many devices.
    """
    sizes = vars(self)
    known = math.prod(size for size in sizes.values() if size != -1)
    there = f'{devices} device{"s" * (devices != 1)}'
    if -1 in sizes.values():
      if devices % known:
        raise UserError(f'--mesh={self}: {there} cannot be divided by {known}; all of '
                      'them share the batch with --mesh=data:-1')
      return MeshShape(**{
        name: devices // known if size == -1 else size for name, size in sizes.items()})
    if known != devices:
      raise UserError(f'--mesh={self}: wants {known} device{"s" * (known > 1)}, there '
                      f'{"is" if devices == 1 else "are"} {devices}; all of them '
                      'share the batch with --mesh=data:-1')
    return self

  def __str__(self):
    return ','.join(f'{name}:{size}' for name, size in vars(self).items())

  @property
  def parts(self) -> int:
    """How many parts a batch is cut into."""
    return self.data * self.fsdp


class Rule(NamedTuple):
  """Where parameters of some names go.

  Attributes:
    pattern: regular expression that matches the whole name, such as
      `head/Dense_0/kernel`.
    axes: 'tensor', 'fsdp' or None for each axis of the array.
  """

  pattern: str
  axes: tuple[str | None, ...]


# The dense layers of `models.Mlp`, also as the head of `models.Cnn`: every other layer
# is cut along its outputs and the next along its inputs, so that one sum over the
# devices is needed for two layers. Convolutions are cut along their outputs.
MLP = (
  Rule(r'(.*/)?Dense_\d*[02468]/kernel', (None, 'tensor')),
  Rule(r'(.*/)?Dense_\d*[02468]/bias', ('tensor',)),
  Rule(r'(.*/)?Dense_\d*[13579]/kernel', ('tensor', None)),
  Rule(r'(.*/)?Dense_\d*[13579]/bias', (None,)),
  Rule(r'(.*/)?BatchNorm_\d+/(scale|bias)', (None,)),
)
# `conv`, `norm` and the head itself are those of `models.ResNet` and MobileNet.
CNN = (
  Rule(r'Conv_\d+/kernel', (None, None, None, 'tensor')),
  Rule(r'Conv_\d+/bias', ('tensor',)),
  Rule(r'(.*/)?conv/kernel', (None, None, None, 'tensor')),
  Rule(r'(.*/)?norm/(scale|bias)', (None,)),
  Rule(r'head/kernel', ('tensor', None)),
  Rule(r'head/bias', (None,)),
  *MLP,
)

# `models.Gpt`, `models.Transformer`, `models.Vit` and the heads of `models.Bert`. Of a
# block, whose parameters have an axis of the depth before their own, what goes in is
# cut along its outputs and what goes out along its inputs: two sums over the devices
# for a block. Each device has some of the heads; keys and values of fewer heads than
# devices are cut within a head, which costs more sums. Embeddings are cut along their
# width, which divides where a vocabulary may not.
TRANSFORMER = (
  Rule(r'(.*/)?block/(attention|cross)/(query|key|value)/kernel',
       (None, None, 'tensor')),
  Rule(r'(.*/)?block/(attention|cross)/(query|key|value)/bias', (None, 'tensor')),
  Rule(r'(.*/)?block/feed_forward/(in|gate)/kernel', (None, None, 'tensor')),
  Rule(r'(.*/)?block/feed_forward/(in|gate)/bias', (None, 'tensor')),
  Rule(r'(.*/)?block/(attention|cross|feed_forward)/out/kernel',
       (None, 'tensor', None)),
  Rule(r'(.*/)?block/(attention|cross|feed_forward)/out/bias', (None, None)),
  Rule(r'(.*/)?block/(attention|cross|feed_forward)_norm/(scale|bias)', (None, None)),
  Rule(r'(.*/)?(tokens|positions|sentences)/embedding', (None, 'tensor')),
  Rule(r'(encoder/)?((encoder|decoder)_)?norm/(scale|bias)', (None,)),
  Rule(r'(patches|pooler|transform)/kernel', (None, 'tensor')),
  Rule(r'(patches|pooler|transform)/bias', ('tensor',)),
  Rule(r'head/kernel', ('tensor', None)),
  Rule(r'(head/)?bias|class_token', (None,)),
)


def parameter_specs(params: Any, rules: Iterable[Rule], mesh: MeshShape) -> Any:
  """A `PartitionSpec` for every parameter.

  The first rule that matches the whole name is taken. What it leaves open, and what
  would go along a `tensor` of one device, goes along `fsdp`: the longest axis that it
  divides (the last of equals); arrays of fewer than 4,096 elements stay whole, and one
  that nothing divides if it holds less than a thousandth of all parameters.

  Args:
    params: a tree of arrays or shapes.
    rules: of the family; wanted for every parameter once `tensor` is more than 1.
    mesh: with every size known.

  Raises:
    UserError: naming the parameter and the numbers, if no rule covers it or an axis
      does not divide.
  """
  rules = tuple(rules)
  leaves, tree = jax.tree.flatten_with_path(params)
  named = [(name_of(path), leaf.shape) for path, leaf in leaves]
  if mesh.tensor > 1 and not any('tensor' in rule.axes for rule in rules):
    raise UserError(f'--mesh={mesh}: the experiment has no rules for tensor; give it '
                    'some, such as rules=sharding.MLP, CNN or TRANSFORMER, or use fsdp')
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

  What has the shape of a parameter and its name at the end of its own (an optimizer's
  moments, a moving average) lies where the parameter lies.

  Args:
    state: a tree of arrays or shapes.
    params: the parameters.
    specs: of the parameters.
    mesh: with every size known.
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
    raise UserError(f'rules: {rule.pattern!r} is no regular expression: {error}'
                    ) from None


def _axes_of_rule(rule: Rule, name: str, shape: tuple, mesh: MeshShape) -> tuple:
  if len(rule.axes) != len(shape):
    raise UserError(f'rules: {rule.pattern} names {len(rule.axes)} axes, {name} has '
                    f'the shape {shape}')
  sizes: Mapping[str, int] = vars(mesh)
  for axis, length in zip(rule.axes, shape, strict=True):
    if axis not in (None, 'tensor', 'fsdp') or (axis and rule.axes.count(axis) > 1):
      raise UserError(f"rules: {rule.pattern}: {rule.axes} wants 'tensor', 'fsdp' or "
                      'None for each axis of the array, and no name twice')
    if axis and length % sizes[axis]:
      raise UserError(f'--mesh={mesh}: {name} {shape} is to be cut along its axis of '
                      f'{length}, which {axis}:{sizes[axis]} does not divide')
  # One device cuts nothing: the axis is as open as any.
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
                      f'divided by fsdp:{mesh.fsdp}; another fsdp, or a rule that says '
                      f'where it goes: Rule({name!r}, {(None,) * len(shape)})')
  while axes and axes[-1] is None:
    axes = axes[:-1]
  return PartitionSpec(*axes)
