"""bigmodels.parallel.sharding: specs derived by hand, and refusals."""

import re

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import PartitionSpec as P

from bigmodels.core.errors import UserError
from bigmodels.parallel import sharding
from bigmodels.parallel.sharding import MeshShape, Rule

FSDP = MeshShape(data=2, fsdp=4)
TENSOR = MeshShape(data=2, tensor=2)
BOTH = MeshShape(data=1, fsdp=2, tensor=2)


def refused(*words):
  return pytest.raises(UserError, match='.*'.join(map(re.escape, words)))


def shapes(**named):
  return {name: jax.ShapeDtypeStruct(shape, jnp.float32)
          for name, shape in named.items()}


def specs_of(rules, mesh, **named):
  return sharding.parameter_specs(shapes(**named), rules, mesh)


# --- the mesh -------------------------------------------------------------------


@pytest.mark.parametrize('text, sizes', [
  ('data:4,fsdp:2,tensor:3', (4, 2, 3)),
  ('tensor:2', (1, 1, 2)),
  (' fsdp : 8, data: 2', (2, 8, 1)),
  ('data:-1,tensor:2', (-1, 1, 2)),
])
def test_a_mesh_is_read(text, sizes):
  mesh = MeshShape.parse(text)
  assert (mesh.data, mesh.fsdp, mesh.tensor) == sizes
  assert MeshShape.parse(str(mesh)) == mesh
  assert 'population' not in str(mesh)


@pytest.mark.parametrize('text, words', [
  ('dta:4', ("no axis 'dta'", "did you mean 'data'?")),
  ('model:4', ("no axis 'model'", 'choose from data, fsdp, population, tensor')),
  ('', ("no axis ''", 'choose from data, fsdp, population, tensor')),
  ('data:4,', ("no axis ''",)),
  ('fsdp:0', ('fsdp', '>= 1', 'got 0')),
  ('fsdp:-2', ('fsdp', '>= 1', 'got -2')),
  ('data:-1,tensor:-1', ('only one axis', 'data, tensor')),
  ('data:2,fsdp:2,data:2', ('data is named twice',)),
  ('data', ('data needs a number', 'data:4')),
  ('data:', ('data needs a number',)),
  ('data:2,tensor:two', ('tensor needs a number', 'tensor:4')),
  ('data:1.5', ('data needs a number',)),
  ('data:2:3', ('data needs a number',)),
])
def test_a_mesh_with_an_error_is_refused(text, words):
  with refused(f'--mesh={text}: ', *words):
    MeshShape.parse(text)


def test_an_impossible_mesh_cannot_be_made():
  with pytest.raises(ValueError, match=r'tensor.*got 0'):
    MeshShape(tensor=0)
  with pytest.raises(ValueError, match='data, fsdp'):
    MeshShape(fsdp=-1)


@pytest.mark.parametrize('mesh, devices, sizes', [
  (MeshShape(), 1, (1, 1, 1, 1)),
  (MeshShape(), 8, (8, 1, 1, 1)),
  (MeshShape(fsdp=2, tensor=2), 8, (2, 2, 2, 1)),
  (MeshShape(data=2, fsdp=-1), 8, (2, 4, 1, 1)),
  (MeshShape(data=2, tensor=3), 6, (2, 1, 3, 1)),
  (MeshShape(population=4), 8, (2, 1, 1, 4)),
])
def test_minus_one_takes_the_remaining_devices(mesh, devices, sizes):
  mesh = mesh.resolve(devices)
  assert tuple(vars(mesh).values()) == sizes
  assert mesh.data_shards == sizes[0] * sizes[1]


@pytest.mark.parametrize('mesh, devices, words', [
  (MeshShape(fsdp=3), 8, ('data:-1,fsdp:3,tensor:1', '8 devices', 'divided by 3')),
  (MeshShape(fsdp=8), 4, ('4 devices', 'divided by 8')),
  (MeshShape(tensor=2), 1, ('1 device cannot be divided by 2',)),
  (MeshShape(data=4), 8, ('data:4,fsdp:1,tensor:1', 'needs 4 devices, got 8', '-1')),
  (MeshShape(data=4, tensor=2), 1, ('needs 8 devices, got 1;')),
])
def test_a_mesh_that_does_not_fit_the_devices_is_refused(mesh, devices, words):
  with refused(*words):
    mesh.resolve(devices)


# --- parameters -----------------------------------------------------------------


@pytest.mark.parametrize('shape, spec', [
  ((64, 128), P(None, 'fsdp')),
  ((128, 64), P('fsdp')),
  ((64, 64), P(None, 'fsdp')),  # the last of equals
  ((4, 66, 130), P('fsdp')),  # 4 does not divide the longer ones
  ((3, 3, 64, 8), P(None, None, 'fsdp')),
  ((4096,), P('fsdp')),
  ((4095,), P()),  # small
  ((63, 65), P()),  # small, and nothing divides it
  ((), P()),
])
def test_fsdp_shards_the_longest_axis_that_divides(shape, spec):
  assert specs_of((), FSDP, w=shape) == {'w': spec}


def test_without_fsdp_all_is_replicated():
  assert specs_of((), MeshShape(data=8), w=(64, 128), odd=(999, 999)) == {
    'w': P(), 'odd': P()}


def test_fsdp_refuses_what_it_cannot_divide():
  mesh = 'data:2,fsdp:4,tensor:1'
  with refused(mesh, 'head/w', '(999, 6)', 'fsdp:4', "Rule('head/w', (None, None))"):
    sharding.parameter_specs({'head': shapes(w=(999, 6))}, (), FSDP)
  rules = [Rule('head/w', (None, None))]  # as the message says
  specs = sharding.parameter_specs({'head': shapes(w=(999, 6))}, rules, FSDP)
  assert specs == {'head': {'w': P()}}


def test_the_first_rule_applies_and_fsdp_takes_what_it_leaves_free():
  rules = [Rule('a', ('tensor', None)), Rule('[ab]', (None, 'tensor')),
           Rule('c', ('fsdp', None)), Rule('.*', (None, None))]
  named = {'a': (64, 128), 'b': (64, 128), 'c': (64, 128), 'd': (64, 128),
           'ab': (16, 16)}
  assert specs_of(rules, BOTH, **named) == {
    'a': P('tensor', 'fsdp'), 'b': P('fsdp', 'tensor'), 'c': P('fsdp'),
    'd': P(None, 'fsdp'), 'ab': P()}


@pytest.mark.parametrize('rules, mesh, shape, words', [
  ([Rule('w', ('tensor',))], TENSOR, (4, 6), ('w names 1 axes', '(4, 6)')),
  ([Rule('w', (None, None, 'tensor'))], TENSOR, (4, 6), ('names 3 axes', '(4, 6)')),
  ([Rule('w', (None, 'tensor'))], MeshShape(data=1, tensor=4), (4, 6),
   ('tensor:4', 'w (4, 6)', 'axis of 6', 'tensor:4 does not divide')),
  ([Rule('w', ('fsdp', None))], FSDP, (6, 4), ('axis of 6', 'fsdp:4')),
  ([Rule('w', ('tensr', None)), Rule('v', ('tensor',))], TENSOR, (4, 6),
   ("must be 'tensor', 'fsdp' or None", "('tensr', None)")),
  ((), TENSOR, (4, 6), ('tensor:2', 'no rules for tensor', 'sharding_rules')),
  ([Rule('w', (None, None))], TENSOR, (4, 6), ('no rules for tensor',)),
  ([Rule('v', (None, 'tensor'))], TENSOR, (4, 6), ('no rule covers', 'w (4, 6)')),
  ([Rule('ww?w', (None, 'tensor'))], TENSOR, (4, 6), ('no rule covers',)),
])
def test_rules_that_do_not_fit_are_refused(rules, mesh, shape, words):
  with refused(*words):
    specs_of(rules, mesh, w=shape)


def test_fsdp_takes_what_a_tensor_of_one_would_hold():
  rules = [Rule('w', (None, 'tensor'))]
  assert specs_of(rules, FSDP, w=(50_257, 64)) == {'w': P(None, 'fsdp')}
  assert specs_of(rules, BOTH, w=(50_257, 64)) == {'w': P(None, 'tensor')}


# --- the state ------------------------------------------------------------------


def test_moments_and_averages_have_the_specs_of_the_parameters():
  params = {'Dense_0': shapes(kernel=(128, 64), bias=(64,)),
            'Dense_1': shapes(kernel=(64, 2), bias=(2,))}
  # Against the choice by shape: only the parameter's own spec can say this.
  own = {'Dense_0': {'kernel': P('tensor', 'fsdp'), 'bias': P('tensor')},
         'Dense_1': {'kernel': P(None, 'tensor'), 'bias': P()}}
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
  scalar, key = (jax.ShapeDtypeStruct(s, jnp.uint32) for s in ((), (2,)))
  state = {
    'step': scalar, 'key': key, 'params': params,
    'model_state': {'ema': params, 'batch_stats': shapes(kernel=(8192,), mean=(64,))},
    'opt_state': jax.eval_shape(optimizer.init, params)}
  specs = sharding.state_specs(state, params, own, BOTH)
  adam = specs['opt_state'][1][0]
  assert specs['params'] == specs['model_state']['ema'] == adam.mu == adam.nu == own
  assert specs['step'] == specs['key'] == adam.count == P()
  # The name of a parameter alone, or its shape alone, makes nothing a parameter.
  assert specs['model_state']['batch_stats'] == {'kernel': P('fsdp'), 'mean': P()}


def test_factored_moments_are_sharded_if_they_can_be():
  params = shapes(w=(6000, 4097), v=(129, 128))
  optimizer = optax.adafactor(1e-3)
  state = jax.eval_shape(optimizer.init, params)
  specs = sharding.parameter_specs(params, (), FSDP)
  assert specs == {'w': P('fsdp'), 'v': P(None, 'fsdp')}
  found = sharding.state_specs(state, params, specs, FSDP)
  assert jax.tree.structure(found) == jax.tree.structure(state)
  # One moment for each row and each column; 4 does not divide 4097, 129 are few.
  factored = found[0]
  assert {factored.v_row['w'], factored.v_col['w']} == {P('fsdp'), P()}
  assert factored.v_row['v'] == factored.v_col['v'] == factored.count == P()
