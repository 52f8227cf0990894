"""The simplest baseline of `speech_commands`: logistic regression on the spectrogram.

  python benchmarks/commands.py --data_dir=DIR   # DIR holds speech_commands_ar/

The log mel spectrogram is that of the experiment, averaged over each tenth of a second;
columns are scaled by the training split. Its regularization was chosen on validation.
Prints the accuracy of each split as JSON.
"""

import functools
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from questions import parsed  # noqa: E402

from bigmodels.config import resolving  # noqa: E402
from bigmodels.data.sources import DataContext  # noqa: E402

_FRAMES = 10  # that are averaged


def pictures(source, transforms, context: DataContext
             ) -> tuple[np.ndarray, np.ndarray]:
  """Spectrograms `[n, features]` and labels `[n]` of a split."""
  import jax

  split = source.open(context)
  found = split.read(np.arange(split.length))
  x = np.asarray(jax.jit(lambda x: functools.reduce(
    lambda batch, each: each(batch, jax.random.key(0)), transforms, {'inputs': x})[
      'inputs'])(found['inputs']))[..., 0]
  whole = x[:, : x.shape[1] // _FRAMES * _FRAMES]
  means = whole.reshape(len(x), -1, _FRAMES, x.shape[2]).mean(2)
  return means.reshape(len(x), -1), np.asarray(found['labels'])


def main() -> None:
  """Prints the accuracy."""
  from sklearn.linear_model import LogisticRegression
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler

  context = parsed(__doc__)
  experiment = resolving.resolve('speech_commands', {}).experiment
  splits = {'train': experiment.train.source, **{
    name: batches.source for name, batches in experiment.evals.items()}}
  # Those of an evaluation, without augmentation.
  transforms = experiment.evals['test'].transforms
  data = {name: pictures(each, transforms, context) for name, each in splits.items()}
  model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
  model.fit(*data['train'])
  print(json.dumps({name: round(model.score(*each), 4) for name, each in data.items()}))


if __name__ == '__main__':
  main()
