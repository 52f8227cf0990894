"""bigmodels.training.throughput, on a clock that is simulated."""

import types

import jax
import jax.numpy as jnp
import pytest

from bigmodels.parallel import layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.training import throughput
from bigmodels.training.throughput import Throughput


@pytest.fixture
def clock(monkeypatch):
  found = types.SimpleNamespace(now=100.0)
  monkeypatch.setattr(throughput.time, 'perf_counter', lambda: found.now)
  return found


@pytest.fixture
def counter():
  return Throughput(types.SimpleNamespace(
    layout=layout.make_layout(MeshShape(), 'jit', (), jax.devices()[:1]),
    train=types.SimpleNamespace(order=types.SimpleNamespace(batch_size=4)),
    precision='float32'), jax.make_jaxpr(jnp.dot)(jnp.ones(3), jnp.ones(3)))


def seconds(evaluate, checkpoint):
  return {'data': 0.0, 'evaluate': evaluate, 'checkpoint': checkpoint}


def test_evaluations_and_checkpoints_count_as_no_training(clock, counter):
  """Also before the first record, and of a run that is resumed."""
  counter.start(10, seconds(7.0, 1.0))
  assert counter.record(10, seconds(7.0, 1.0)) is None
  for step, evaluate in ((30, 12.0), (50, 12.0), (70, 20.0)):
    clock.now += 2.0 + evaluate - {30: 7.0, 50: 12.0, 70: 12.0}[step]
    found = counter.record(step, seconds(evaluate, 1.0))
    assert found['steps_per_second'] == pytest.approx(10)
    assert found['examples_per_second'] == pytest.approx(40)
    assert found['evaluate_seconds'] == evaluate
