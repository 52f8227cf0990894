"""Sources of annotated pictures, for `data.Detection`; each reads a split when opened.

A source has `read(split, context) -> Annotations`.
"""

from bigmodels.data.boxes.digit_canvas import DigitCanvas
from bigmodels.data.boxes.tfds_objects import TfdsObjects

__all__ = ['DigitCanvas', 'TfdsObjects']
