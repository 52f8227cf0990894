"""Augmentation and normalization: pure functions of whole batches, inside the step.

Each is `(batch, key, *, ...) -> batch` and changes `batch['inputs']`; transforms that
mix examples also change `batch['labels']`. Images are `[batch, height, width,
channels]` of any dtype, which all except `standardize` and `noise` preserve. Set the
keywords with `functools.partial`. Random choices are independent for each example.
Transforms of sounds, and of features over time, are in `sounds`. See `Loader.batch` in
data/batches.py for the other columns of a batch, such as the `row` of an example.
"""

from bigmodels.data.transforms.captions import one_caption
from bigmodels.data.transforms.colour import colour
from bigmodels.data.transforms.excerpts import excerpt
from bigmodels.data.transforms.geometry import (
  alternating_flip,
  centre_crop,
  crop,
  flip,
  resize,
  resized_crop,
  rotate,
  scale,
  shift,
  translate,
)
from bigmodels.data.transforms.masks import with_masks
from bigmodels.data.transforms.mixing import cutmix, mixup, one_of
from bigmodels.data.transforms.mosaic import mosaic
from bigmodels.data.transforms.pairs import dihedral, paired_crop
from bigmodels.data.transforms.randaugment import randaugment
from bigmodels.data.transforms.sounds import (
  background,
  delay,
  log_mel,
  mfcc,
  normalize_frames,
  spec_augment,
  speed,
  tilt,
  warp_bands,
  with_channel,
  with_deltas,
)
from bigmodels.data.transforms.values import cutout, erase, noise, standardize

__all__ = ['alternating_flip', 'background', 'centre_crop', 'colour', 'crop', 'cutmix',
           'cutout', 'delay', 'dihedral', 'erase', 'excerpt', 'flip', 'log_mel', 'mfcc',
           'mixup', 'mosaic', 'noise', 'normalize_frames', 'one_caption', 'one_of',
           'paired_crop', 'randaugment', 'resize', 'resized_crop', 'rotate', 'scale',
           'shift', 'spec_augment', 'speed', 'standardize', 'tilt', 'translate',
           'warp_bands', 'with_channel', 'with_deltas', 'with_masks']
