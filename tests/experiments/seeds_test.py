"""Every experiment trains several seeds in one program, each as a single run."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from bigmodels.config import resolving
from bigmodels.data.sources import DataContext
from bigmodels.parallel import layout
from bigmodels.training import build, evaluation
from bigmodels.training.compile import compile_traced, trace
from bigmodels.training.members import Members
from tests.experiments.small import small

ALWAYS = ('diabetes_linear', 'etth1_dlinear')  # the cheapest


def _two_steps(experiment, folder):
  """The carry of each run after two steps, and the metrics of its evaluations."""
  one = layout.make_layout(experiment.mesh, 'jit', experiment.rules)
  built = build.build(experiment, one, DataContext(
    str(folder), folder, {}, say=lambda _: None))
  traced = trace(built.learner, built.train, built.evals, one)
  programs, members = compile_traced(traced), traced.members
  keys = [np.asarray(jax.random.PRNGKey(seed)) for seed in experiment.every_seed]
  carry = programs.init(members.put(keys[0] if len(keys) == 1 else np.stack(keys)))
  for step in range(2):
    batch = members.stacked(members.host_batches(built.train, step, 1))
    carry, _ = programs.advance(carry, batch, 1, step == 0, (0, 0, -1))
  found = [{name: value for split in built.evals for name, value in evaluation.evaluate(
    built, programs.of_member(index), split, carry.state)[0].items()}
    for index in range(len(keys))]
  return built, jax.device_get(members.split(carry, traced.carry)), found


@pytest.mark.parametrize('name', [
  pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow('train'))
  for name in resolving.summaries()])
def test_two_seeds_are_two_runs(name, tmp_path, monkeypatch):
  experiment = small(name, tmp_path)
  second = dataclasses.replace(experiment, seed=experiment.seed + 1)
  both = dataclasses.replace(experiment, seeds=2)
  built, (first, mine), (_, found) = _two_steps(both, tmp_path)
  _, (its,), (expected,) = _two_steps(second, tmp_path)
  # Not the parameters: Adam makes updates of rounding where a gradient is zero, such as
  # of a bias before a norm.
  losses = [{name: value for name, value in evaluation.values_of(carry.window).items()
             if 'loss' in name} for carry in (mine, its)]
  assert losses[0] and found.keys() == expected.keys()
  chex.assert_trees_all_close(*losses, rtol=1e-3, atol=1e-5)
  # Each is another run: a seed that counted for nothing would be the first one again.
  assert any(np.any(a != b) for a, b in zip(
    jax.tree.leaves(first.window), jax.tree.leaves(mine.window), strict=True))
  # At once, as on a GPU or TPU: every operation can be mapped.
  of = Members.of
  monkeypatch.setattr(Members, 'of', lambda *given: of(*given)._replace(in_turn=False))
  traced = trace(built.learner, built.train, built.evals, built.layout)
  for lower in traced.lower.values():
    lower()
