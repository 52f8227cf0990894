"""What a compiled step costs: memory traffic, network traffic, time.

The traffic is read from the text of the compiled program, with loops taken as often as
they go round. (XLA's own `cost_analysis()` counts the body of a loop once.) Its
arithmetic is that of the traced program, see `arithmetic`.
"""

import math
import re
from collections import Counter
from typing import NamedTuple

from bigmodels.hardware.device_specs import Chip


class Collective(NamedTuple):
  """All collectives of one kind in one step.

  Attributes:
    count: how many are started.
    bytes: on one device: of the result of an all-gather, of the host_batch of the
      others.
    link_bytes: that leave one device, by the algorithms that use a ring: of g devices,
      (g-1)/g of the bytes of an all-gather, a reduce-scatter and an all-to-all, twice
      that of an all-reduce; all bytes of a permutation.
  """

  count: float
  bytes: float
  link_bytes: float


class Costs(NamedTuple):
  """What one device does in one step.

  Attributes:
    bytes_moved: read from and written to its memory (not the caches, nor the VMEM of a
      TPU). An upper bound: every operation reads its operands and writes its results.
    collectives: by kind: 'all-gather', 'reduce-scatter', 'all-reduce', 'all-to-all',
      'collective-permute' and rarer ones. A TPU compiler turns many an all-gather and
      reduce-scatter into a loop of products and 'collective-permute's.
    uncounted_loops: names of the loops whose length the program does not say, such as
      one over the steps of a dispatch: their bodies are counted once.
  """

  bytes_moved: float
  collectives: dict[str, Collective]
  uncounted_loops: tuple[str, ...]

  @property
  def link_bytes(self) -> float:
    """Bytes that leave the device, by all collectives."""
    return sum(c.link_bytes for c in self.collectives.values())


def of_program(text: str) -> Costs:
  """Reads the costs from the text of a compiled program, `compiled.as_text()`."""
  return _Program(text).costs()


class _Op(NamedTuple):
  """One instruction: `name = type kind(inside), rest`."""

  name: str
  root: bool
  type: str
  kind: str
  inside: str
  rest: str

  @property
  def operands(self) -> list[str]:
    return re.findall(r'%([\w.\-]+)', self.inside)

  def called(self, attribute: str) -> list[str]:
    found = re.search(attribute + r'=\{?((?:%[\w.\-]+(?:, )?)+)', self.rest)
    return re.findall(r'%([\w.\-]+)', found[1]) if found else []


_COLLECTIVES = ('all-gather', 'reduce-scatter', 'all-reduce', 'all-to-all',
                'collective-permute', 'collective-broadcast', 'ragged-all-to-all')
# They move nothing: names for what is there, and what is counted in its parts.
_FREE = {'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all',
         'partition-id', 'replica-id', 'opt-barrier', 'add-dependency', 'while',
         'conditional', 'call', 'async-start'}
_FREE_CALLS = ('AllocateBuffer', 'ConcatBitcast', 'AsyncCollectiveStart',
               'AsyncCollectiveDone')
_RESHAPING = {'bitcast', 'convert', 'copy', 'reshape', 'transpose', 'pad'}
_SLICES = {'dynamic-slice', 'slice', 'gather'}


def _bytes(types: str, in_memory: bool = False) -> float:
  """Of all arrays of a type; `in_memory` leaves out what a TPU keeps on the chip.

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
  """The types of a tuple, or the one type there is."""
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
  """Where the parenthesis that opens at `start` is closed."""
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
    self.loops: dict[str, tuple[str, _Op]] = {}  # body, condition -> where, the loop
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
        if op.kind == 'while':
          where = next(reversed(self.computations))
          for part in op.called('body') + op.called('condition'):
            self.loops[part] = where, op

  def costs(self) -> Costs:
    counts, loops = self.tally(self.entry)
    collectives = {kind: Collective(*(counts[kind, what] for what in (
      'count', 'bytes', 'links'))) for kind in sorted({k[0] for k in counts if k[1]})}
    return Costs(counts['memory', ''], collectives, tuple(loops))

  def tally(self, computation: str) -> tuple[Counter, list[str]]:
    """Counts of (what, of what), and the loops that were counted once."""
    counts, loops = Counter(), []
    ops = self.computations[computation]
    for op in ops.values():
      times = 1.0
      parts = op.called('calls') + op.called('to_apply')
      if op.kind == 'while':
        parts, trips = op.called('body'), self.trips(computation, op)
        loops += [op.name] * (trips is None)
        times = 1.0 if trips is None else trips
      elif op.kind == 'conditional':
        branches = [self.tally(name) for attribute in (
          'branch_computations', 'true_computation', 'false_computation')
          for name in op.called(attribute)]
        largest = max(branches, key=lambda branch: branch[0]['memory', ''])
        counts.update(largest[0])
        loops += largest[1]
        parts = []
      elif op.kind not in ('call', 'async-start'):
        parts = []
      for part in parts:
        inner, inside = self.tally(part)
        counts.update({key: n * times for key, n in inner.items()})
        loops += inside
      counts['memory', ''] += self.moved(op, ops)
      self.communicated(op, ops, counts)
    return counts, loops

  def communicated(self, op: _Op, ops: dict[str, _Op], counts: Counter) -> None:
    """Adds a collective to the counts, or those inside a fusion."""
    if op.kind == 'fusion':
      for name in op.called('calls'):
        inner = self.computations[name]
        # A TPU's asynchronous collective goes on in the fusions until its end: it is
        # in the text of all of them.
        started = {n for o in inner.values() if 'AsyncCollectiveStart' in o.rest
                   for n in o.operands}
        for part in inner.values():
          if ('async_collective_fusion_config' not in part.rest
              or part.name in started):
            if part.kind == 'all-reduce' and name.startswith('all-reduce-scatter'):
              part = part._replace(kind='reduce-scatter')
            self.communicated(part, inner, counts)
      return
    kind = op.kind.removesuffix('-start')
    if kind not in _COLLECTIVES:
      return
    group = self.group(op.rest)
    size = sum(_bytes(ops[name].type) for name in op.operands)
    size *= group if kind == 'all-gather' else 1
    share = 1.0 if kind in ('collective-permute', 'collective-broadcast') else (
      (group - 1) / group * (2 if kind == 'all-reduce' else 1))
    counts.update({(kind, 'count'): 1, (kind, 'bytes'): size,
                   (kind, 'links'): size * share})

  def group(self, rest: str) -> int:
    """Devices that take part together: `{{0,1},{2,3}}`, `[2,4]<=[8]` or of a mesh."""
    if found := re.search(r'replica_groups=\{\{([\d,]+)\}', rest):
      return found[1].count(',') + 1
    if found := re.search(r'replica_groups=\[\d+,(\d+)\]', rest):
      return int(found[1])
    if found := re.search(r'replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}', rest):
      sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
      # 'axis':(2)4 is the part of four after the first two.
      return math.prod(int(part or sizes[axis]) for axis, part in re.findall(
        r"'([^']+)'(?::\(\d+\)(\d+))?", found[2]))
    return self.devices

  def moved(self, op: _Op, ops: dict[str, _Op]) -> float:
    """Bytes that one operation reads from and writes to the memory."""
    if op.kind in _FREE or op.kind.endswith(('-done', '-update')) or any(
        f'"{target}"' in op.rest for target in _FREE_CALLS):
      return 0.0
    kind = op.kind.removesuffix('-start')
    read = [_bytes(ops[name].type, True) for name in op.operands]
    if kind in _SLICES:
      result = _elements(op.type)[op.kind != kind]
      return _bytes(result) * bool(read[0]) + _bytes(result, True) + sum(read[1:])
    if kind == 'dynamic-update-slice':
      return read[1] + _bytes(ops[op.operands[1]].type) * bool(read[0])
    if kind == 'fusion':
      inner = self.computations[op.called('calls')[0]]
      for parameter in [o for o in inner.values() if o.kind == 'parameter']:
        at = int(parameter.inside)
        taken, handed_on = self.read(inner, parameter.name)
        if not handed_on:
          read[at] = min(read[at], taken)
      return sum(read) + self.written(inner, op.type)
    if op.kind != kind and op.type.startswith('(') and kind != 'all-reduce':
      return _bytes(op.type, True)  # its operands are in the type
    return sum(read) + _bytes(op.type, True)

  def read(self, ops: dict[str, _Op], name: str) -> tuple[float, bool]:
    """What a fused computation takes of a value.

    Returns:
      Bytes (inf for all of it), and whether the root hands it on in another shape.
    """
    total, handed_on = 0.0, False
    for op in ops.values():
      operands = op.operands
      if name not in operands:
        continue
      same = op.kind in _RESHAPING
      if op.kind in _SLICES and operands[0] == name:
        total += _bytes(op.type)
      elif op.kind == 'fusion':
        inner = self.computations[op.called('calls')[0]]
        for part in inner.values():
          if part.kind == 'parameter' and operands[int(part.inside)] == name:
            taken, again = self.read(inner, part.name)
            total, same = total + taken, same or again
      elif not same and (op.kind != 'dynamic-update-slice' or operands[0] != name):
        return math.inf, False
      if same and op.root:
        handed_on = True
      elif same:
        taken, again = self.read(ops, op.name)
        total, handed_on = total + taken, handed_on or again
    return total, handed_on

  def written(self, ops: dict[str, _Op], types: str) -> float:
    """Bytes that a fused computation writes: of what it updates in place, a slice."""
    root = next(op for op in ops.values() if op.root)
    names = root.operands if root.kind == 'tuple' else [root.name]
    total = 0.0
    for name, kind in zip(names, _elements(types), strict=False):
      size, op = _bytes(kind, True), ops[name]
      while op.kind in _RESHAPING:
        op = ops[op.operands[0]]
      if size and op.kind == 'dynamic-update-slice':
        size = min(size, _bytes(ops[op.operands[1]].type))
      elif size and op.kind == 'fusion':
        inner = self.computations[op.called('calls')[0]]
        size = min(size, self.written(inner, op.type))
      total += size
    return total

  def trips(self, computation: str, loop: _Op) -> float | None:
    """How often a loop goes round: as it says, or from `i < n` and `i + step`."""
    if known := re.search(r'known_trip_count\W+n\W+(\d+)', loop.rest):
      return float(known[1])
    condition, body = loop.called('condition')[0], loop.called('body')[0]
    test = next(op for op in self.computations[condition].values() if op.root)
    if test.kind != 'compare' or 'direction=LT' not in test.rest:
      return None
    index = self.element(condition, test.operands[0])
    limit = self.constant(condition, test.operands[1])
    root = next(op for op in self.computations[body].values() if op.root)
    if index is None or limit is None or root.kind != 'tuple':
      return None
    start = self.constant(computation, self.through(
      computation, loop.operands[0]).operands[index])
    advance = self.through(body, root.operands[index])
    if start is None or advance.kind != 'add':
      return None
    steps = [self.constant(body, name) for name in advance.operands
             if self.element(body, name) != index]
    if len(steps) != 1 or not steps[0]:
      return None
    return max(0.0, math.ceil((limit - start) / steps[0]))

  def through(self, computation: str, name: str) -> _Op:
    """The operation whose value a copy has."""
    ops = self.computations[computation]
    while ops[name].kind in ('copy', 'bitcast', 'copy-start', 'copy-done'):
      name = ops[name].operands[0]
    return ops[name]

  def element(self, computation: str, name: str) -> int | None:
    """Which element of the loop's tuple it is, in its body or its condition."""
    op = self.through(computation, name)
    if op.kind != 'get-tuple-element':
      return None
    source = self.computations[computation][op.operands[0]]
    return int(re.search(r'index=(\d+)', op.rest)[1]) if (
      source.kind == 'parameter') else None

  def constant(self, computation: str, name: str) -> int | None:
    """The value of an integer that is known; a loop may hand it on unchanged."""
    op = self.through(computation, name)
    if op.kind == 'constant':
      return int(op.inside) if re.fullmatch(r'-?\d+', op.inside) else None
    index = self.element(computation, name)
    if index is None or computation not in self.loops:
      return None
    where, loop = self.loops[computation]
    body = loop.called('body')[0]
    root = next(op for op in self.computations[body].values() if op.root)
    if root.kind != 'tuple' or self.element(body, root.operands[index]) != index:
      return None
    given = self.through(where, loop.operands[0])
    return self.constant(where, given.operands[index]) if given.kind == 'tuple' else (
      None)


class Roofline(NamedTuple):
  """The least time that a step can take, and what it waits for.

  Compute, memory and network are each taken to run at their peak, and side by side
  without ever waiting for one another: a real step takes longer.

  Attributes:
    compute_s: of the arithmetic.
    memory_s: of the traffic with the memory.
    network_s: of the traffic between devices, over all links of a device at once.
    step_s: the largest of the three.
    bound: which it is: 'compute', 'memory' or 'network'.
    mfu: the model's share of the arithmetic that fits into `step_s` (model FLOPs
      utilization, Chowdhery et al., 2022).
  """

  compute_s: float
  memory_s: float
  network_s: float
  step_s: float
  bound: str
  mfu: float


def roofline(flops_per_device: float, costs: Costs, chip: Chip, *,
             model_flops: float | None = None, float32: bool = False) -> Roofline:
  """The least time of a step on a chip (Williams et al., 2009, with a network).

  Args:
    flops_per_device: in one step, recomputation included.
    costs: of the program of one step.
    chip: that runs it.
    model_flops: per device, without recomputation; the same if not given.
    float32: whether the products are of float32.
  """
  peak = chip.float32 if float32 else chip.bfloat16
  times = {'compute': flops_per_device / peak,
           'memory': costs.bytes_moved / chip.bandwidth,
           'network': costs.link_bytes / chip.interconnect}
  bound = max(times, key=times.get)
  model = flops_per_device if model_flops is None else model_flops
  step = times[bound]
  return Roofline(*times.values(), step, bound, model / (step * peak) if step else 0.0)
