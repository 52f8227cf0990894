"""Metrics of task-oriented responses: their slots, and what is said."""

from collections.abc import Sequence

from bigmodels.metrics.translation import bleu


def slots(written: Sequence[tuple[frozenset[str], str]],
          true: Sequence[tuple[frozenset[str], str]]) -> dict[str, float]:
  """Compares responses with the true ones.

  Args:
    written: slots and text of each response.
    true: the same of the true responses, in this order.

  Returns:
    `joint_accuracy`, the fraction of responses with exactly the true slots; `slot_f1`,
    of all slots of all responses; `bleu` of the texts, 0 to 100.
  """
  pairs = [*zip(written, true, strict=True)]
  if not pairs:
    return {}
  same = sum(len(ours & theirs) for (ours, _), (theirs, _) in pairs)
  total = sum(len(ours) + len(theirs) for (ours, _), (theirs, _) in pairs)
  return {'joint_accuracy': sum(ours == theirs for (ours, _), (theirs, _) in pairs) / (
            len(pairs)),
          'slot_f1': 2 * same / total if total else 1.0,
          **bleu([text for _, text in written], [text for _, text in true])}
