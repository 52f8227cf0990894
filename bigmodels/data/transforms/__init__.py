"""Augmentation and normalisation: pure functions over whole batches, in the step.

Each is `(batch, key, *, ...) -> batch` and touches `batch['inputs']`, mixing the labels
too; images are `[batch, height, width, channels]` of any dtype, which all but
`standardize` and `noise` keep. Set the keywords with `functools.partial`. Random
choices are made per example. What else a batch tells of an example, such as its `row`
and `epoch`: see `Loader.batch` in data/batches.py.
"""

from bigmodels.data.transforms.colour import colour
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
from bigmodels.data.transforms.mixing import cutmix, mixup, one_of
from bigmodels.data.transforms.randaugment import randaugment
from bigmodels.data.transforms.values import cutout, erase, noise, standardize

__all__ = ['alternating_flip', 'centre_crop', 'colour', 'crop', 'cutmix', 'cutout',
           'erase', 'flip', 'mixup', 'noise', 'one_of', 'randaugment', 'resize',
           'resized_crop', 'rotate', 'scale', 'shift', 'standardize', 'translate']
