"""What the instructions of compiled programs are, on programs of known content."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from bigmodels.hardware import flops
from bigmodels.hardware.hlo import Program
from bigmodels.hardware.operations import Operations, located


@pytest.mark.parametrize('op_name, expected', [
  ('jit(advance)/while/body/jit(step)/jvp(Cnn)/Conv_0/conv_general_dilated',
   ('Cnn/Conv_0', 'forward', 'conv_general_dilated')),
  ('jit(advance)/while/body/jit(step)/transpose(jvp(Cnn))/head/Dense_1/transpose',
   ('Cnn/head/Dense_1', 'backward', 'transpose')),
  ('jit(f)/transpose(jvp(Gpt))/blocks/checkpoint/rematted_computation/out/dot_general',
   ('Gpt/blocks/out', 'recomputed', 'dot_general')),
  ('jit(f)/jvp(Gpt)/blocks/closed_call/block.body/block/attention/jit(_where)/select_n',
   ('Gpt/blocks/block/attention', 'forward', 'select_n')),
  ('jit(f)/jit(step)/jvp()/reduce_sum', ('loss', 'forward', 'reduce_sum')),
  ('jit(f)/transpose(jvp(jit(take_along_axis)))/scatter-add',
   ('loss', 'backward', 'scatter-add')),
  ('jit(f)/while/body/jit(step)/optimizer/mul', ('optimizer', '', 'mul')),
  ('jit(f)/while/body/data/gather;data/gather', ('data', '', 'gather')),
  ('jit(f)/jit(step)', ('', '', '')), ('', ('', '', '')),
])
def test_the_metadata_say_which_layer(op_name, expected):
  assert located(op_name) == expected


class Network(nn.Module):

  @nn.compact
  def __call__(self, x):
    x = nn.Conv(5, (3, 3), name='first')(x)
    return nn.Dense(7, name='last')(nn.relu(x).mean((1, 2)))


def of_gradient():
  model, x = Network(), jnp.zeros((2, 8, 8, 4))
  params = model.init(jax.random.PRNGKey(0), x)
  step = jax.jit(jax.grad(lambda p, x: jnp.sum(model.apply(p, x)**2)))
  return step.trace(params, x)


def test_products_and_convolutions_are_of_their_layers_with_the_flops_of_the_jaxpr():
  traced = of_gradient()
  program = Program(traced.lower().compile().as_text())
  operations = Operations(program)
  found = [operations[name] for ops in program.computations.values() for name in ops
           if ops[name].opcode in ('dot', 'convolution')]
  assert sorted((op.kind, op.layer, op.direction) for op in found) == [
    ('convolution', 'Network/first', 'backward'),
    ('convolution', 'Network/first', 'forward'),
    ('product', 'Network/last', 'backward'), ('product', 'Network/last', 'backward'),
    ('product', 'Network/last', 'forward')]
  assert sum(op.flops for op in found) == flops.flops(traced.jaxpr)
  forward = next(op for op in found if (op.kind, op.direction) == (
    'product', 'forward'))
  assert forward.shapes == 'f32[2,5] x f32[5,7] -> f32[2,7]'


def body(carry, x):
  return jax.lax.cond(x[0, 0] > 0, lambda c: jnp.sin(c @ x), lambda c: c, carry), None


def test_a_loop_contains_a_conditional_which_contains_a_product():
  def f(c, xs, n):
    return jax.lax.while_loop(
      lambda i: i[0] < n, lambda i: (i[0] + 1, jax.lax.scan(body, i[1], xs)[0]), (0, c))

  shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, 64), (3, 64, 64))]
  text = jax.jit(f).lower(*shapes, jax.ShapeDtypeStruct((), jnp.int32)).compile()
  program = Program(text.as_text())
  operations = Operations(program)
  opcodes = {name: op.opcode for ops in program.computations.values()
             for name, op in ops.items()}
  # It runs on its own, or in a fusion, depending on the release of jaxlib.
  product = next(name for name, opcode in opcodes.items() if opcode in ('dot', 'fusion')
                 and operations[name].kind == 'product' and operations.containers(name))
  around = operations.containers(product)
  assert [opcodes[name] for name in around if opcodes[name] != 'call'] == [
    'conditional', 'while', 'while']
  assert around[-1] == operations.step_loop  # the length of the other is known
  assert product in operations.after(product) and len(operations.after(product)) > 1


HLO = """HloModule m, is_scheduled=true

%both (p: f32[8,8]) -> f32[8] {{
  %p = f32[8,8]{{1,0}} parameter(0)
  %e = f32[8,8]{{1,0}} {inner}
  ROOT %r = f32[8]{{0}} {root}
}}

ENTRY %main (x: f32[8,8]) -> f32[8] {{
  %x = f32[8,8]{{1,0}} parameter(0)
  ROOT %fusion = f32[8]{{0}} fusion(%x), kind=kLoop, calls=%both
}}
"""


@pytest.mark.parametrize('inner, root, kind', [
  ('exponential(%p)', 'reduce(%e), to_apply=%add', 'reduction'),
  ('exponential(%p)', 'slice(%e)', 'elementwise'),
  ('transpose(%p), dimensions={1,0}', 'bitcast(%e)', 'layout'),
  ('transpose(%p), dimensions={1,0}', 'dynamic-slice(%e)', 'indexing'),
  ('custom-call(%p), custom_call_target="__cublas$gemm"', 'add(%e)', 'product'),
  ('custom-call(%p), custom_call_target="__cudnn$convForward"', 'add(%e)',
   'convolution'),
  ('all-reduce(%p), to_apply=%add', 'reduce(%e), to_apply=%add', 'communication'),
])
def test_a_fusion_is_of_the_kind_of_its_most_expensive_part(inner, root, kind):
  operations = Operations(Program(HLO.format(inner=inner, root=root)))
  assert operations['fusion'].kind == kind
