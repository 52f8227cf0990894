"""A small GPT-2, and its files as Hugging Face lays them out."""

import json

import numpy as np
from safetensors.numpy import save_file

from bigmodels.models import Gpt

GPT = Gpt(11, length=6, depth=1, width=8, heads=4)
TOKENS = np.zeros((1, 6), np.int32)
CONFIG = {'model_type': 'gpt2', 'architectures': ['GPT2LMHeadModel'], 'n_head': 4}
_SHAPES = {
  'wte.weight': (11, 8), 'wpe.weight': (6, 8), 'ln_f.weight': (8,), 'ln_f.bias': (8,),
  **{f'h.0.{name}.{part}': shape for name, *shapes in [
    ('ln_1', (8,), (8,)), ('ln_2', (8,), (8,)), ('attn.c_attn', (8, 24), (24,)),
    ('attn.c_proj', (8, 8), (8,)), ('mlp.c_fc', (8, 32), (32,)),
    ('mlp.c_proj', (32, 8), (8,))]
    for part, shape in zip(('weight', 'bias'), shapes, strict=True)}}


def arrays() -> dict[str, np.ndarray]:
  """A GPT-2 of one block; every value is another one."""
  rng = np.random.default_rng(0)
  return {name: rng.normal(size=shape).astype(np.float32)
          for name, shape in _SHAPES.items()}


def write(folder, config=CONFIG, state=None):
  folder.mkdir(parents=True, exist_ok=True)
  save_file(arrays() if state is None else state, folder / 'model.safetensors')
  if config is not None:
    (folder / 'config.json').write_text(json.dumps(config))
  return folder


def cache(root):
  """The folder of a snapshot as a hub's cache has it: links into `blobs/`."""
  write(root / 'blobs')
  snapshot = root / 'snapshots' / '0123abcd'
  snapshot.mkdir(parents=True)
  for name, blob in (('model.safetensors', 'aa'), ('config.json', 'bb')):
    (root / 'blobs' / name).rename(root / 'blobs' / blob)
    (snapshot / name).symlink_to(f'../../blobs/{blob}')
  return snapshot


def write_shards(folder, shards, weight_map=None, config=CONFIG):
  folder.mkdir(parents=True, exist_ok=True)
  for name, state in shards.items():
    save_file(state, folder / name)
  if weight_map is None:
    weight_map = {array: name for name, state in shards.items() for array in state}
  (folder / 'model.safetensors.index.json').write_text(
    json.dumps({'weight_map': weight_map}))
  if config is not None:
    (folder / 'config.json').write_text(json.dumps(config))
  return folder


def halves() -> dict[str, dict[str, np.ndarray]]:
  state = arrays()
  names = sorted(state)
  return {'a.safetensors': {n: state[n] for n in names[:8]},
          'b.safetensors': {n: state[n] for n in names[8:]}}
