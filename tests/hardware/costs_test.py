"""The traffic of a step, against numbers derived by hand and against XLA's.

Run as a program, this file compiles for eight devices of a CPU, and for TPUs if libtpu
is installed, and prints the programs: one process for all tests here.
"""

import contextlib
import functools
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from bigmodels.core.errors import UserError
from bigmodels.hardware import costs, topologies

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WIDTH = 512
LAYER = 2 * WIDTH**2  # parameters of a layer of the stacks below
float32 = jnp.float32
SLOW = pytest.mark.slow('compile for TPUs', together=True)


# Programs for several devices.


def mesh_of(devices, shape, names):
  return Mesh(np.array(devices).reshape(shape), names,
              axis_types=(AxisType.Auto,) * len(names))


def abstract(mesh, spec, shape, dtype=float32):
  return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))


def collective_program(f, mesh, spec, shape):
  f = jax.shard_map(f, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
  return costs.compile_with_text(jax.jit(f).lower(abstract(mesh, spec, shape)),
                                 mesh.devices.flat[0].device_kind)[1]


def collective_programs(devices):
  """Programs of one collective each, of at least 64 KiB a device."""
  n = len(devices)
  mesh = mesh_of(devices, n, ('d',))
  ring = [(i, (i + 1) % n) for i in range(n)]
  return {kind: collective_program(f, mesh, P('d'), (n * 128, 128)) for kind, f in {
    'all-gather': lambda x: jax.lax.all_gather(x, 'd', tiled=True),
    'reduce-scatter': lambda x: jax.lax.psum_scatter(x, 'd', tiled=True),
    'all-reduce': lambda x: jax.lax.psum(x, 'd'),
    'all-to-all': lambda x: jax.lax.all_to_all(x, 'd', 0, 0, tiled=True),
    'collective-permute': lambda x: jax.lax.ppermute(x, 'd', ring)}.items()}


def stack_program(devices, layers, dtype, shard=True, loop=False):
  """A step of gradient descent on a scanned stack of residual layers, data-parallel.

  Args:
    shard: whether the parameters are sharded over the devices, or replicated.
    loop: whether in a loop whose trip count is an argument.
  """
  mesh = mesh_of(devices, len(devices), ('d',))

  def layer(x, w):
    return x + jax.nn.relu(x @ w[0].astype(dtype)) @ w[1].astype(dtype), None

  def loss(w, x):
    return jnp.sum(jax.lax.scan(layer, x, w)[0].astype(float32) ** 2)

  def step(w, x, n=None):
    return jax.tree.map(lambda w, g: w - 0.1 * g, w, jax.grad(loss)(w, x))

  def steps(w, x, n):
    return jax.lax.fori_loop(0, n, lambda i, w: step(w, x), w)

  specs = (P(None, 'd'), P(None, None, 'd')) if shard else (P(), P())
  w = (abstract(mesh, specs[0], (layers, WIDTH, WIDTH)),
       abstract(mesh, specs[1], (layers, WIDTH, WIDTH)))
  # Long enough for a TPU's compiler to gather in a loop of products.
  x = abstract(mesh, P('d'), (4 * len(devices), 512, WIDTH), dtype)
  n = abstract(mesh, P(), (), jnp.int32)
  program = jax.jit(steps if loop else step,
                    out_shardings=jax.tree.map(lambda w: w.sharding, w))
  return program.lower(w, x, n).compile().as_text()


def programs() -> dict[str, str]:
  cpus = jax.devices()
  found = {f'cpu {kind}': t for kind, t in collective_programs(cpus).items()}
  found['cpu groups'] = collective_program(
    lambda x: jax.lax.psum(x, 'b'), mesh_of(cpus, (2, 4), ('a', 'b')), P('a', 'b'),
    (256, 512))
  found['cpu fsdp 2'] = stack_program(cpus, 2, float32)
  found['cpu fsdp 4'] = stack_program(cpus, 4, float32)
  found['cpu copies'] = stack_program(cpus, 3, float32, shard=False)
  found['cpu loop'] = stack_program(cpus, 4, float32, loop=True)
  if importlib.util.find_spec('libtpu'):
    for name in ('v5e:2x2', 'tpu7x:2x2x1'):
      # The libtpu of jax 0.8.0 does not support tpu7x.
      with contextlib.suppress(UserError):
        found |= {f'{name} {kind}': t for kind, t in
                  collective_programs(topologies.devices_of(name)).items()}
  return found


def tpu_programs() -> dict[str, str]:
  """Those that take longest."""
  found = {}
  if importlib.util.find_spec('libtpu'):
    tpus = topologies.devices_of('v5e:4x4')
    found['tpu fsdp 4'] = stack_program(tpus, 4, jnp.bfloat16)
    found['tpu copies'] = stack_program(
      topologies.devices_of('v5e:2x2'), 3, jnp.bfloat16, shard=False)
    found['tpu loop'] = stack_program(tpus, 4, jnp.bfloat16, loop=True)
  return found


@functools.cache
def texts_of(kind) -> dict[str, str]:
  """What this file prints as a program."""
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT),
    'XLA_FLAGS': '--xla_force_host_platform_device_count=8'}
  process = subprocess.run([sys.executable, __file__, kind], capture_output=True,
                           text=True, timeout=600, check=False, env=environment)
  assert process.returncode == 0, process.stderr
  return json.loads(process.stdout)


@pytest.fixture(scope='module')
def compiled():
  """(name of a program) -> its costs; skips those for a TPU without libtpu."""

  def costs_of(name):
    texts = texts_of('tpu' if name.startswith('tpu ') else 'all')
    if name not in texts and not name.startswith('cpu'):
      pytest.skip('libtpu is not installed, or older: pip install "jax[tpu]"')
    return costs.program_costs(texts[name])

  return costs_of


# Traffic.


def shaped(*shapes):
  return [jax.ShapeDtypeStruct(shape, float32) for shape in shapes]


@pytest.mark.parametrize('where', ['cpu', 'v5e:2x2', 'tpu7x:2x2x1'])
@pytest.mark.parametrize(('kind', 'times', 'crossing'), [
  ('all-gather', 'devices', 1), ('reduce-scatter', 1, 1), ('all-reduce', 1, 2),
  ('all-to-all', 1, 1), ('collective-permute', 1, None)])
def test_one_collective(compiled, where, kind, times, crossing):
  devices = 4 if where == 'v5e:2x2' else 8
  found = compiled(f'{where} {kind}').collectives
  if kind == 'reduce-scatter' and where.startswith('tpu7x') and 'all-reduce' in found:
    kind, crossing = 'all-reduce', 2  # in libtpu 0.0.34 a slice follows it
  size = 128 * 128 * 4 * (devices if times == 'devices' else 1)
  links = size if crossing is None else crossing * size * (devices - 1) / devices
  assert found == {kind: (1, size, links)}


def test_a_collective_of_a_group(compiled):
  size = 128 * 128 * 4
  found = compiled('cpu groups').collectives
  assert found == {'all-reduce': (1, size, 2 * 3 / 4 * size)}


@pytest.mark.parametrize(('where', 'width'), [
  ('cpu', 4), pytest.param('tpu', 2, marks=SLOW)])
def test_replicated_parameters_reduce_every_gradient_once(compiled, where, width):
  found = compiled(f'{where} copies').collectives
  assert list(found) == ['all-reduce']
  assert found['all-reduce'].bytes == 3 * LAYER * width
  assert found['all-reduce'].count == 3  # one in each iteration of the backward scan


def test_fully_sharded_on_a_cpu(compiled):
  found = compiled('cpu fsdp 4')
  # Gathered forward and again backward; the CPU reduces, and then slices.
  assert found.collectives['all-gather'].bytes == 2 * 4 * LAYER * 4
  assert found.collectives['all-reduce'].bytes == 4 * LAYER * 4
  assert found.link_bytes == 7 / 8 * 4 * LAYER * 4 * (2 + 2)


@SLOW
def test_fully_sharded_on_a_tpu(compiled):
  # Two gathers and a reduce-scatter of bfloat16, in any form: as such, as rings of
  # permutes with two steps more than necessary, or with an all-reduce for the last.
  least = 15 / 16 * 4 * LAYER * 2 * 3
  assert least <= compiled('tpu fsdp 4').link_bytes <= 4 / 3 * least * 1.001
  assert set(compiled('tpu fsdp 4').collectives) & {'all-gather', 'collective-permute'}


def test_the_costs_of_a_scan_are_proportional_to_its_length(compiled):
  two, four = compiled('cpu fsdp 2'), compiled('cpu fsdp 4')
  assert four.link_bytes == pytest.approx(2 * two.link_bytes, rel=1e-3)
  assert four.bytes_moved > 1.5 * two.bytes_moved
  assert four.uncounted_loops == two.uncounted_loops == ()


@pytest.mark.parametrize('where', ['cpu', pytest.param('tpu', marks=SLOW)])
def test_a_loop_of_unknown_trip_count_counts_once(compiled, where):
  loop, step = compiled(f'{where} loop'), compiled(f'{where} fsdp 4')
  assert len(loop.uncounted_loops) == 1
  assert loop.link_bytes == pytest.approx(step.link_bytes, rel=1e-3)


def compiled_here(f, *shapes):
  program = jax.jit(f).lower(*shaped(*shapes)).compile()
  return costs.program_costs(program.as_text()), program.cost_analysis()


def test_memory_agrees_with_xla_without_loops():
  def f(w, v, x):
    return jax.nn.softmax(jax.nn.relu(x @ w) @ v, axis=-1)

  ours, theirs = compiled_here(jax.grad(lambda *a: jnp.sum(f(*a) ** 2), argnums=(0, 1)),
                               (256, 512), (512, 128), (64, 256))
  assert ours.bytes_moved == pytest.approx(theirs['bytes accessed'], rel=0.01)


def test_a_scan_reads_a_slice_in_an_iteration():
  def last(x, w):
    return jax.lax.scan(lambda x, w: (x * w, x + w), x, w)

  length, size = 50, 4 * 1000
  ours, _ = compiled_here(last, (1000,), (length, 1000))
  # Each iteration reads a row of w, writes a row of the output, and uses x.
  assert 4 * length * size <= ours.bytes_moved <= 12 * length * size


# Forms of the text that small programs do not have.

HEADER = 'HloModule m, is_scheduled=true, num_partitions=8\n\n'


def entry(*lines):
  return '\n  '.join(('ENTRY %main (p: f32[64]) -> f32[64] {',
                      '%p = f32[64]{0} parameter(0)', *lines)) + '\n}\n'


@pytest.mark.parametrize(('groups', 'size'), [
  ('{{0,1},{2,3},{4,5},{6,7}}', 2),
  ('[2,4]<=[8]', 4),
  ('[4,2]<=[2,4]T(1,0)', 2),
  ("mesh['x'=2,'y'=4] {'y'}", 4),
  ("mesh['x'=2,'y'=4] {'x','y'}", 8),
  ("mesh['x'=2,'y'=4] {'y':(1)2}", 2),
  ('{}', 8),
])
def test_groups(groups, size):
  found = costs.program_costs(HEADER + entry(
    f'ROOT %r = f32[64]{{0}} all-reduce(%p), channel_id=1, replica_groups={groups}, '
    'use_global_device_ids=true, to_apply=%add')).collectives
  assert found == {'all-reduce': (1, 256, 2 * (size - 1) / size * 256)}


def test_an_asynchronous_collective_counts_once():
  found = costs.program_costs(HEADER + entry(
    '%s = (f32[64]{0}, f32[512]{0}) all-gather-start(%p), replica_groups=[1,8]<=[8]',
    '%d = f32[512]{0} all-gather-done(%s)',
    '%s2 = ((f32[512]{0}), f32[64]{0}) reduce-scatter-start(%d), '
    'replica_groups=[1,8]<=[8]',
    'ROOT %d2 = f32[64]{0} reduce-scatter-done(%s2)'))
  assert found.collectives == {'all-gather': (1, 2048, 1792),
                               'reduce-scatter': (1, 2048, 1792)}
  assert found.bytes_moved == 2 * (256 + 2048)


def test_a_wrapped_asynchronous_collective():
  found = costs.program_costs(HEADER + (
    '%wrapped (q: f32[64]) -> f32[64] {\n  %q = f32[64]{0} parameter(0)\n'
    '  ROOT %a = f32[64]{0} all-to-all(%q), replica_groups={{0,1,2,3}}\n}\n\n') + entry(
    '%s = ((f32[64]{0}), f32[64]{0}) async-start(%p), calls=%wrapped',
    'ROOT %d = f32[64]{0} async-done(%s)'))
  assert found == (512, {'all-to-all': (1, 256, 192)}, ())


def test_the_fusions_of_a_tpu():
  part = ('%all-gather.{n} = f32[512]{{0:T(512)}} all-gather(%q), '
          'replica_groups=[1,8]<=[8], backend_config={{"async_collective_fusion_config'
          '":{{"flag_start":"2"}}}}')
  start = 'custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"'
  found = costs.program_costs(HEADER + f'''
%all-reduce-scatter (q: f32[64]) -> f32[8] {{
  %q = f32[64]{{0:T(512)}} parameter(0)
  %all-reduce = f32[64]{{0:T(512)}} all-reduce(%q), replica_groups=[1,8]<=[8]
  %at = s32[] constant(0)
  ROOT %slice = f32[8]{{0:T(512)}} dynamic-slice(%all-reduce, %at)
}}

%begin (q: f32[64]) -> (f32[64], f32[512]) {{
  %q = f32[64]{{0:T(512)}} parameter(0)
  {part.format(n=1)}
  ROOT %c = (f32[64]{{0}}, f32[512]{{0:T(512)S(1)}}) {start}
}}

%async_collective_fusion (q: f32[64], r: f32[512]) -> f32[512] {{
  %q = f32[64]{{0:T(512)}} parameter(0)
  %r = f32[512]{{0:T(512)S(1)}} parameter(1)
  {part.format(n=2)}
  ROOT %n = f32[512]{{0:T(512)}} negate(%r)
}}

''' + entry(
    '%b = (f32[64]{0:T(512)}, f32[512]{0:T(512)S(1)}) fusion(%p), '
    'kind=kCustom, calls=%begin',
    '%g = f32[512]{0:T(512)S(1)} get-tuple-element(%b), index=1',
    '%n = f32[512]{0:T(512)} fusion(%p, %g), kind=kLoop, '
    'calls=%async_collective_fusion',
    'ROOT %r = f32[8]{0:T(512)} fusion(%p), kind=kCustom, calls=%all-reduce-scatter'))
  assert found.collectives == {'all-gather': (1, 2048, 1792),
                               'reduce-scatter': (1, 256, 224)}


def test_on_chip_memory_of_a_tpu_is_not_counted():
  found = costs.program_costs(HEADER + entry(
    '%c = (f32[64]{0:T(512)S(1)}, f32[64]{0:T(512)}, u32[]{:S(2)}) copy-start(%p)',
    '%d = f32[64]{0:T(512)S(1)} copy-done(%c)',
    '%n = f32[64]{0:T(512)S(1)} negate(%d)',
    '%b = f32[64]{0:T(512)} custom-call(), custom_call_target="AllocateBuffer"',
    'ROOT %w = f32[64]{0:T(512)} copy(%n)'))
  assert found.bytes_moved == 2 * 256


LOOP = '''
%body (t: (s32[], f32[64], s32[])) -> (s32[], f32[64], s32[]) {{
  %t = (s32[], f32[64]{{0}}, s32[]) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %x = f32[64]{{0}} get-tuple-element(%t), index=1
  %n = s32[] get-tuple-element(%t), index=2
  %k = s32[] constant({step})
  %j = s32[] add(%i, %k)
  %y = f32[64]{{0}} negate(%x)
  ROOT %u = (s32[], f32[64]{{0}}, s32[]) tuple(%j, %y, {limit})
}}

%cond (t: (s32[], f32[64], s32[])) -> pred[] {{
  %t = (s32[], f32[64]{{0}}, s32[]) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %n = s32[] get-tuple-element(%t), index=2
  ROOT %c = pred[] compare(%i, %n), direction=LT
}}

'''


@pytest.mark.parametrize(('known', 'step', 'limit', 'trips'), [
  ('', 1, '%n', 7), ('', 2, '%n', 4), ('', 1, '%j', None),
  (', backend_config={"known_trip_count":{"n":"5"}}', 1, '%j', 5)])
def test_the_trip_count_of_a_loop(known, step, limit, trips):
  found = costs.program_costs(HEADER + LOOP.format(step=step, limit=limit) + entry(
    '%a = s32[] constant(3)', '%b = s32[] constant(10)', '%z = s32[] copy(%a)',
    '%t = (s32[], f32[64]{0}, s32[]) tuple(%z, %p, %b)',
    '%w = (s32[], f32[64]{0}, s32[]) while(%t), condition=%cond, body=%body' + known,
    'ROOT %r = f32[64]{0} get-tuple-element(%w), index=1'))
  assert found.uncounted_loops == (() if trips else ('w',))
  # 8 for the copied counter; in each iteration 12 for its sum, and twice the array.
  assert found.bytes_moved == 8 + (trips or 1) * (12 + 2 * 256)


def test_of_a_conditional_the_largest_branch_counts():
  branch = ('%{name} (q: f32[64]) -> f32[64] {{\n  %q = f32[64]{{0}} parameter(0)\n'
            '  ROOT %r = f32[64]{{0}} {what}\n}}\n\n')
  found = costs.program_costs(
    HEADER + branch.format(name='least', what='bitcast(%q)')
    + branch.format(name='most', what='all-reduce(%q), replica_groups={{0,1}}')
    + entry('%i = s32[] constant(0)',
            'ROOT %r = f32[64]{0} conditional(%i, %p, %p), '
            'branch_computations={%least, %most}'))
  assert found == (512, {'all-reduce': (1, 256, 256)}, ())


if __name__ == '__main__':
  json.dump((tpu_programs if sys.argv[1] == 'tpu' else programs)(), sys.stdout)
