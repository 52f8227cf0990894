"""Texts as columns of bytes, so that what a task scores can be in its batches."""

from collections.abc import Sequence

import numpy as np


def rows(texts: Sequence[str]) -> np.ndarray:
  """Returns the UTF-8 of texts, uint8 `[n, bytes]`, padded with zeros.

  The number of bytes is that of the longest, and at least 1. Zero bytes of a text
  become spaces.
  """
  encoded = [text.replace('\0', ' ').encode(errors='replace') for text in texts]
  found = np.zeros((len(encoded), max(1, *map(len, encoded), 1)), np.uint8)
  for row, data in zip(found, encoded, strict=True):
    row[: len(data)] = np.frombuffer(data, np.uint8)
  return found


def texts(rows: np.ndarray) -> list[str]:
  """Returns the texts of bytes, `[n, bytes]`."""
  return [np.asarray(row, np.uint8).tobytes().rstrip(b'\0').decode(errors='replace')
          for row in rows]
