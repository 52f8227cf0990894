"""Tests of the self-check: that it finds what is wrong, and nothing else."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest

from bigmodels.hardware import releases
from bigmodels.hardware.self_check import bits, check, images, program
from bigmodels.hardware.self_check.program import Program, normal, positive
from bigmodels.hardware.self_check.programs import PROGRAMS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _find(one: Program, options=None) -> check.Finding:
  return check.check(one, options or {})


def test_names_are_unique():
  names = [p.name for p in PROGRAMS]
  assert len(set(names)) == len(names) >= 100
  assert not any('\n' in name for name in names)


@pytest.mark.parametrize('one', PROGRAMS[::23], ids=lambda p: p.name)
def test_some_are_right(one):
  finding = _find(one)
  assert finding.failure is None
  if not releases.warnings(jaxlib.__version__, 'cpu'):
    assert not finding.wrong('cpu'), finding.describe()


def test_a_reference_has_the_shapes_of_its_program():
  for one in PROGRAMS:
    want = one.reference(*map(check._exact, one.inputs))
    got = jax.eval_shape(one.function, *one.inputs)
    assert [x.shape for x in jax.tree.leaves(got)] == [
      np.shape(x) for x in jax.tree.leaves(want)], one.name


@pytest.mark.slow('check the whole backend')
def test_all_are_right_where_nothing_is_known_to_be_wrong(tmp_path):
  # Compiled as users have it, without the options that make tests quick.
  environment = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'}
  done = subprocess.run(
    [sys.executable, str(ROOT / 'run.py'), '--mode=doctor', f'--cache_dir={tmp_path}'],
    env=environment | {'JAX_PLATFORMS': 'cpu'}, capture_output=True, text=True,
    timeout=600, check=False)
  known = bool(releases.known_bugs(jaxlib.__version__, 'cpu'))
  assert done.returncode == 2 * known, done.stdout + done.stderr
  assert f'{len(PROGRAMS)} programs: all right' in done.stdout or known


def test_one_wrong_row_is_found():
  def off(x):
    return jnp.sum(x, 1).at[4000].add(1e-3)

  finding = _find(Program('rows', off, lambda x: x.sum(1), (positive(4099, 7),), 7))
  assert finding.wrong('cpu') and finding.wrong_values == 1 and finding.repeats
  assert finding.describe().startswith('rows: off by 1')
  assert 'without optimizations it is off by' in finding.describe()


def test_what_only_optimizations_break(monkeypatch):
  one = Program('two', lambda x: x * 2, lambda x: x * 2, (normal(7),))
  compile_ = jax.stages.Lowered.compile

  def miscompile(self, options=None):
    if options == dict(check.plain_options('cpu')):
      return compile_(self)
    return compile_(jax.jit(lambda x: x * 2 + 1).lower(normal(7)))

  check.plain_options('cpu')
  monkeypatch.setattr(jax.stages.Lowered, 'compile', miscompile)
  finding = _find(one)
  assert finding.wrong('cpu')
  assert 'differs from its unoptimized self, which is right' in finding.describe()


def test_other_bits_from_run_to_run_are_found():
  calls = []

  def noisy(x):
    calls.append(0)
    return x * np.float32(1 + 2.4e-7 * (len(calls) % 2))

  one = Program('noisy', lambda x: jax.pure_callback(
    noisy, jax.ShapeDtypeStruct(x.shape, x.dtype), x), lambda x: x, (positive(5),))
  finding = _find(one)
  assert not finding.repeats and finding.wrong('cpu') and not finding.wrong('gpu')
  assert 'differs from run to run' in finding.describe()


def test_the_worst_of_all_runs_counts():
  calls = []

  def once(x):
    calls.append(0)
    return x + np.float32(len(calls) == 5)

  finding = _find(Program('once', lambda x: jax.pure_callback(
    once, jax.ShapeDtypeStruct(x.shape, x.dtype), x), lambda x: x, (positive(5),)))
  assert finding.error > 0.5 and finding.wrong_values == 5


@pytest.mark.parametrize(('function', 'reference', 'wrong'), [
  (lambda x: x * jnp.nan, lambda x: x, True),
  (lambda x: x[:-1], lambda x: x, True),
  (lambda x: x.no_such_attribute, lambda x: x, True),
  (lambda x: jnp.argmax(x) + 1, np.argmax, True),
  (lambda x: (jnp.argmax(x), x * 0), lambda x: (np.argmax(x), x * 0), False),
])
def test_what_else_is_wrong(function, reference, wrong):
  assert _find(Program('it', function, reference, (normal(5),))).wrong('cpu') == wrong


def test_tolerance_grows_with_the_terms_and_the_rounding():
  short, long = (Program('', None, None, terms=n).tolerance for n in (1, 40_001))
  assert 1e-6 < short < 2e-6 and 5e-5 < long < 2e-4
  assert Program('', None, None, rounding='bfloat16').tolerance > 1e-2


def test_arrays_are_the_same_every_time():
  np.testing.assert_array_equal(normal(5, 3), normal(5, 3))
  assert not np.allclose(normal(5, 3), program.cotangent(5, 3))
  assert positive(999).min() >= 0.5


def test_differences_equal_a_closed_form():
  value, by_x, by_y = program.with_differences(lambda x, y: np.sin(x) @ y)(
    np.float64(2), np.arange(3.0), np.arange(3.0) + 1)
  np.testing.assert_allclose(value, np.sin(np.arange(3)) @ [1, 2, 3])
  np.testing.assert_allclose(by_x, 2 * np.cos(np.arange(3)) * [1, 2, 3], atol=1e-9)
  np.testing.assert_allclose(by_y, 2 * np.sin(np.arange(3)), atol=1e-9)


def test_gradients_of_convolutions_equal_differences():
  strides, pads = (2, 1), ((1, 0), (0, 2))
  c, x, k = (normal(*shape).astype(float) for shape in (
    (2, 3, 4, 2), (2, 6, 4, 3), (2, 3, 3, 2)))
  value, by_x, by_k = program.with_differences(
    lambda x, k: images.convolve(x, k, strides, pads))(c, x, k)
  assert value.shape == c.shape
  np.testing.assert_allclose(by_x, images.by_images(c, k, (6, 4), strides, pads),
                             atol=1e-8)
  np.testing.assert_allclose(by_k, images.by_kernel(x, c, (2, 3), strides, pads),
                             atol=1e-8)


# The known answers published with Random123 (Salmon et al., 2011).
@pytest.mark.parametrize(('key', 'count', 'answer'), [
  ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
  ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
  ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
])
def test_threefry_gives_the_known_answers(key, count, answer):
  found = bits.threefry(np.array(key, np.uint32), np.array(count, np.uint32)[:, None])
  assert tuple(map(int, found[:, 0])) == answer
