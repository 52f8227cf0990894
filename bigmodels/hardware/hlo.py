"""Optimized HLO, the programs that XLA compiles to, read from their text."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple


class Instruction(NamedTuple):
  """`name = type opcode(arguments), attributes`.

  Attributes:
    name, type, opcode, arguments, attributes: as text.
    root: whether its value is that of its computation.
  """

  name: str
  root: bool
  type: str
  opcode: str
  arguments: str
  attributes: str

  @property
  def operands(self) -> list[str]:
    """Names of the instructions whose values it reads."""
    return re.findall(r'%([\w.\-]+)', self.arguments)

  @property
  def op_name(self) -> str:
    """Where JAX has traced it: scopes and the primitive, or ''."""
    found = re.search(r'op_name="([^"]*)"', self.attributes)
    return found[1] if found else ''

  def called(self, attribute: str) -> list[str]:
    """Names of the computations in an attribute, a regular expression."""
    found = re.search(attribute + r'=\{?((?:%[\w.\-]+(?:, )?)+)', self.attributes)
    return re.findall(r'%([\w.\-]+)', found[1]) if found else []


def bytes_of(types: str, in_memory: bool = False) -> float:
  """The bytes of all arrays of a type; `in_memory` excludes a TPU's on-chip memory.

  `S(1)` in a layout with tiles is the VMEM; higher numbers are registers and the host.
  """
  total = 0.0
  for kind, shape, layout in re.findall(r'(\w+)\[([\d,<=]*)\](?:\{([^}]*)\})?', types):
    if in_memory and 'S(' in layout and ('T(' in layout or not shape):
      continue
    bits = re.match(r'[a-z]+(\d+)', kind)  # the first number: f8e4m3fn has 8
    width = 1 if kind == 'pred' else int(bits[1]) / 8 if bits else 0
    total += width * math.prod(int(n) for n in re.findall(r'\d+', shape))
  return total


def elements(types: str) -> list[str]:
  """The types of a tuple's elements, or the type of an array alone."""
  if not types.startswith('('):
    return [types]
  found, depth, start = [], 0, 1
  for match in re.finditer(r'[(\[{]|[)\]}]|, ', types):
    depth += 1 if match[0] in '([{' else -1 if match[0] in ')]}' else 0
    if not depth or (match[0] == ', ' and depth == 1):
      found.append(types[start:match.start()])
      start = match.end()
  return found


def _closing(text: str, start: int) -> int:
  """The position of the parenthesis that closes the one at `start`."""
  depth = 0
  for match in re.compile(r'[()]').finditer(text, start):
    depth += 1 if match[0] == '(' else -1
    if not depth:
      return match.start()
  return len(text)


class Program:
  """A module.

  Attributes:
    name: of the module.
    computations: name -> its instructions by name, in order.
    entry: name of the computation that is executed.
    loops: body or condition of a loop -> the computation with the loop, and the loop.
    devices: partitions times replicas.
  """

  def __init__(self, text: str):
    self.name = re.match(r'HloModule ([\w.\-]+)', text)[1]
    self.computations: dict[str, dict[str, Instruction]] = {}
    self.loops: dict[str, tuple[str, Instruction]] = {}  # (computation, loop)
    header = text[:text.find('\n')]
    self.devices = math.prod(int(n) for n in re.findall(
      r'(?:num_partitions|replica_count)=(\d+)', header))
    ops, self.entry = {}, ''
    for line in text.splitlines():
      if start := re.match(r'(ENTRY )?%?([\w.\-]+) .*\{$', line):
        ops = self.computations[start[2]] = {}
        self.entry = start[2] if start[1] else self.entry
      elif match := re.match(r'\s+(ROOT )?%?([\w.\-]+) = ', line):
        at = match.end()
        end = (_closing(line, at) + 1 if line[at] == '(' else line.find(' ', at))
        left = line.find('(', end)
        right = _closing(line, left)
        op = ops[match[2]] = Instruction(
          match[2], bool(match[1]), line[at:end], line[end:left].strip(),
          line[left + 1:right], line[right + 1:])
        if op.opcode == 'while':
          where = next(reversed(self.computations))
          for part in op.called('body') + op.called('condition'):
            self.loops[part] = where, op

  def walk(self, computation: str | None = None, times: float = 1.0
           ) -> Iterator[tuple[Instruction, dict[str, Instruction], float]]:
    """Every operation that runs, those of loops included, but not of fusions.

    Args:
      computation: where to begin; None for the program.
      times: how often it runs.

    Yields:
      The operation, the operations of its computation, and how often it runs; once in
      loops whose trip count is not in the program. Of branches each.
    """
    computation = computation or self.entry
    for op in self.computations[computation].values():
      yield op, self.computations[computation], times
      trips, parts = 1.0, []
      if op.opcode == 'while':
        trips, parts = self.trip_count(computation, op) or 1.0, op.called('body')
      elif op.opcode == 'conditional':
        parts = [name for attribute in (
          'branch_computations', 'true_computation', 'false_computation')
          for name in op.called(attribute)]
      elif op.opcode in ('call', 'async-start'):
        parts = op.called('calls') + op.called('to_apply')
      for part in parts:
        yield from self.walk(part, times * trips)

  def trip_count(self, computation: str, loop: Instruction) -> float | None:
    """The trip count of a loop: as annotated, or from `i < n` and `i + step`."""
    if known := re.search(r'known_trip_count\W+n\W+(\d+)', loop.attributes):
      return float(known[1])
    condition, body = loop.called('condition')[0], loop.called('body')[0]
    test = next(op for op in self.computations[condition].values() if op.root)
    if test.opcode != 'compare' or 'direction=LT' not in test.attributes:
      return None
    index = self.carry_index(condition, test.operands[0])
    limit = self.constant(condition, test.operands[1])
    root = next(op for op in self.computations[body].values() if op.root)
    if index is None or limit is None or root.opcode != 'tuple':
      return None
    start = self.constant(computation, self.source(
      computation, loop.operands[0]).operands[index])
    advance = self.source(body, root.operands[index])
    if start is None or advance.opcode != 'add':
      return None
    steps = [self.constant(body, name) for name in advance.operands
             if self.carry_index(body, name) != index]
    if len(steps) != 1 or not steps[0]:
      return None
    return max(0.0, math.ceil((limit - start) / steps[0]))

  def source(self, computation: str, name: str) -> Instruction:
    """The operation that computed a value, behind copies of it."""
    ops = self.computations[computation]
    while ops[name].opcode in ('copy', 'bitcast', 'copy-start', 'copy-done'):
      name = ops[name].operands[0]
    return ops[name]

  def carry_index(self, computation: str, name: str) -> int | None:
    """The index of a value in the tuple that a loop's body or condition takes."""
    op = self.source(computation, name)
    if op.opcode != 'get-tuple-element':
      return None
    source = self.computations[computation][op.operands[0]]
    return int(re.search(r'index=(\d+)', op.attributes)[1]) if (
      source.opcode == 'parameter') else None

  def constant(self, computation: str, name: str) -> int | None:
    """The value of a constant integer, also one that a loop carries unchanged."""
    op = self.source(computation, name)
    if op.opcode == 'constant':
      return int(op.arguments) if re.fullmatch(r'-?\d+', op.arguments) else None
    index = self.carry_index(computation, name)
    if index is None or computation not in self.loops:
      return None
    where, loop = self.loops[computation]
    body = loop.called('body')[0]
    root = next(op for op in self.computations[body].values() if op.root)
    if root.opcode != 'tuple' or self.carry_index(body, root.operands[index]) != index:
      return None
    given = self.source(where, loop.operands[0])
    return self.constant(where, given.operands[index]) if given.opcode == 'tuple' else (
      None)
