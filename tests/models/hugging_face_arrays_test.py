"""Tests of the arrays and shards of published weights, and what of them is refused.

No other library is needed: the files are written here, as Hugging Face lays them out.
"""

import json
import struct

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from bigmodels.models import ResNet, Vit
from tests.models.gpt2_files import GPT, TOKENS, arrays, halves, write, write_shards
from tests.models.loading import refusal

IMAGES = np.zeros((1, 33, 33, 3), np.float32)
VIT = Vit(5, size=8, patch=4, depth=1, width=8, heads=2)


# --- what is in the arrays ------------------------------------------------------


def with_value(name, value, count=1, dtype=np.float32):
  def change(state):
    array = state[name].astype(dtype)
    with np.errstate(over='ignore'):
      array.ravel()[:count] = value
    return state | {name: array}
  return change


def renamed(state):
  return {f'transformer.{name}': x for name, x in state.items()}


@pytest.mark.parametrize('change, words', [
  (with_value('wte.weight', np.nan, 3), 'wte.weight is not finite: 3 of 88 values'),
  (with_value('wpe.weight', np.inf), 'wpe.weight is not finite: 1 of 48 values'),
  (with_value('h.0.attn.c_attn.bias', -np.inf, 24),
   'h.0.attn.c_attn.bias is not finite: 24 of 24 values'),
  (lambda s: renamed(with_value('wte.weight', np.nan)(s)),
   'transformer.wte.weight is not finite: 1 of 88 values'),
  (lambda s: with_value('wte.weight', np.nan)(s | {'lm_head.weight': s['wte.weight']}),
   'wte.weight is not finite: 1 of 88 values'),
  (lambda s: s | {'lm_head.weight': with_value('wte.weight', np.nan)(s)['wte.weight']},
   'lm_head.weight is not finite: 1 of 88 values'),
  (with_value('ln_f.bias', 70_000.0, 2, np.float16),
   'ln_f.bias is not finite: 2 of 8 values'),
  (with_value('ln_f.bias', 1e300, 2, np.float64),
   'ln_f.bias is beyond the range of float32: 2 of 8 values'),
  (with_value('ln_f.bias', np.nan, 2, np.float64),
   'ln_f.bias is not finite: 2 of 8 values'),
  (with_value('ln_f.bias', 1, dtype=np.int8), 'ln_f.bias is of the type I8, must be'),
  (with_value('ln_f.bias', 1, dtype=np.int64), 'ln_f.bias is of the type I64'),
  (with_value('ln_f.bias', 1, dtype=bool), 'ln_f.bias is of the type BOOL'),
  (lambda s: s | {'ln_f.bias': np.zeros(0, np.float32)},
   '  norm/bias: shape must be (8,), got (0,)'),
  (lambda s: s | {'ln_f.bias': np.zeros((), np.float32)},
   '  norm/bias: shape must be (8,), got ()'),
  (lambda s: s | {'transformer.ln_f.bias': s['ln_f.bias']},
   'ln_f.bias is there twice: as ln_f.bias in model.safetensors, and as transformer.'),
])
def test_arrays_that_are_refused(tmp_path, change, words):
  write(tmp_path, state=change(arrays()))
  assert words in refusal(GPT, tmp_path, TOKENS)


@pytest.mark.parametrize('kind, size', [
  ('F8_E4M3', 1), ('F8_E5M2', 1), ('C64', 8), ('U16', 2), ('BOOL', 1), ('I32', 4)])
def test_types_that_are_no_floats(tmp_path, kind, size):
  header = json.dumps({name: {'dtype': kind, 'shape': [8], 'data_offsets': [
    place * 8 * size, (place + 1) * 8 * size]} for place, name in enumerate(
      ('ln_f.weight', 'ln_f.bias'))}).encode()
  (tmp_path / 'x.safetensors').write_bytes(
    struct.pack('<Q', len(header)) + header + bytes(16 * size))
  assert refusal(GPT, tmp_path / 'x.safetensors', TOKENS, 'norm/.*') == (
    f'ln_f.bias is of the type {kind}, must be one of F64, F32, F16, BF16')


def with_header(path, change):
  data = path.read_bytes()
  size = struct.unpack('<Q', data[:8])[0]
  header = json.dumps(change(json.loads(data[8 : 8 + size]))).encode()
  path.write_bytes(struct.pack('<Q', len(header)) + header + data[8 + size :])


def cut(header, name, **fields):
  return header | {name: header[name] | fields}


@pytest.mark.parametrize('damage', [
  lambda path: path.write_bytes(b''),
  lambda path: path.write_bytes(path.read_bytes()[:-4]),
  lambda path: path.write_bytes(path.read_bytes()[:100]),
  lambda path: path.write_bytes(path.read_bytes() + b'more'),
  lambda path: path.write_bytes(struct.pack('<Q', 2**62) + path.read_bytes()[8:]),
  lambda path: path.write_bytes(struct.pack('<Q', 3) + path.read_bytes()[8:]),
  lambda path: path.write_bytes(b'PK\x03\x04' + bytes(100)),
  lambda path: with_header(path, lambda h: []),
  lambda path: with_header(path, lambda h: cut(h, 'wte.weight', shape=[11, 9])),
  lambda path: with_header(path, lambda h: cut(h, 'wte.weight', shape=[-11, -8])),
  lambda path: with_header(path, lambda h: cut(h, 'wte.weight', dtype='F99')),
  lambda path: with_header(path, lambda h: cut(h, 'wte.weight', data_offsets=[0, 0])),
  lambda path: with_header(
    path, lambda h: cut(h, 'wte.weight', data_offsets=h['wpe.weight']['data_offsets'])),
  lambda path: with_header(
    path, lambda h: {n: x for n, x in h.items() if n != 'wte.weight'}),
])
def test_files_that_cannot_be_read(tmp_path, damage):
  write(tmp_path)
  damage(tmp_path / 'model.safetensors')
  text = refusal(GPT, tmp_path, TOKENS)
  assert text.startswith('model.safetensors cannot be read as safetensors: ')
  assert '\n' not in text and len(text) < 400


def test_variances_below_0(tmp_path):
  model = ResNet(5, 18, 8)
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), IMAGES, train=False))
  assert shapes['batch_stats']['stem']['norm']['var'].shape == (8,)
  name = 'embedder.embedder.normalization'
  save_file({f'{name}.running_mean': -np.ones(8, np.float32),
             f'{name}.running_var': np.float32([1, -1, 1, 1, -2, 1, 0, 1]),
             **{f'{name}.{part}': np.ones(8, np.float32) for part in ('weight', 'bias')}
             }, tmp_path / 'model.safetensors')
  assert refusal(model, tmp_path, IMAGES, 'stem/norm/.*') == (
    f'{name}.running_var: 2 of 8 variances are below 0')


@pytest.mark.parametrize('shape, line', [
  ((8, 3, 2, 8), '  patches/kernel: shape must be (48, 8), got (2, 8, 3, 8)'),
  ((8, 3, 4, 8), '  patches/kernel: shape must be (48, 8), got (96, 8)'),
  ((8, 12, 2, 2), '  patches/kernel: shape must be (48, 8), got (2, 2, 12, 8)'),
  ((8, 48), '  patches/kernel: shape must be (48, 8), got (384,)')])
def test_patches_of_other_sides(tmp_path, shape, line):
  name = 'embeddings.patch_embeddings.projection'
  save_file({f'{name}.weight': np.ones(shape, np.float32),
             f'{name}.bias': np.ones(8, np.float32)}, tmp_path / 'model.safetensors')
  assert line in refusal(
    VIT, tmp_path, np.zeros((1, 8, 8, 3), np.float32), 'patches/.*').split('\n')


# --- shards ---------------------------------------------------------------------


def swapped():
  shards = halves()
  return shards, {array: name for name, other in (
    ('a.safetensors', 'b.safetensors'), ('b.safetensors', 'a.safetensors'))
    for array in shards[other]}


@pytest.mark.parametrize('shards, weight_map, words', [
  (halves(), {'wte.weight': '../x.safetensors'}, "names '../x.safetensors', which is "),
  (halves(), {'wte.weight': '/x.safetensors'}, "names '/x.safetensors', which is out"),
  (halves(), {'wte.weight': 'a/../../x.safetensors'}, 'which is outside of the folder'),
  (halves(), {'wte.weight': ''}, "names '', which is outside of the folder"),
  (halves(), {'wte.weight': 'c.safetensors'}, '1 of 1 files that model.safetensors.in'),
  (halves(), {'wte.weight': 3}, 'has no weight_map of names of files'),
  (halves(), [], 'has no weight_map of names of files'),
  (*swapped(), 'a.safetensors lacks what the index says is there: '),
  (halves(), dict.fromkeys(arrays(), 'a.safetensors'),
   'a.safetensors lacks what the index says is there: '),
  (halves() | {'c.safetensors': {'wte.weight': arrays()['wte.weight'],
                                 'more': np.ones(1, np.float32)}},
   {array: name for name, state in halves().items() for array in state} | {
     'more': 'c.safetensors'},
   'there twice: as wte.weight in b.safetensors, and as wte.weight in c.safetensors'),
  ({'a.safetensors': arrays() | {'extra.weight': np.ones(3, np.float32)}},
   dict.fromkeys(arrays(), 'a.safetensors'), '  extra.weight: unexpected'),
  (halves(), {}, 'none of the parameters is there'),
])
def test_shards_that_are_refused(tmp_path, shards, weight_map, words):
  write_shards(tmp_path, shards, weight_map)
  assert words in refusal(GPT, tmp_path, TOKENS)
