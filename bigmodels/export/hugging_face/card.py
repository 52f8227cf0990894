"""The model card of an exported run, `README.md`."""

import textwrap
from typing import Any

from bigmodels.config import config_file
from bigmodels.logs.values import mean
from bigmodels.training.runs import Run

_USE = {
  'text-generation': 'pipeline("{task}", model=FOLDER)("Once", max_new_tokens=20)',
  'fill-mask': 'pipeline("{task}", model=FOLDER)(TEXT)',
  'text-classification': 'pipeline("{task}", model=FOLDER)(TEXT)',
  'image-classification': 'pipeline("{task}", model=FOLDER)("image.png")',
}


def text(run: Run, published, result: dict[str, Any] | None, notes: list[str]) -> str:
  """The card: what the model is for, its data and metrics, and how it was trained.

  Args:
    run: the run.
    published: its model's `models.hugging_face.Published`; None of other models.
    result: content of its `result.json`; None if it has none.
    notes: lines on what the files do not hold.
  """
  experiment, kept = run.experiment, run.built.data['kept']
  pipeline = published.pipeline if published else ''
  front = {'library_name': 'transformers' if published else 'bigmodels'}
  front |= {'pipeline_tag': pipeline} if pipeline else {}
  size = kept.get('train', {}).get('length')
  lines = ['---', *(f'{key}: {value}' for key, value in front.items()), '---', '',
           f'# {type(run.model).__name__}, trained by {_short(run.resolved.name)}', '']
  code = run.resolved.source.files[run.resolved.source.path.name].decode('utf-8')
  lines += [*_docstring(code), '## Use', '', *_use(published, pipeline, notes),
            '## Data', '', f'{size:,} training examples.' if size else
            'Not recorded.', '']
  if run.named and run.classes:
    lines += [f'{len(run.classes)} classes: {", ".join(map(str, run.classes[:50]))}'
              + ', ...' * (len(run.classes) > 50) + '.', '']
  lines += ['As the run printed it:', '', *textwrap.wrap(
    '; '.join(map(str, kept['notes'])), 86), ''] if kept.get('notes') else []
  lines += ['## Metrics', '', *_metrics(run, result), '## Training', '',
            *_training(run, result),
            'The whole config, which `python run.py --experiment=FILE` reads:', '',
            '```text', config_file.to_text(run.resolved).rstrip(), '```', '',
            '## License', '',
            'None is stated. Whoever publishes these weights has to choose one; the '
            'license of the data may restrict the choice.', '']
  del experiment
  return '\n'.join(lines)


def _short(name: str) -> str:
  return name.rpartition('/')[2].removesuffix('.py')


def _docstring(code: str) -> list[str]:
  import ast

  found = ast.get_docstring(ast.parse(code))
  return [found, ''] if found else []


def _use(published, pipeline: str, notes: list[str]) -> list[str]:
  if published is None:
    lines = ['```python', 'from safetensors.numpy import load_file', '',
             "arrays = load_file('model.safetensors')  # params/..., model_state/...",
             '```', '', 'bigmodels reads it with `--init_from=FOLDER`.', '']
  elif pipeline:
    lines = ['```python', 'from transformers import pipeline', '',
             _USE[pipeline].format(task=pipeline), '```', '']
  else:
    lines = ['```python', 'from transformers import AutoModel', '',
             'AutoModel.from_pretrained(FOLDER)', '```', '']
  return [*lines, *(f'- {note}' for note in notes), *[''] * bool(notes)]


def _metrics(run: Run, result: dict[str, Any] | None) -> list[str]:
  metrics = {} if result is None else result['metrics']
  rows = [(name, mean(value)) for name, value in metrics.items()
          if not name.startswith('train/') and name.count('/') == 1]
  rows = [f'| {name} | {value:.6g} |' for name, value in rows if value is not None]
  if not rows:
    return ['None: the run has no result yet.', '']
  state = '' if result['status'] == 'finished' else (
    f' The run was stopped at step {result["step"]:,} of {result["steps"]:,}.')
  return [f'At step {run.step:,}, the best checkpoint, on whole splits.{state}', '',
          '| metric | value |', '| --- | --- |', *rows, '']


def _training(run: Run, result: dict[str, Any] | None) -> list[str]:
  if result is None:
    return [f'{run.built.steps:,} steps.', '']
  versions = ', '.join(f'{name} {text}' for name, text in result['versions'].items())
  return [f'- {result["step"]:,} steps, {result["epochs"]:.4g} epochs, '
          f'seed {run.experiment.seed}, in {result["precision"]}',
          f'- {result["train_seconds"]:.1f} s on {result["device"]} '
          f'({result["mesh"]})',
          f'- {result["parameters"]:,} parameters', f'- {versions}', '']
