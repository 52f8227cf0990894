"""Choosing the response to a context."""

import jax.numpy as jnp
import numpy as np

from bigmodels import losses, metrics, plots
from bigmodels.tasks.task import Columns, Task, apply, init, masked_mean

_SHOWN = 16  # contexts in the report
_LETTERS = 400  # of the end of a context


def response_selection(model) -> Task:
  """Chooses the response to a context among candidates.

  In training the candidates are the responses of the batch, except other responses to
  the same context: those of a microbatch, and with pmap those of a device. In an
  evaluation they are those of the row, the right one first. The loss is the
  cross-entropy of the right one.

  Args:
    model: `models.DualEncoder`, or a module called alike.
  """
  columns = Columns(('inputs', 'responses'), ('segments', 'response_segments'))

  def objective(params, model_state, batch, key, train):
    (contexts, responses), model_state = apply(
      model, columns, params, model_state, batch, key=key, train=train)
    mask = batch['mask']
    if train:
      scores = contexts @ responses[:, 0].T
      own = jnp.eye(len(scores), dtype=bool)
      same = batch['contexts'][:, None] == batch['contexts']
      others = ~same & (mask[None] > 0)
      scores = jnp.where(own | others, scores, -1e9)
      labels = jnp.arange(len(scores))
    else:
      scores = jnp.einsum('bd,bcd->bc', contexts, responses)
      labels = jnp.zeros(len(scores), jnp.int32)
    value, mean = masked_mean(losses.cross_entropy(scores, labels), mask)
    return value, (model_state, {'loss': mean}, {} if train else {'scores': scores})

  def draw(outputs, inputs, classes):
    del classes
    scores = outputs['scores']
    found = metrics.ranks(scores)
    figures = plots.ranks(found, scores.shape[1])
    if not getattr(inputs, 'words', None):
      return figures
    rows = plots.spread(len(scores), _SHOWN)
    shown = [(plots.ending(each['context'], _LETTERS),
              each[f'candidate {int(np.argmax(s))}'], each['candidate 0'], str(rank))
             for each, s, rank in zip(
               inputs.words(rows), scores[rows], found[rows], strict=True)]
    return {**figures, 'Responses': plots.Table(
      ('context', 'chosen', 'right', 'rank of the right one'), shown)}

  def made(key, batch):
    return init(model, columns, key, batch)

  return Task(made, objective, columns.names, summarize=metrics.selection, plots=draw)
