"""Simple baselines of the experiments on questions and dialogues, on the same splits.

  python benchmarks/questions.py --data_dir=DIR

- SQuAD, F1 and exact match of the test questions: the sliding window of Richardson et
  al., *MCTest*, 2013. Of all spans of one to four words of a context, it takes the one
  which makes a window with the rarest words of the question and of the span itself.
- DailyDialog++, hits@k of the first of 10 candidates: cosines of TF-IDF, fitted to the
  texts of the training split.
- bAbI, mean error: the most frequent answer of each task in training.

Prints one line of JSON.
"""

import argparse
import collections
import json
import math
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bigmodels import metrics  # noqa: E402
from bigmodels.data import replies, texts  # noqa: E402
from bigmodels.data.sources import DataContext  # noqa: E402
from bigmodels.metrics.answers import normalized  # noqa: E402

_LONGEST = 4  # words of a span


def sliding_window(context: str, question: str) -> str:
  """Returns the span of a context that is the most likely answer."""
  words = context.split()
  plain = [normalized(word) for word in words]
  counts = collections.Counter(plain)
  rare = np.array([math.log(1 + 1 / counts[word]) if word else 0.0 for word in plain])
  asked = {*normalized(question).split()}
  in_question = np.array([word in asked for word in plain])
  best, found = -1.0, ''
  for count in range(1, min(_LONGEST, len(words)) + 1):
    for start in range(len(words) - count + 1):
      span = {*plain[start : start + count]}
      if not any(span) or in_question[start : start + count].all():
        continue
      inside = in_question | np.array([word in span for word in plain])
      sums = np.cumsum(np.concatenate([[0.0], rare * inside]))
      width = min(len(asked) + len(span), len(words))
      score = float((sums[width:] - sums[:-width]).max())
      if score > best:
        best, found = score, ' '.join(words[start : start + count])
  return found


def squad(context: DataContext) -> dict[str, float]:
  """F1 and exact match of the test questions."""
  found = texts.squad().read('test', context)
  predictions = [sliding_window(found.contexts[of], question)
                 for of, question in zip(found.of, found.questions, strict=True)]
  return metrics.answers(predictions, [
    [answer.text for answer in answers] for answers in found.answers])


def dialog(context: DataContext, candidates: int = 10) -> dict[str, float]:
  """hits@k and the MRR of the test contexts."""
  from sklearn.feature_extraction.text import TfidfVectorizer

  source = texts.dailydialog()
  vectorizer = TfidfVectorizer().fit(source.read('train', context).texts)
  found = source.read('test', context)
  chosen = replies.candidates_of(found, candidates, source.name)
  contexts = vectorizer.transform([' '.join(turns) for turns in found.contexts])
  flat = vectorizer.transform([text for each in chosen for text in each])
  scores = [(flat[candidates * row : candidates * (row + 1)] @ each.T).toarray()[:, 0]
            for row, each in enumerate(contexts)]
  return metrics.selection({'scores': np.array(scores)})


def babi(context: DataContext) -> dict[str, float]:
  """The mean error of the test questions."""
  source = texts.babi()
  train, test = source.read('train', context), source.read('test', context)
  common = {}
  for task in range(len(train.names)):
    counts = collections.Counter(q.answer for q, t in zip(
      train.questions, train.tasks, strict=True) if t == task)
    common[task] = counts.most_common(1)[0][0]
  right = np.array([question.answer == common[task] for question, task in zip(
    test.questions, test.tasks, strict=True)])
  found = metrics.error_by_group(right, np.array(test.tasks), test.names)
  return {name: found[name] for name in ('mean_error', 'failed')}


def parsed(description: str) -> DataContext:
  """The context of sources in the folder --data_dir; they say nothing."""
  parser = argparse.ArgumentParser(description=description.partition('\n')[0])
  parser.add_argument('--data_dir', required=True)
  cache = pathlib.Path('~/.cache/bigmodels').expanduser()
  return DataContext(parser.parse_args().data_dir, cache, {}, say=lambda line: None)


def main() -> None:
  """Prints the baselines of all three."""
  context = parsed(__doc__)
  print(json.dumps({each.__name__: {k: round(v, 4) for k, v in each(context).items()}
                    for each in (babi, dialog, squad)}))


if __name__ == '__main__':
  main()
