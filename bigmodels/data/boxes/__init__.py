"""Sources of annotated pictures, for `data.Detection`; each reads a split when opened.

A source has `read(split, context) -> Annotations`.
"""

from bigmodels.data.boxes.coco import Coco
from bigmodels.data.boxes.digit_canvas import DigitCanvas
from bigmodels.data.boxes.tfds_objects import TfdsObjects
from bigmodels.data.boxes.voc import Voc
from bigmodels.data.boxes.yolo import Yolo

__all__ = ['Coco', 'DigitCanvas', 'TfdsObjects', 'Voc', 'Yolo']
