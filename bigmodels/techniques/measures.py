"""The learning rate and norms of a learner, among its training metrics."""

from bigmodels.learners.learner import Learner
from bigmodels.metrics import Mean
from bigmodels.optim import measured


def logged(learner: Learner) -> Learner:
  """A learner that reports what `optim.measured` measures in its optimizer.

  Args:
    learner: any learner; without such an optimizer nothing is reported.
  """
  def step(state, batch):
    new, metrics = learner.step(
      state._replace(opt_state=measured.cleared(state.opt_state)), batch)
    # Members of a learner of several have a leading axis.
    found = {name: Mean(sums[..., 0], sums[..., 1])
             for name, sums in measured.sums(new.opt_state).items()}
    return new, {**found, **metrics} if metrics else metrics

  return learner._replace(step=step)
