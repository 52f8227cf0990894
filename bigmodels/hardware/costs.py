"""The memory and network traffic of a compiled step.

It is read from the text of the compiled program, the body of a loop multiplied by its
trip count. (XLA's own `cost_analysis()` counts the body once.) `flops` counts the
arithmetic, in the traced program.
"""

import math
import pathlib
import re
import tempfile
from collections import Counter
from typing import NamedTuple

import jax

from bigmodels.hardware import devices, topologies


class Collective(NamedTuple):
  """All collectives of one kind in one step.

  Attributes:
    count: how many one device starts.
    bytes: on one device: of the result of an all-gather, of the operand of the others.
    link_bytes: that leave one device, by ring algorithms: among g devices, (g-1)/g of
      the bytes of an all-gather, a reduce-scatter and an all-to-all, twice that of an
      all-reduce; all bytes of a permutation.
  """

  count: float
  bytes: float
  link_bytes: float


class Costs(NamedTuple):
  """What one device does in one step.

  Attributes:
    bytes_moved: read from and written to its memory (not caches, nor the VMEM of a
      TPU). An upper bound: every operation reads its operands and writes its results.
    collectives: by kind: 'all-gather', 'reduce-scatter', 'all-reduce', 'all-to-all',
      'collective-permute' and rarer ones. A TPU compiler turns many all-gathers and
      reduce-scatters into loops of products and 'collective-permute's.
    uncounted_loops: names of the loops whose trip count the program does not contain,
      such as one over the steps of a dispatch: their bodies are counted once.
  """

  bytes_moved: float
  collectives: dict[str, Collective]
  uncounted_loops: tuple[str, ...]

  @property
  def link_bytes(self) -> float:
    """Bytes that leave the device, by all collectives."""
    return sum(c.link_bytes for c in self.collectives.values())


def compile_with_text(lowered: jax.stages.Lowered,
                      device_kind: str) -> tuple[jax.stages.Compiled, str]:
  """Compiles again, and returns the optimized program as XLA wrote it down as well.

  `as_text()` of the result would do, could jaxlib read back all that libtpu makes
  (0.10.2 cannot, of collectives that run beside products).
  """
  options = devices.compiler_options(device_kind)  # a CPU's kind is its platform
  with devices.compilation_cache_disabled(), tempfile.TemporaryDirectory() as folder:
    compiled = lowered.compile({
      'xla_dump_to': folder, 'xla_dump_hlo_as_text': True, **options,
      **topologies.hlo_text_options(device_kind)})
    written, = pathlib.Path(folder).glob('*after_optimizations.txt')
    return compiled, written.read_text()


def program_costs(text: str) -> Costs:
  """Reads the costs from the text of a compiled program, `compiled.as_text()`."""
  return _Program(text).costs()


class _Op(NamedTuple):
  """One instruction: `name = type opcode(arguments), attributes`."""

  name: str
  root: bool
  type: str
  opcode: str
  arguments: str
  attributes: str

  @property
  def operands(self) -> list[str]:
    return re.findall(r'%([\w.\-]+)', self.arguments)

  def called(self, attribute: str) -> list[str]:
    found = re.search(attribute + r'=\{?((?:%[\w.\-]+(?:, )?)+)', self.attributes)
    return re.findall(r'%([\w.\-]+)', found[1]) if found else []


_COLLECTIVES = ('all-gather', 'reduce-scatter', 'all-reduce', 'all-to-all',
                'collective-permute', 'collective-broadcast', 'ragged-all-to-all')
# They move nothing: they name existing values, or their bodies are counted.
_FREE = {'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all',
         'partition-id', 'replica-id', 'opt-barrier', 'add-dependency', 'while',
         'conditional', 'call', 'async-start'}
_FREE_CALLS = ('AllocateBuffer', 'ConcatBitcast', 'AsyncCollectiveStart',
               'AsyncCollectiveDone')
_RESHAPING = {'bitcast', 'convert', 'copy', 'reshape', 'transpose', 'pad'}
_SLICES = {'dynamic-slice', 'slice', 'gather'}


def _bytes(types: str, in_memory: bool = False) -> float:
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


def _elements(types: str) -> list[str]:
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


class _Program:
  """An optimized HLO module, as text."""

  def __init__(self, text: str):
    self.computations: dict[str, dict[str, _Op]] = {}
    self.loops: dict[str, tuple[str, _Op]] = {}  # (computation, loop)
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
        op = ops[match[2]] = _Op(match[2], bool(match[1]), line[at:end],
                                 line[end:left].strip(), line[left + 1:right],
                                 line[right + 1:])
        if op.opcode == 'while':
          where = next(reversed(self.computations))
          for part in op.called('body') + op.called('condition'):
            self.loops[part] = where, op

  def costs(self) -> Costs:
    counts, loops = self.count(self.entry)
    collectives = {kind: Collective(*(counts[kind, what] for what in (
      'count', 'bytes', 'links'))) for kind in sorted({k[0] for k in counts if k[1]})}
    return Costs(counts['memory', ''], collectives, tuple(loops))

  def count(self, computation: str) -> tuple[Counter, list[str]]:
    """Totals of ('memory', '') and (kind of collective, quantity); uncounted loops."""
    counts, loops = Counter(), []
    ops = self.computations[computation]
    for op in ops.values():
      times = 1.0
      parts = op.called('calls') + op.called('to_apply')
      if op.opcode == 'while':
        parts, trips = op.called('body'), self.trip_count(computation, op)
        loops += [op.name] * (trips is None)
        times = 1.0 if trips is None else trips
      elif op.opcode == 'conditional':
        branches = [self.count(name) for attribute in (
          'branch_computations', 'true_computation', 'false_computation')
          for name in op.called(attribute)]
        largest = max(branches, key=lambda branch: branch[0]['memory', ''])
        counts.update(largest[0])
        loops += largest[1]
        parts = []
      elif op.opcode not in ('call', 'async-start'):
        parts = []
      for part in parts:
        inner, inside = self.count(part)
        counts.update({key: n * times for key, n in inner.items()})
        loops += inside
      counts['memory', ''] += self.bytes_moved(op, ops)
      self.count_collectives(op, ops, counts)
    return counts, loops

  def count_collectives(self, op: _Op, ops: dict[str, _Op], counts: Counter) -> None:
    """Adds a collective to the counts, or those inside a fusion."""
    if op.opcode == 'fusion':
      for name in op.called('calls'):
        inner = self.computations[name]
        # A TPU's asynchronous collective is in the text of every fusion that runs
        # until it is done.
        started = {n for o in inner.values() if 'AsyncCollectiveStart' in o.attributes
                   for n in o.operands}
        for part in inner.values():
          if ('async_collective_fusion_config' not in part.attributes
              or part.name in started):
            if part.opcode == 'all-reduce' and name.startswith('all-reduce-scatter'):
              part = part._replace(opcode='reduce-scatter')
            self.count_collectives(part, inner, counts)
      return
    kind = op.opcode.removesuffix('-start')
    if kind not in _COLLECTIVES:
      return
    group = self.group_size(op.attributes)
    size = sum(_bytes(ops[name].type) for name in op.operands)
    size *= group if kind == 'all-gather' else 1
    fraction = 1.0 if kind in ('collective-permute', 'collective-broadcast') else (
      (group - 1) / group * (2 if kind == 'all-reduce' else 1))
    counts.update({(kind, 'count'): 1, (kind, 'bytes'): size,
                   (kind, 'links'): size * fraction})

  def group_size(self, attributes: str) -> int:
    """The size of replica groups, as `{{0,1},{2,3}}`, `[2,4]<=[8]` or of a mesh."""
    if found := re.search(r'replica_groups=\{\{([\d,]+)\}', attributes):
      return found[1].count(',') + 1
    if found := re.search(r'replica_groups=\[\d+,(\d+)\]', attributes):
      return int(found[1])
    if found := re.search(r'replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}', attributes):
      sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
      # 'axis':(2)4 is a sub-axis of 4, after one of 2.
      return math.prod(int(part or sizes[axis]) for axis, part in re.findall(
        r"'([^']+)'(?::\(\d+\)(\d+))?", found[2]))
    return self.devices

  def bytes_moved(self, op: _Op, ops: dict[str, _Op]) -> float:
    """Bytes that one operation reads from and writes to memory."""
    if op.opcode in _FREE or op.opcode.endswith(('-done', '-update')) or any(
        f'"{target}"' in op.attributes for target in _FREE_CALLS):
      return 0.0
    kind = op.opcode.removesuffix('-start')
    read = [_bytes(ops[name].type, True) for name in op.operands]
    if kind in _SLICES:
      result = _elements(op.type)[op.opcode != kind]
      return _bytes(result) * bool(read[0]) + _bytes(result, True) + sum(read[1:])
    if kind == 'dynamic-update-slice':
      return read[1] + _bytes(ops[op.operands[1]].type) * bool(read[0])
    if kind == 'fusion':
      inner = self.computations[op.called('calls')[0]]
      for parameter in [o for o in inner.values() if o.opcode == 'parameter']:
        at = int(parameter.arguments)
        size, returned = self.bytes_read(inner, parameter.name)
        if not returned:
          read[at] = min(read[at], size)
      return sum(read) + self.bytes_written(inner, op.type)
    if op.opcode != kind and op.type.startswith('(') and kind != 'all-reduce':
      return _bytes(op.type, True)  # its operands are in the type
    return sum(read) + _bytes(op.type, True)

  def bytes_read(self, ops: dict[str, _Op], name: str) -> tuple[float, bool]:
    """What a fused computation reads of a value.

    Returns:
      Bytes (inf: all of it), and whether the root is the value in another shape.
    """
    total, returned = 0.0, False
    for op in ops.values():
      operands = op.operands
      if name not in operands:
        continue
      same = op.opcode in _RESHAPING
      if op.opcode in _SLICES and operands[0] == name:
        total += _bytes(op.type)
      elif op.opcode == 'fusion':
        inner = self.computations[op.called('calls')[0]]
        for part in inner.values():
          if part.opcode == 'parameter' and operands[int(part.arguments)] == name:
            size, again = self.bytes_read(inner, part.name)
            total, same = total + size, same or again
      elif not same and (op.opcode != 'dynamic-update-slice' or operands[0] != name):
        return math.inf, False
      if same and op.root:
        returned = True
      elif same:
        size, again = self.bytes_read(ops, op.name)
        total, returned = total + size, returned or again
    return total, returned

  def bytes_written(self, ops: dict[str, _Op], types: str) -> float:
    """Bytes that a fused computation writes; of an update in place, the slice."""
    root = next(op for op in ops.values() if op.root)
    names = root.operands if root.opcode == 'tuple' else [root.name]
    total = 0.0
    for name, kind in zip(names, _elements(types), strict=False):
      size, op = _bytes(kind, True), ops[name]
      while op.opcode in _RESHAPING:
        op = ops[op.operands[0]]
      if size and op.opcode == 'dynamic-update-slice':
        size = min(size, _bytes(ops[op.operands[1]].type))
      elif size and op.opcode == 'fusion':
        inner = self.computations[op.called('calls')[0]]
        size = min(size, self.bytes_written(inner, op.type))
      total += size
    return total

  def trip_count(self, computation: str, loop: _Op) -> float | None:
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

  def source(self, computation: str, name: str) -> _Op:
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
