"""Questions on stories that have one answer of a list."""

import numpy as np

from bigmodels import metrics, plots
from bigmodels.tasks.classification import classification

_SHOWN = 12  # questions in the report
_LETTERS = 300  # of the end of a story


def story_questions(model, *, groups: tuple[str, ...]):
  """Answers questions on stories, of several tasks: a classification of the answers.

  An evaluation gives `mean_error`, the mean of the errors of the tasks, and `failed`,
  how many have an error above 5 % (Weston et al., 2015).

  Args:
    model: Linen module, stories `[batch, sentences, words]` and questions `[batch,
      words]` -> logits `[batch, answers]`.
    groups: names of the tasks; supplied by the run.
  """
  made = classification(model, inputs=('inputs', 'questions'))

  def loss(params, model_state, batch, key, train):
    value, (model_state, found, outputs) = made.loss(
      params, model_state, batch, key, train)
    return value, (model_state, found, {**outputs, 'tasks': batch['tasks']})

  def summarize(outputs):
    return metrics.error_by_group(*_by_task(outputs), groups) | {
      'accuracy': float(np.mean(outputs['labels'] == outputs['predictions']))}

  def draw(outputs, inputs, classes):
    found = plots.error_by_group(*_by_task(outputs), groups)
    if not getattr(inputs, 'words', None):
      return found
    rows = plots.spread(len(outputs['labels']), _SHOWN)
    answers = [[classes[i] for i in outputs[name][rows]]
               for name in ('predictions', 'labels')]
    words = [(groups[outputs['tasks'][row]], plots.ending(each['story'], _LETTERS),
              each['question']) for row, each in zip(
                rows, inputs.words(rows), strict=True)]
    return {**found, 'Questions': plots.Table(
      ('task', 'story', 'question', 'predicted', 'true'),
      [(*each, *pair) for each, *pair in zip(words, *answers, strict=True)])}

  return made._replace(loss=loss, summarize=summarize, plots=draw)


def _by_task(outputs):
  return outputs['labels'] == outputs['predictions'], outputs['tasks']
