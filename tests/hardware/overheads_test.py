"""What a program does beside its arithmetic: by hand, and of compiled TPU programs."""

import importlib.util
import re

import pytest

from bigmodels.config import resolving
from bigmodels.data.sources import DataContext
from bigmodels.hardware import costs, topologies
from bigmodels.hardware.hlo import Program
from bigmodels.hardware.overheads import overheads
from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import build
from bigmodels.training.compile import trace

PROGRAM = '''HloModule m, is_scheduled=true, num_partitions=4

%moves (p: f32[8,4]) -> f32[4,8] {
  %p = f32[8,4]{1,0} parameter(0)
  ROOT %t = f32[4,8]{1,0} transpose(%p), dimensions={1,0}
}

%product (a: f32[4,8], b: f32[8,4]) -> f32[4,4] {
  %a = f32[4,8]{1,0} parameter(0)
  %b = f32[8,4]{1,0} parameter(1)
  ROOT %d = f32[4,4]{1,0} dot(%a, %b), lhs_contracting_dims={1}
}

%half (x: bf16[4,4]) -> f32[4,4] {
  %x = bf16[4,4]{1,0} parameter(0)
  ROOT %h = f32[4,4]{1,0} dot(%x, %x), lhs_contracting_dims={1}
}

%body (s: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %s = (s32[], f32[8,4]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %w = f32[8,4]{1,0} get-tuple-element(%s), index=1
  %f = f32[4,8]{1,0} fusion(%w), kind=kLoop, calls=%moves
  ROOT %r = (s32[], f32[8,4]{1,0}) tuple(%i, %w)
}

%condition (c: (s32[], f32[8,4])) -> pred[] {
  %c = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %y = pred[] constant(true)
}

ENTRY %main (q: f32[8,4], z: bf16[4,4]) -> f32[4,4] {
  %q = f32[8,4]{1,0} parameter(0)
  %z = bf16[4,4]{1,0} parameter(1)
  %n = s32[] constant(0)
  %init = (s32[], f32[8,4]{1,0}) tuple(%n, %q)
  %loop = (s32[], f32[8,4]{1,0}) LOOP
  %qt = f32[4,8]{0,1} bitcast(%q)
  %first = f32[8,4]{1,0} all-reduce-start(%q), replica_groups=[1,4]<=[4]
  %kernel.7 = f32[4,4]{1,0} custom-call(%q), custom_call_target="tpu_custom_call"
  %done = f32[8,4]{1,0} all-reduce-done(%first)
  %second = f32[8,4]{1,0} all-reduce-start(%done), replica_groups=[1,4]<=[4]
  %done.2 = f32[8,4]{1,0} all-reduce-done(%second)
  %third = f32[8,4]{1,0} all-reduce(%done.2), replica_groups=[1,4]<=[4]
  %copied = f32[8,4]{0,1} copy(%third)
  %one = f32[4,4]{1,0} fusion(%z), kind=kOutput, calls=%half
  ROOT %out = f32[4,4]{1,0} fusion(%qt, %copied), kind=kOutput, calls=%product
}
'''.replace('LOOP', 'while(%init), condition=%condition, body=%body, '
           'backend_config={"known_trip_count":{"n":"3"}}')


def test_by_hand():
  found = overheads(PROGRAM)
  # Three times in the loop and once after it, an array of 128 bytes, read and written.
  assert (found.copies, found.copied_bytes) == (4, 4 * 2 * 128)
  assert (found.products, found.float32_products) == (2, 1)
  assert found.kernels == {'kernel': 1}
  # The kernel runs beside the first.
  assert (found.collectives, found.exposed, found.exposed_bytes) == (3, 2, 2 * 128)


@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason=(
  'libtpu, which compiles for TPUs, is not installed: pip install "jax[tpu]"'))
@pytest.mark.slow('compile for TPUs')
@pytest.mark.parametrize('mesh', [MeshShape(data=4), MeshShape(data=2, tensor=2)])
def test_gpt_on_tpus_attends_in_kernels_and_moves_no_heads(mesh, tmp_path):
  (tmp_path / 'text.txt').write_text('To be, or not to be. ' * 1000)
  experiment = resolving.resolve('gpt2_124m', {
    'path': str(tmp_path / 'text.txt'), 'length': '384', 'batch_size': '8',
    'accumulate': '1', 'model.depth': '3', 'model.width': '256', 'model.heads': '4',
    'model.vocabulary': '512'}).experiment
  slice_ = layout.make_layout(
    mesh, 'jit', experiment.rules, topologies.devices_of('v5e:2x2'))
  built = build.build(experiment, slice_,
                      DataContext(str(tmp_path), tmp_path, {}, say=lambda _: None))
  traced = trace(built.learner, built.train, {}, slice_)
  _, text = costs.compile_with_text(traced.lower['advance'](), 'TPU v5 lite')
  found = overheads(text)
  assert found.kernels == {f'splash_mha_{name}_residuals': 3
                           for name in ('fwd', 'dkv_no', 'dq_no')}
  assert found.products and not found.float32_products
  written = ' '.join(op.type for op, _, _ in Program(text).walk())
  assert 'bf16[' in written and '384,384]' not in written  # scores
  assert not re.search(r'f32\[(\d,384|1536|3072),512\]', written)  # logits
  kinds = costs.program_costs(text).collectives
  assert 'all-reduce' in kinds and 'all-to-all' not in kinds
  assert mesh.tensor > 1 or 'all-gather' not in kinds
