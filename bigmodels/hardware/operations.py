"""What the instructions of a compiled program are, in the words of the model."""

import functools
import math
import re
from collections import defaultdict
from typing import NamedTuple

from bigmodels.hardware import flops
from bigmodels.hardware.hlo import Instruction, Program

# A fusion is of the first of these kinds that one of its instructions has.
KINDS = ('product', 'convolution', 'communication', 'reduction', 'indexing',
         'elementwise', 'layout', 'other')
_KINDS = {
  'product': ('dot', 'ragged-dot'),
  'convolution': ('convolution',),
  'communication': ('all-', 'reduce-scatter', 'collective-', 'ragged-all', 'send',
                    'recv', 'infeed', 'outfeed'),
  'reduction': ('reduce', 'sort', 'topk', 'cholesky', 'triangular-solve', 'fft'),
  'indexing': ('gather', 'scatter', 'dynamic-', 'select-and-scatter'),
  'layout': ('copy', 'transpose', 'reshape', 'broadcast', 'slice', 'pad', 'concatenate',
             'reverse', 'bitcast', 'iota', 'tuple', 'get-tuple-element', 'parameter',
             'constant', 'fusion'),
  'other': ('while', 'conditional', 'call', 'custom-call', 'async-'),
}
# They name values, and do not run.
_VALUES = ('bitcast', 'get-tuple-element', 'tuple')
_FAR = 4  # instructions from one without metadata to the one whose layer it is given
CONTAINERS = ('while', 'conditional', 'call')
_PARTS = ('body', 'condition', 'to_apply', 'branch_computations', 'true_computation',
          'false_computation')
_CALCULATING = ('dot', 'convolution')
_LIBRARIES = (('product', r'gemm|matmul|dot|cublas'), ('convolution', r'conv|cudnn'))


class Operation(NamedTuple):
  """An instruction that runs on its own.

  Attributes:
    name: of the instruction.
    kind: one of `KINDS`.
    layer: path of the module in the model, or a scope such as 'optimizer'; 'loss' is
      what is differentiated outside of modules; '' for anything else.
    direction: 'forward', 'backward', 'recomputed' (in the backward pass, to save
      memory), or '' outside of a gradient.
    primitive: of JAX, or '' if XLA has added the instruction.
    shapes: of a product or a convolution: operands and result; '' for others.
    flops: of a product or a convolution; 0.0 for others, and for calls of libraries.
  """

  name: str
  kind: str
  layer: str
  direction: str
  primitive: str
  shapes: str
  flops: float


class Operations:
  """The operations of a program, by name.

  Attributes:
    program: that they are of.
    step_loop: name of the loop over the steps of a dispatch, or None.
  """

  def __init__(self, program: Program):
    self.program, self.step_loop = program, None
    self._computation = {name: computation
                         for computation, ops in program.computations.items()
                         for name in ops}
    self._callers = {
      called: op.name for ops in program.computations.values() for op in ops.values()
      if op.opcode in CONTAINERS for part in _PARTS for called in op.called(part)}
    for op in program.computations[program.entry].values():
      if op.opcode == 'while' and program.trip_count(program.entry, op) is None:
        self.step_loop = op.name

  def __contains__(self, name: str) -> bool:
    return name in self._computation

  def __getitem__(self, name: str) -> Operation:
    op = self._instruction(name)
    kind, part, computation = self._kind(op, self._computation[name])
    ops = self.program.computations[computation]
    layer, direction, primitive = located(
      part.op_name or op.op_name or self._inside(op) or self._nearby(op))
    shapes = ''
    if part.opcode in _CALCULATING:
      types = [ops[name].type for name in part.operands[:2]] + [part.type]
      shapes = '{} x {} -> {}'.format(*(kind.partition('{')[0] for kind in types))
    return Operation(name, kind, layer, direction, primitive, shapes, _flops(part, ops))

  def containers(self, name: str) -> list[str]:
    """The loops, conditionals and calls that an instruction is in, inside out."""
    found = []
    while (name := self._callers.get(self._computation[name])) is not None:
      found.append(name)
    return found

  def after(self, name: str) -> set[str]:
    """Operations none of which can start before an execution of this one has ended.

    They read its result, or that of the loop or conditional that it is in.
    """
    found: set[str] = {name}
    for op in (name, *self.containers(name)):
      users, unseen = self._users[self._computation[op]], [op]
      while unseen:
        for user in users.get(unseen.pop(), ()):
          if user.opcode in _VALUES:
            unseen.append(user.name)
          else:
            found.add(user.name)
    return found

  @functools.cached_property
  def _users(self) -> dict[str, dict[str, list[Instruction]]]:
    """Computation -> instruction -> those that read its result."""
    found = {}
    for computation, ops in self.program.computations.items():
      users = found[computation] = defaultdict(list)
      for op in ops.values():
        for operand in op.operands:
          users[operand].append(op)
    return found

  def _instruction(self, name: str) -> Instruction:
    return self.program.computations[self._computation[name]][name]

  def _kind(self, op: Instruction, computation: str) -> tuple[str, Instruction, str]:
    """The kind; the instruction inside that it is due to, and where that is."""
    if op.opcode != 'fusion':
      return kind_of(op), op, computation
    parts = [self._kind(part, called) for called in op.called('calls')
             for part in self.program.computations[called].values()]
    found = min(parts, key=lambda part: KINDS.index(part[0]))
    specific = found[0] in ('product', 'convolution', 'communication')
    return found if specific else (found[0], op, computation)

  def _inside(self, op: Instruction) -> str:
    """The place that a fusion without one has from its instructions."""
    names = [part.op_name for called in op.called('calls')
             for part in self.program.computations[called].values()
             if part.opcode not in ('parameter', 'constant', 'broadcast')]
    return max(names, key=lambda name: (len(located(name)[0]), len(name)), default='')

  def _nearby(self, op: Instruction) -> str:
    """The place of what XLA has added: of a neighbour, or of the loop that it is in."""
    computation = self._computation[op.name]
    ops, users = self.program.computations[computation], self._users[computation]
    for neighbours in (
      lambda each: users.get(each.name, ()),
      lambda each: (ops[name] for name in each.operands if name in ops)):
      near = op
      for _ in range(_FAR):
        near = next(iter(neighbours(near)), None)
        if near is None or near.opcode in ('tuple', 'parameter'):
          break
        if name := near.op_name or self._inside(near):
          return _scope(name)
    # A copy of what a loop carries.
    return next((_scope(name) for container in self.containers(op.name)
                 if (name := self._instruction(container).op_name)), '')


def _scope(op_name: str) -> str:
  """The same place, without the primitive."""
  return op_name.partition(';')[0].rpartition('/')[0] + '/'


def kind_of(op: Instruction) -> str:
  """The kind of an instruction that is not a fusion."""
  target = re.search(r'custom_call_target="([^"]*)"', op.attributes)
  if target:
    return next((kind for kind, names in _LIBRARIES
                 if re.search(names, target[1], re.IGNORECASE)), 'other')
  return next((kind for kind, names in _KINDS.items() if op.opcode.startswith(names)),
              'elementwise')


_SKIPPED = re.compile(
  r'jit|pjit|while|body|cond|branch_\d+_fun|closed_call|checkpoint|custom_[jv][jv]p_call'
  r'|eval_jaxpr|rematted_computation|shard_map|scan|remat|.*->.*')


def located(op_name: str) -> tuple[str, str, str]:
  """Layer, direction and primitive, as in `Operation`, of the metadata of HLO.

  Args:
    op_name: such as 'jit(step)/transpose(jvp(Cnn))/Dense_0/dot_general': the scopes in
      which an instruction was traced, and its primitive.
  """
  *scopes, primitive = op_name.partition(';')[0].split('/')
  if '(' in primitive:
    scopes, primitive = [*scopes, primitive], ''
  path: list[str] = []
  for scope in scopes:
    while wrapped := re.fullmatch(r'(\w+)\((.*)\)', scope):
      scope = '' if wrapped[1] in ('jit', 'pjit') else wrapped[2]
    scope = scope.partition('.')[0]  # MODULE.METHOD
    if scope and not _SKIPPED.fullmatch(scope) and path[-1:] != [scope]:
      path.append(scope)
  direction = ('recomputed' if 'rematted' in op_name else
               'backward' if 'transpose(' in op_name else
               'forward' if 'jvp(' in op_name else '')
  return '/'.join(path) or ('loss' if direction else ''), direction, primitive


def _flops(op: Instruction, ops: dict[str, Instruction]) -> float:
  """Of a product or a convolution, as `flops.flops` counts them."""
  if op.opcode not in _CALCULATING:
    return 0.0
  left, right = (_shape(ops[name].type) for name in op.operands[:2])
  out = _shape(op.type)
  if op.opcode == 'dot':
    contracted = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', op.attributes)[1]
    return 2.0 * math.prod(out) * math.prod(
      left[int(d)] for d in contracted.split(',') if d)
  lhs, rhs, result = re.search(
    r'dim_labels=(\w+)_(\w+)->(\w+)', op.attributes).groups()
  window = dict(re.findall(r'(\w+)=([\dx_\-]+)', re.search(
    r'window=\{([^}]*)\}', op.attributes)[1])) if 'window=' in op.attributes else {}
  pairs = 1.0
  for d in range(len(out) - 2):
    low, dilation, stride, apart = (
      int(window[name].split('x')[d].partition('_')[0]) if name in window else default
      for name, default in (('pad', 0), ('lhs_dilate', 1), ('stride', 1),
                            ('rhs_dilate', 1)))
    pairs *= flops.window_pairs(
      left[lhs.index(str(d))], right[rhs.index(str(d))], out[result.index(str(d))],
      stride=stride, low=low, input_dilation=dilation, window_dilation=apart)
  return 2.0 * pairs * out[result.index('b')] * out[result.index('f')] * (
    right[rhs.index('i')])


def _shape(type: str) -> list[int]:
  return [int(n) for n in re.search(r'\[([\d,]*)\]', type)[1].split(',') if n]
