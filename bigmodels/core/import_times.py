"""The time that imports take, by package."""

import functools
import importlib.machinery
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from types import ModuleType


class ImportTimes:
  """A finder in `sys.meta_path` that has the others find modules, and times them.

  Attributes:
    seconds: package -> seconds in which its modules were executed, without what they
      import of other packages.
  """

  def __init__(self):
    self.seconds: dict[str, float] = defaultdict(float)
    self._local = threading.local()  # of the imports in progress, the innermost last

  @classmethod
  def install(cls) -> None:
    """Times all imports from now on."""
    sys.meta_path.insert(0, cls())

  @classmethod
  def installed(cls) -> 'ImportTimes | None':
    """The finder that was installed, or None."""
    return next((finder for finder in sys.meta_path if isinstance(finder, cls)), None)

  @property
  def total(self) -> float:
    """Seconds of all imports."""
    return sum(self.seconds.values())

  def find_spec(self, name: str, path: Sequence[str] | None = None,
                target: ModuleType | None = None
                ) -> importlib.machinery.ModuleSpec | None:
    """Asks the other finders, and has what they find timed.

    Args:
      name, path, target: see `importlib.abc.MetaPathFinder`.
    """
    for finder in sys.meta_path:
      if finder is self or not hasattr(finder, 'find_spec'):
        continue
      spec = finder.find_spec(name, path, target)
      if spec is None:
        continue
      # Loaders of built-in modules are classes, and their modules cost nothing.
      if spec.loader is not None and not isinstance(spec.loader, type):
        spec.loader.exec_module = functools.partial(
          self._timed, name.partition('.')[0], spec.loader.exec_module)
      return spec
    return None

  def _timed(self, package, execute, module):
    inside = self._local.__dict__.setdefault('inside', [])
    inside.append(0.0)
    start = time.perf_counter()
    try:
      execute(module)
    finally:
      seconds = time.perf_counter() - start
      self.seconds[package] += seconds - inside.pop()
      if inside:
        inside[-1] += seconds
