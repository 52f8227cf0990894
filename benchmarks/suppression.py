"""Measures non-maximum suppression in the compiled step beside a loop of NumPy.

  python benchmarks/suppression.py --rounds=9 --out=benchmarks/results/suppression.json

1,000 boxes of each of 8 images. The loop is that of `torchvision.ops.nms`: the best box
is kept, and what overlaps it is dropped. They take turns, and must keep the same boxes.
Prints the ratio: median, minimum and maximum; and the time of processors, which other
programs on the machine change little.
"""

import argparse
import functools
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import jax  # noqa: E402
import numpy as np  # noqa: E402
from machine import save  # noqa: E402

from bigmodels.hardware import devices  # noqa: E402
from bigmodels.layers.suppression import suppress  # noqa: E402

IOU_THRESHOLD = 0.5


def drawn(images: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Boxes `[images, count, 4]` of many sizes on 512 x 512 pixels, and their scores."""
  rng = np.random.default_rng(seed)
  centres = rng.uniform(0, 512, (images, count, 2))
  halves = rng.uniform(5, 60, (images, count, 2))
  boxes = np.concatenate([centres - halves, centres + halves], -1)
  return boxes.astype(np.float32), rng.uniform(0.01, 1, (images, count)).astype(
    np.float32)


def in_numpy(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
  """The boxes that are kept of one image, int `[kept]`, the best first."""
  areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
  order, kept = np.argsort(-scores, kind='stable'), []
  while order.size:
    best, rest = order[0], order[1:]
    kept.append(best)
    corner = np.maximum(boxes[best, :2], boxes[rest, :2])
    end = np.minimum(boxes[best, 2:], boxes[rest, 2:])
    both = np.prod(np.maximum(end - corner, 0), 1)
    order = rest[both / (areas[best] + areas[rest] - both) <= IOU_THRESHOLD]
  return np.array(kept)


def timed(run) -> tuple[float, float]:
  """Milliseconds that a call takes, and those of all processors together."""
  start = time.perf_counter(), time.process_time()
  run()
  return tuple(1000 * (end - begin) for begin, end in zip(
    start, (time.perf_counter(), time.process_time()), strict=True))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=9)
  parser.add_argument('--images', type=int, default=8)
  parser.add_argument('--boxes', type=int, default=1000)
  parser.add_argument('--out', type=pathlib.Path, help='a JSON file')
  flags = parser.parse_args()
  devices.require_backend(None)
  boxes, scores = drawn(flags.images, flags.boxes)
  compiled = jax.jit(functools.partial(suppress, iou_threshold=IOU_THRESHOLD,
                                       max_boxes=flags.boxes))
  there = jax.device_put((boxes, scores))

  def ours():
    return jax.device_get(compiled(*there))

  def theirs():
    return [in_numpy(*one) for one in zip(boxes, scores, strict=True)]

  index, kept = ours()
  for image, expected in enumerate(theirs()):
    np.testing.assert_array_equal(index[image][kept[image]], expected)
  found = np.array([(timed(ours), timed(theirs)) for _ in range(flags.rounds)])
  (fast, fast_processors), (slow, slow_processors) = np.median(found, 0)
  ratios = found[:, 1, 0] / found[:, 0, 0]
  print(f'{flags.images} images of {flags.boxes:,} boxes: {fast:.1f} ms, NumPy '
        f'{slow:.1f} ms: {np.median(ratios):.1f} times ({min(ratios):.1f} to '
        f'{max(ratios):.1f}); of processors {fast_processors:.1f} and '
        f'{slow_processors:.1f} ms')
  if flags.out:
    rounded = found.round(2).transpose(1, 2, 0).tolist()
    save(flags.out, f'suppression.py --rounds={flags.rounds}', {
      'images': flags.images, 'boxes': flags.boxes,
      **{f'{name}_{kind}': times for name, both in zip(
        ('compiled', 'numpy'), rounded, strict=True)
        for kind, times in zip(('ms', 'processor_ms'), both, strict=True)}})


if __name__ == '__main__':
  main()
