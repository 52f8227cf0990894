"""The experiment of one fold of a cross-validation."""

import dataclasses

from bigmodels.config import Experiment
from bigmodels.core.errors import UserError
from bigmodels.data.folds import HELD_OUT, Fold
from bigmodels.data.in_fold import in_fold


def folded(experiment: Experiment) -> Experiment:
  """Returns an experiment with the training split of its fold, and with `held_out`.

  An experiment without a fold stays as it is.

  Raises:
    UserError: if nothing says how the examples that are held out are transformed.
  """
  if experiment.fold is None:
    return experiment
  fold = Fold(experiment.fold, experiment.folds, experiment.folding)
  train = experiment.train
  # Other splits of a source that cuts itself are of the same cut.
  evals = {name: dataclasses.replace(each, source=in_fold(each.source, fold))
           if hasattr(each.source, 'in_fold') else each
           for name, each in experiment.evals.items()}
  if not evals and train.transforms:
    raise UserError('folds: the experiment has no evaluation, whose transforms would '
                    'be those of the examples held out; add one to evals')
  own = in_fold(train.source, fold)
  like = next(iter(evals.values()), train)
  evals[HELD_OUT] = dataclasses.replace(like, source=own.split(HELD_OUT))
  return dataclasses.replace(
    experiment, folds=1, fold=None, evals=evals,
    train=dataclasses.replace(train, source=own))
