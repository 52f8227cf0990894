"""Workdirs as runs leave them, without training."""

import json

from bigmodels.core import digests

CONFIG = '''# A resolved experiment
experiment = {name}
knob.rate = {rate}
monitor.metric = 'validation/loss'
monitor.goal = 'min'
optimizer.learning_rate.peak = {rate}
'''


def make(path, *, name='digits_cnn', rate=0.1, records=(1, 2), status='finished',
         accuracy=0.9):
  """Writes a workdir; `status` None is a run without a result."""
  path.mkdir(parents=True)
  (path / 'config.txt').write_text(CONFIG.format(name=name, rate=rate))
  (path / 'metrics.jsonl').write_text(''.join(
    json.dumps({'step': step, 'validation/loss': rate / step, 'train/loss': 1 / step,
                'test/accuracy': accuracy}) + '\n' for step in records))
  if status:
    result = {'experiment': name, 'status': status, 'step': records[-1],
              'metrics': {'validation/loss': rate, 'test/accuracy': accuracy,
                          'test/f1/0': 0.5, 'train/loss': 0.5,
                          'each': [1.0, 3.0]},
              'train_seconds': 60.0, 'evaluate_seconds': 5.0, 'checkpoint_seconds': 0.4}
    (path / 'result.json').write_text(json.dumps(
      {**result, 'digest': digests.of_json(result)}))
  return path
