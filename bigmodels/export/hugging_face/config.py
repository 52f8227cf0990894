"""`config.json`, `preprocessor_config.json` and the files of the tokenizer."""

import base64
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bigmodels.core import files
from bigmodels.data import tokenizer_files, transforms
from bigmodels.training import inference
from bigmodels.training.runs import Run

# The ids of special tokens that `config.json` has, besides `tokenizer_config.json`.
_IDS = {'pad': 'pad_token_id', 'begin': 'bos_token_id', 'end': 'eos_token_id'}


def model_config(run: Run, published, dtype: str) -> dict[str, Any]:
  """The content of `config.json`.

  Args:
    run: the run.
    published: its model's `models.hugging_face.Published`.
    dtype: of the weights.
  """
  found = {
    'architectures': [published.architecture + published.head],
    'model_type': published.model_type, 'dtype': dtype, **published.unchecked,
    **{key: setting.legal[0] for key, setting in published.config.items()}}
  if published.pipeline.endswith('-classification'):
    labels = labels_of(run)
    found |= {'id2label': {str(id): label for id, label in enumerate(labels)},
              'label2id': {label: id for id, label in enumerate(labels)}}
  if published.pipeline == 'image-classification':
    found['num_channels'] = inference.example(run.built)['inputs'].shape[-1]
  if run.tokenizer is not None:
    special = run.tokenizer.special
    found |= {key: special.get(name) for name, key in _IDS.items()}
    if published.pipeline == 'text-generation':  # 'end' also begins a text
      found['bos_token_id'] = special.get('begin', special.get('end'))
  return found


def labels_of(run: Run) -> list[str]:
  """A label for each output: the name of a class, or `LABEL_0` as in `transformers`."""
  count = run.params['head']['bias'].shape[0]
  classes = run.classes if run.named else None
  if classes is not None and len(classes) == count == len({*classes}):
    return list(classes)
  if classes is not None and count == 1 and len(classes) == 2:
    return [classes[1]]
  return [f'LABEL_{id}' for id in range(count)]


def write_tokenizer(run: Run, published, folder: pathlib.Path,
                    say: Callable[[str], None]) -> None:
  """Writes the files of the tokenizer, if `transformers` has such a one.

  Args:
    run: the run.
    published: its model's `models.hugging_face.Published`; None of other models.
    folder: to write to.
    say: prints a line.
  """
  state = run.built.data['kept'].get('tokenizer')
  if state is None:
    return
  text = tokenizer_files.text_of(
    state, framed=published is not None and published.pipeline == 'text-classification')
  if text is not None:
    files.write(folder / 'tokenizer.json', text)
    write_json(folder / 'tokenizer_config.json', tokenizer_files.config_of(
      state, getattr(run.model, 'length', None) or getattr(
        getattr(run.model, 'encoder', None), 'length', None)))
  elif state['kind'] == 'SentencePiece':
    files.write(folder / 'tokenizer.model', base64.b64decode(state['model']))
    say('no tokenizer.json: transformers has no form of a SentencePiece model whose '
        'pieces do not span lines; tokenizer.model is the file of SentencePiece')
  else:
    say(f'no tokenizer.json: transformers has no form of this {state["kind"]}')


def preprocessor_config(run: Run) -> tuple[dict[str, Any], list[str]]:
  """The content of `preprocessor_config.json`, and the transforms that it lacks.

  Args:
    run: of images.
  """
  like = inference.example(run.built)['inputs']
  height, width, channels = like.shape[1:]
  found = {'image_processor_type': 'ViTImageProcessor', 'do_resize': True,
           'size': {'height': height, 'width': width}, 'resample': 2,
           'do_rescale': like.dtype == np.uint8, 'rescale_factor': 1 / 255,
           'do_normalize': False}
  scale, lacking = 255 if like.dtype == np.uint8 else 1, []
  for transform in evaluation_transforms(run):
    settings = getattr(transform, 'keywords', {})
    kind = getattr(transform, 'func', transform)
    if kind is transforms.standardize and not found['do_normalize']:
      fitted = run.normalization or (None, None)
      for key, name, kept in (('image_mean', 'mean', fitted[0]),
                              ('image_std', 'std', fitted[1])):
        values = np.ravel(np.asarray(settings.get(name, kept), np.float64)) / scale
        found[key] = np.broadcast_to(values, (channels,)).tolist()
      found['do_normalize'] = True
    else:
      lacking.append(getattr(kind, '__name__', str(kind)))
  return found, lacking


def evaluation_transforms(run: Run) -> tuple[Callable, ...]:
  """The transforms of the first evaluation of a run, or those of its training."""
  experiment = run.experiment
  first = next(iter(experiment.evals.values()), experiment.train)
  return first.transforms


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes JSON with a newline at its end."""
  files.write(path, json.dumps(value, indent=2, ensure_ascii=False) + '\n')
