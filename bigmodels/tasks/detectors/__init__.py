"""Detectors: how the outputs of a network are learned, and read as boxes.

Each is a function of settings that returns a `Detector`, for `tasks.detection`.
"""

from bigmodels.tasks.detectors.centernet import centernet
from bigmodels.tasks.detectors.detector import Detector, Loss, Truth
from bigmodels.tasks.detectors.ssd import ssd
from bigmodels.tasks.detectors.yolo import yolo

__all__ = ['Detector', 'Loss', 'Truth', 'centernet', 'ssd', 'yolo']
