"""What comes with the parameters of another run: what was fitted to its data.

Parameters mean nothing without the tokenizer, columns and classes they were trained
with.
"""

from bigmodels.config import Experiment
from bigmodels.data.sources import DataContext
from bigmodels.data.tables import table
from bigmodels.storage.workdir import Workdir


def take(experiment: Experiment, context: DataContext) -> None:
  """Takes what was fitted with the parameters of `init_from`, and prints it.

  A run that already has its own keeps them.

  Args:
    experiment: `init_from` may be None, or no run.
    context: of this run; what it keeps is extended.

  Raises:
    UserError: if the other run is not as it was left.
  """
  if experiment.init_from is None:
    return
  name = getattr(experiment.train.source, 'fit_name', None)
  whole_table = name is not None and experiment.init_pattern == '.*'
  if 'tokenizer' in context.kept and (not whole_table or name in context.kept):
    return
  workdir = Workdir(experiment.init_from)
  kept = workdir.stored_data().kept
  if 'tokenizer' in kept and 'tokenizer' not in context.kept:
    context.kept['tokenizer'] = kept['tokenizer']
    context.say(f'also using the tokenizer of {workdir.path} (--config.init_from)')
  if not whole_table or name in context.kept:
    return
  if name in kept:
    names = (name, table.FILE, 'targets')
    context.kept |= {k: kept[k] for k in names if k in kept}
    context.note(f'also using what was fitted to the table of {workdir.path} '
                 '(--config.init_from): columns and classes are found by their names')
  elif any(key.startswith(table.FITTED) for key in kept):
    context.note(f'the table of {workdir.path} (--config.init_from) had other settings '
                 'than this one, which is fitted anew')
