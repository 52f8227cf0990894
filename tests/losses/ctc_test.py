"""Tests of losses.ctc: against all alignments, and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bigmodels import losses
from tests.losses.alignments import by_alignments

RNG = np.random.default_rng(0)


CASES = [(1, 2), (2,), (1, 1), (), (2, 1, 2)]


def test_is_the_sum_over_all_alignments():
  logits = RNG.normal(size=(5, 6, 3)).astype(np.float32)
  lengths = np.array([5, 3, 4, 5, 5])
  labels = np.zeros((5, 4), np.uint16)
  for row, case in enumerate(CASES):
    labels[row, : len(case)] = case
  found = losses.ctc(jnp.asarray(logits), jnp.asarray(lengths), jnp.asarray(labels))
  expected = [by_alignments(logits[row, :length].astype(np.float64), case)
              for row, (length, case) in enumerate(zip(lengths, CASES, strict=True))]
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert losses.alignable(jnp.asarray(lengths), jnp.asarray(labels)).all()


def test_what_has_no_alignment():
  labels = jnp.array([[1, 1, 0], [1, 2, 0], [1, 2, 2], [0, 0, 0]])
  for lengths, expected in (([2, 1, 3, 0], [False, False, False, True]),
                            ([3, 2, 4, 1], [True] * 4)):
    assert losses.alignable(jnp.array(lengths), labels).tolist() == expected
    for row, possible in enumerate(expected):
      case = tuple(c for c in labels[row].tolist() if c)
      assert possible == np.isfinite(by_alignments(
        np.zeros((lengths[row], 3)), case)) or not lengths[row]


def test_is_not_negative_and_reads_no_padding():
  sure = jnp.full((1, 3, 3), -40.0).at[0, jnp.arange(3), jnp.array([1, 0, 2])].set(40.0)
  assert losses.ctc(sure, jnp.array([3]), jnp.array([[1, 2]]))[0] == 0
  logits = jnp.asarray(RNG.normal(size=(1, 5, 3)), jnp.float32)
  one, two = (losses.ctc(logits.at[0, 3:].set(value), jnp.array([3]), jnp.array([[2]]))
              for value in (0.0, 9.0))
  assert one == two


@pytest.mark.reference
def test_equals_pytorch():
  torch = pytest.importorskip('torch', reason='PyTorch is what this compares with')
  logits = RNG.normal(size=(8, 30, 11)).astype(np.float32)
  lengths, sizes = RNG.integers(18, 31, 8), RNG.integers(0, 9, 8)
  labels = np.where(np.arange(9) < sizes[:, None], RNG.integers(1, 11, (8, 9)), 0)

  def ours(logits):
    found = losses.ctc(logits, jnp.asarray(lengths), jnp.asarray(labels))
    return found.sum(), found

  (_, found), slope = jax.value_and_grad(ours, has_aux=True)(jnp.asarray(logits))
  theirs = torch.tensor(logits, requires_grad=True)
  expected = torch.nn.functional.ctc_loss(
    theirs.log_softmax(-1).transpose(0, 1), torch.tensor(labels), torch.tensor(lengths),
    torch.tensor(sizes), reduction='none')
  expected.sum().backward()
  np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4)
  np.testing.assert_allclose(slope, theirs.grad.numpy(), atol=1e-4)
