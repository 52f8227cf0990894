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
from bigmodels.hardware.hlo import Instruction, Program, bytes_of, elements


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
  return Counted(text).costs()


COLLECTIVES = ('all-gather', 'reduce-scatter', 'all-reduce', 'all-to-all',
                'collective-permute', 'collective-broadcast', 'ragged-all-to-all')
# They move nothing: they name existing values, or their bodies are counted.
_FREE = {'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all',
         'partition-id', 'replica-id', 'opt-barrier', 'add-dependency', 'while',
         'conditional', 'call', 'async-start'}
_FREE_CALLS = ('AllocateBuffer', 'ConcatBitcast', 'AsyncCollectiveStart',
               'AsyncCollectiveDone')
_RESHAPING = {'bitcast', 'convert', 'copy', 'reshape', 'transpose', 'pad'}
_SLICES = {'dynamic-slice', 'slice', 'gather'}


class Counted(Program):
  """A program whose traffic is counted."""

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

  def count_collectives(self, op: Instruction, ops: dict[str, Instruction],
                        counts: Counter) -> None:
    """Adds a collective to the counts, or those inside a fusion.

    Args:
      op: any operation.
      ops: the operations of its computation.
      counts: of (kind of collective, quantity).
    """
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
    if kind not in COLLECTIVES:
      return
    group = self.group_size(op.attributes)
    size = sum(bytes_of(ops[name].type) for name in op.operands)
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

  def bytes_moved(self, op: Instruction, ops: dict[str, Instruction]) -> float:
    """Bytes that one operation reads from and writes to memory."""
    if op.opcode in _FREE or op.opcode.endswith(('-done', '-update')) or any(
        f'"{target}"' in op.attributes for target in _FREE_CALLS):
      return 0.0
    kind = op.opcode.removesuffix('-start')
    read = [bytes_of(ops[name].type, True) for name in op.operands]
    if kind in _SLICES:
      result = elements(op.type)[op.opcode != kind]
      whole = bytes_of(result) * bool(read[0])
      return whole + bytes_of(result, True) + sum(read[1:])
    if kind == 'dynamic-update-slice':
      return read[1] + bytes_of(ops[op.operands[1]].type) * bool(read[0])
    if kind == 'fusion':
      inner = self.computations[op.called('calls')[0]]
      for parameter in [o for o in inner.values() if o.opcode == 'parameter']:
        at = int(parameter.arguments)
        size, returned = self.bytes_read(inner, parameter.name)
        if not returned:
          read[at] = min(read[at], size)
      return sum(read) + self.bytes_written(inner, op.type)
    if op.opcode != kind and op.type.startswith('(') and kind != 'all-reduce':
      return bytes_of(op.type, True)  # its operands are in the type
    return sum(read) + bytes_of(op.type, True)

  def bytes_read(self, ops: dict[str, Instruction], name: str) -> tuple[float, bool]:
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
        total += bytes_of(op.type)
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

  def bytes_written(self, ops: dict[str, Instruction], types: str) -> float:
    """Bytes that a fused computation writes; of an update in place, the slice."""
    root = next(op for op in ops.values() if op.root)
    names = root.operands if root.opcode == 'tuple' else [root.name]
    total = 0.0
    for name, kind in zip(names, elements(types), strict=False):
      size, op = bytes_of(kind, True), ops[name]
      while op.opcode in _RESHAPING:
        op = ops[op.operands[0]]
      if size and op.opcode == 'dynamic-update-slice':
        size = min(size, bytes_of(ops[op.operands[1]].type))
      elif size and op.opcode == 'fusion':
        inner = self.computations[op.called('calls')[0]]
        size = min(size, self.bytes_written(inner, op.type))
      total += size
    return total
