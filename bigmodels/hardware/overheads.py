"""What a compiled program does beside its arithmetic, read from its text."""

import re
from typing import NamedTuple

from bigmodels.hardware.costs import COLLECTIVES, Counted
from bigmodels.hardware.hlo import Instruction, bytes_of

_MOVES = {'copy', 'transpose', 'bitcast', 'reshape', 'parameter', 'tuple',
          'get-tuple-element'}
_PRODUCTS = ('dot', 'convolution')
_WORK = {'fusion', 'while', 'conditional', 'call', 'custom-call', *_PRODUCTS}


class Overheads(NamedTuple):
  """On one device, in one step.

  Attributes:
    copies: number of operations that only copy or transpose arrays in memory.
    copied_bytes: that they read and write.
    products: number of matrix products and convolutions.
    float32_products: those of two float32 arrays.
    kernels: name -> number of calls of kernels that are not XLA's.
    collectives: number of operations between devices.
    exposed: those that nothing else runs beside.
    exposed_bytes: of their operands.
  """

  copies: float
  copied_bytes: float
  products: float
  float32_products: float
  kernels: dict[str, float]
  collectives: float
  exposed: float
  exposed_bytes: float


def overheads(text: str) -> Overheads:
  """Reads the text of a compiled program, scheduled, `compiled.as_text()`."""
  program = Counted(text)
  copies = copied = products = singles = collectives = exposed = exposed_bytes = 0.0
  kernels: dict[str, float] = {}
  for op, ops, times in program.walk():
    inner = [op]
    if op.opcode == 'fusion':
      inner = _fused(program, op)
    opcodes = {o.opcode.removesuffix('-start') for o in inner}
    moved = program.bytes_moved(op, ops)
    if moved and opcodes <= _MOVES and opcodes & {'copy', 'transpose'}:
      copies, copied = copies + times, copied + times * moved
    for part in inner:
      if part.opcode in _PRODUCTS:
        products += times
        singles += times * _is_float32(program, part)
      elif 'tpu_custom_call' in part.attributes:
        name = re.sub(r'[.\d]+$', '', part.name)
        kernels[name] = kernels.get(name, 0) + times
    kind = op.opcode.removesuffix('-start')
    if kind in COLLECTIVES:
      collectives += times
      if not _overlapped(op, ops):
        exposed += times
        exposed_bytes += times * sum(bytes_of(ops[n].type) for n in op.operands)
    elif op.opcode == 'fusion':
      collectives += times * sum('AsyncCollectiveStart' in o.attributes for o in inner)
  return Overheads(copies, copied, products, singles, kernels, collectives, exposed,
                   exposed_bytes)


def _fused(program: Counted, op: Instruction) -> list[Instruction]:
  found = []
  for name in op.called('calls'):
    for part in program.computations[name].values():
      found += _fused(program, part) if part.opcode == 'fusion' else [part]
  return found


def _is_float32(program: Counted, product: Instruction) -> bool:
  ops = next(ops for ops in program.computations.values()
             if ops.get(product.name) is product)
  return all(ops[name].type.startswith('f32') for name in product.operands[:2])


def _overlapped(op: Instruction, ops: dict[str, Instruction]) -> bool:
  """Whether other work lies between the start of a collective and its end."""
  if not op.opcode.endswith('-start'):
    return False
  after = iter(ops.values())
  for other in after:
    if other is op:
      break
  for other in after:
    if other.opcode.endswith('-done') and op.name in other.operands:
      return False
    if other.opcode in _WORK:
      return True
  return False
