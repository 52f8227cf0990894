"""Adding up traces: made ones with known times, and one of a real program."""

import re
import time
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels.hardware import profile
from bigmodels.hardware.hlo import Program
from bigmodels.hardware.profile import Profile, Row

HLO = """HloModule jit_advance, is_scheduled=true

%inner_body (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  ROOT %sine = f32[8]{0} sine(%a), metadata={op_name="jit(f)/jvp(Net)/layer/sin"}
}

%inner_condition (b: f32[8]) -> pred[] {
  %b = f32[8]{0} parameter(0)
  ROOT %test = pred[] constant(true)
}

%body (c: f32[8]) -> f32[8] {
  %c = f32[8]{0} parameter(0)
  %left = f32[8]{0} negate(%c), metadata={op_name="jit(f)/jvp(Net)/block1/neg"}
  %right = f32[8]{0} negate(%c), metadata={op_name="jit(f)/jvp(Net)/block2/neg"}
  %both = f32[8]{0} add(%left, %right), metadata={op_name="jit(f)/optimizer/add"}
  ROOT %inner = f32[8]{0} while(%both), condition=%inner_condition, body=%inner_body, \
backend_config={"known_trip_count":{"n":"2"}}, metadata={op_name="jit(f)/loop/while"}
}

%condition (d: f32[8]) -> pred[] {
  %d = f32[8]{0} parameter(0)
  ROOT %going = pred[] custom-call(%d), custom_call_target="asked"
}

ENTRY %main (e: f32[8]) -> f32[8] {
  %e = f32[8]{0} parameter(0)
  ROOT %steps = f32[8]{0} while(%e), condition=%condition, body=%body
}
"""
MS = 1e6


class Trace:
  """A trace of a CPU: `add` an operation on a thread; times are in ms."""

  def __init__(self):
    self.lines = {}

  def add(self, thread, name, begin, end, *, run=0, noted=None, device=0,
          module='jit_advance'):
    count = sum(map(len, self.lines.values()))
    host = name.startswith('bigmodels: ')
    stats = {} if host else {'hlo_op': name, 'hlo_module': module, 'run_id': run,
                             'device_ordinal': device, '_p': count}
    self._event(thread, name, begin, end, stats)
    if noted is not None:
      self._event(thread, f'end: {name}', noted, noted, {'_c': count})
    return self

  def _event(self, thread, name, begin, end, stats):
    self.lines.setdefault(thread, []).append(SimpleNamespace(
      name=name, start_ns=begin * MS, duration_ns=(end - begin) * MS, end_ns=end * MS,
      stats=[*stats.items()]))

  def read(self, monkeypatch, planes=None, **steps):
    def plane(name, lines):
      return SimpleNamespace(name=name, lines=[
        SimpleNamespace(name=line, events=events) for line, events in lines.items()])

    planes = {'/host:CPU': self.lines} | (planes or {})
    data = SimpleNamespace(planes=[plane(*item) for item in planes.items()])
    monkeypatch.setattr(jax.profiler, 'ProfileData',
                        SimpleNamespace(from_file=lambda path: data))
    return profile.read('trace', Program(HLO), **steps)


def rows_of(found):
  return {(row.layer, row.kind): (round(row.ms, 6), row.times) for row in found.rows}


def adds_up(found):
  return found.ms == pytest.approx(
    sum(row.ms for row in found.rows) + sum(found.left.values()))


def lead(trace):
  return trace.add('t', 'left', -1, 0, noted=0, run=7)


def test_a_moment_belongs_to_the_innermost_operations(monkeypatch):
  trace = lead(Trace())
  trace.add('t', 'steps', 0, 20, run=8)  # the loop over steps is no operation
  trace.add('t', 'left', 1, 4, noted=4, run=8)
  trace.add('u', 'right', 2, 5, noted=5, run=8)  # at the same time
  trace.add('t', 'inner', 6, 16, noted=16, run=8)
  trace.add('t', 'sine', 7, 10, noted=10, run=8)
  trace.add('t', 'sine', 11, 15, noted=15, run=8)
  trace.add('t', 'left', 9, 30, noted=30, run=9, module='jit_evaluate')
  found = trace.read(monkeypatch, lead=1, steps=2)
  assert rows_of(found) == {
    ('Net/block*', 'elementwise'): (4 / 2, 1), ('Net/layer', 'elementwise'): (7 / 2, 1),
    ('loop', 'other'): (3 / 2, 0.5)}  # what the inner loop itself takes
  assert found.left == {'between operations': pytest.approx(6 / 2)}
  assert found.ms == 20 / 2 and adds_up(found) and found.steps == 2


def test_an_operation_ends_when_another_may_read_its_result(monkeypatch):
  trace = lead(Trace())
  # Started in 1 ms, it goes on elsewhere; its end is noted after what follows.
  trace.add('t', 'left', 0, 1, noted=18, run=8)
  trace.add('u', 'both', 6, 7, noted=7, run=8)
  trace.add('u', 'inner', 8, 9, run=8)  # its end is lost
  trace.add('t', 'left', 12, 13, noted=16, run=8)  # ended before its reader starts
  trace.add('u', 'both', 18, 20, noted=20, run=8)
  found = trace.read(monkeypatch, lead=1, steps=1)
  assert rows_of(found) == {
    ('Net/block1', 'elementwise'): (6 + 4, 2), ('optimizer', 'elementwise'): (1 + 2, 2),
    ('loop', 'other'): (1, 1)}
  assert found.left == {'between operations': pytest.approx(1 + 3 + 2)}


def test_what_the_host_does_between_dispatches(monkeypatch):
  trace = lead(Trace())
  trace.add('main', 'bigmodels: reading the batch', 1, 4)
  trace.add('t', 'left', 6, 8, noted=8, run=8)
  trace.add('main', 'bigmodels: evaluate', 8, 50)  # no part of a step
  trace.add('t', 'left', 51, 53, noted=53, run=9)
  trace.add('v', 'left', 100, 200, noted=200, run=9, device=1)
  found = trace.read(monkeypatch, lead=4, steps=2)
  assert found.left == {'reading the batch': pytest.approx(3 / 2),
                        'dispatch': pytest.approx((1 + 2 + 1) / 2)}
  assert rows_of(found) == {('Net/block1', 'elementwise'): (4 / 2, 1)}
  assert found.device == 'device 0' and adds_up(found)


def device_lines(ops, name_of):
  return [SimpleNamespace(name=name_of(name), start_ns=b * MS, end_ns=e * MS,
                          duration_ns=(e - b) * MS, stats=[])
          for name, b, e in ops]


def test_the_lines_of_a_tpu(monkeypatch):
  ops = [('steps', 0, 20), ('left', 1, 3), ('inner', 4, 9), ('sine', 5, 8)]
  runs, text = [('', -5, 0), ('', 0, 20)], '%{} = f32[8]{{0}} op(%c)'.format
  planes = {f'/device:TPU:{n}': {
    'XLA Modules': device_lines(runs, lambda _: 'jit_advance(1)'),
    'XLA Ops': device_lines(ops, text), 'Async XLA Ops': device_lines(ops, text)}
    for n in (1, 0)}
  found = Trace().add('main', 'bigmodels: other', 0, 1).read(
    monkeypatch, planes, lead=1, steps=1)
  assert rows_of(found) == {
    ('Net/block1', 'elementwise'): (2, 1), ('Net/layer', 'elementwise'): (3, 1),
    ('loop', 'other'): (2, 1)}
  assert found.ms == 20 and found.device == '/device:TPU:0'


def test_the_table_in_words():
  rows = (
    Row('product', 'Net/block*/out', 'backward', '',
        'f32[2,3] x f32[3,4] -> f32[2,4]', 4, 6.0, 12.3),
    Row('elementwise', '', '', 'add', '', 1, 2.0, 0.0),
    Row('layout', 'Net', 'forward', '', '', 1, 1.0, 0.0))
  head, first, second, rest, kinds = profile.table(
    Profile(10, 10.0, rows, {'dispatch': 1.0}, ''), most=2)
  assert head.split() == ['ms', 'share', 'times', 'GFLOP/s', 'kind', 'pass', 'layer:',
                          'operation']
  assert first.split(maxsplit=6) == [
    '6.000', '60.0%', '4', '12', 'product', 'backward',
    'Net/block*/out: f32[2,3] x f32[3,4] -> f32[2,4]']
  assert second.split() == ['2.000', '20.0%', '1', 'elementwise', '-', '-:', 'add']
  assert rest.split() == ['1.000', '10.0%', '1', '1', 'more', 'rows']
  assert kinds == ('by kind: product 6.000 ms (60.0%), elementwise 2.000 ms (20.0%), '
                   'layout 1.000 ms (10.0%), dispatch 1.000 ms (10.0%)')


@partial(jax.jit, static_argnums=1)
def advance(x, waits, count):
  def step(carry):
    index, x = carry
    with jax.named_scope('waiting'):
      x = jax.pure_callback(waits, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
    with jax.named_scope('multiplying'):
      return index + 1, jnp.sin(x @ x)

  return jax.lax.while_loop(lambda carry: carry[0] < count, step, (0, x))[1]


def test_a_real_trace(tmp_path):
  def waits(x):
    time.sleep(0.02)
    return np.asarray(x)

  x = jnp.eye(64)
  program = Program(advance.lower(x, waits, np.int32(1)).compile().as_text())
  jax.block_until_ready(advance(x, waits, np.int32(2)))
  profile.start(tmp_path)
  for count in (1, 4):
    x = advance(x, waits, np.int32(count))
  jax.block_until_ready(x)
  trace, perfetto = profile.stop(tmp_path)
  assert re.fullmatch(r'perfetto_trace\.json\.gz', perfetto.name) and perfetto.is_file()
  found = profile.read(trace, program, lead=1, steps=4)
  longest = found.rows[0]
  assert (longest.layer, longest.times) == ('waiting', 1)
  assert 20 <= longest.ms <= found.ms and adds_up(found)
  product = next(row for row in found.rows if row.kind == 'product')
  assert (product.layer, product.times) == ('multiplying', 1)
  assert product.gflops * product.ms * 1e6 == pytest.approx(2 * 64**3)
