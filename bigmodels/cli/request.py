"""What a mode is asked for."""

import functools
import os
import pathlib
from typing import Literal, NamedTuple

from bigmodels.config import Experiment, resolving
from bigmodels.core import paths
from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext, in_lines
from bigmodels.distributed.cluster import Address
from bigmodels.distributed.processes import ProcessGroup
from bigmodels.parallel import layout
from bigmodels.parallel.layout import Layout
from bigmodels.parallel.sharding import MeshShape
from bigmodels.storage.workdir import Fitted, Workdir


class Sampling(NamedTuple):
  """How --mode=sample writes; the fields are the flags. None: as `decoding.Settings`.

  Attributes:
    prompt: texts to go on from; none for the empty one.
    prompt_file: the path of a file with one on each line.
    tokens: most that are written after each.
    temperature: 0 takes the likeliest token.
    top_k: draw from so many tokens only.
    top_p: draw from the fewest tokens of this probability.
    beams: of a beam search.
    stop: texts to end at.
    samples: texts after each prompt.
    sample_seed: of the draws.
  """

  prompt: list[str] | None = None
  prompt_file: str | None = None
  tokens: int | None = None
  temperature: float | None = None
  top_k: int | None = None
  top_p: float | None = None
  beams: int | None = None
  stop: list[str] | None = None
  samples: int = 1
  sample_seed: int = 0


class Request(NamedTuple):
  """The command line, read.

  Attributes:
    experiment: a name, the path of a `.py` file or of a `config.txt`, or None for
      what the workdir holds.
    overrides: knob or dotted path -> text.
    workdir: a path, or None.
    data_dir: where TFDS datasets are, or None.
    cache_dir: where decoded data and compiled programs are kept.
    require_backend: 'cpu', 'gpu', 'tpu' or None.
    mesh: to use instead of the experiment's, or None.
    parallel: 'jit' or 'pmap'.
    address: of the other processes of the run.
    hang_timeout: seconds without a word from another process before it is given up.
    topology: what to plan for, or None for the devices that are there.
    sampling: how to write.
    trust: whether to import and execute whatever a stored run names.
  """

  experiment: str | None
  overrides: dict[str, str]
  workdir: str | None
  data_dir: str | None
  cache_dir: pathlib.Path
  require_backend: str | None
  mesh: MeshShape | None = None
  parallel: Literal['jit', 'pmap'] = 'jit'
  address: Address = Address()
  hang_timeout: float = 120.0
  topology: str | None = None
  sampling: Sampling = Sampling()
  trust: bool = False

  @property
  def shared(self) -> str:
    """The folder that all processes of a run see: what they have in common is there."""
    return self.workdir or 'runs'

  def agree(self, group: ProcessGroup, config_text: str, code: str) -> None:
    """Checks that all processes were asked for the same.

    Args:
      group: the processes.
      config_text: of the experiment.
      code: digest of its code.
    """
    group.agree('the command', '--workdir' if self.workdir else 'no --workdir')
    group.agree('the experiment', config_text)
    group.agree('the code of the experiment', code)
    group.agree('the mesh', f"{self.mesh or 'as in the experiment'} ({self.parallel})")

  def described(self) -> DataContext:
    """What plan and shapes need of the world: data is described, not read.

    What the run in the workdir keeps, such as its tokenizer, is not fitted again.
    """
    stored = Workdir(self.workdir).fitted() if self.workdir else Fitted(None, {})
    kept = {name: value for name, value in stored.kept.items()
            if name != 'train' and not name.startswith('identity')}
    return DataContext(
      self.data_dir or stored.data_dir, self.cache_dir, kept, shapes_only=True,
      trust=self.trust,
      say=functools.cache(in_lines(functools.partial(print, flush=True))))  # once each

  def layout(self, experiment: Experiment, devices: list | None = None) -> Layout:
    """The mesh that is meant, over devices; None for those that are there."""
    return layout.over(self.mesh or experiment.mesh, self.parallel, experiment.rules,
                       devices)

  def resolve(self) -> resolving.Resolved:
    """The experiment that is meant, with every override.

    What the user has named is trusted on this machine from now on; see `trust`.

    Raises:
      UserError: if none is named and the workdir holds none.
    """
    if self.experiment is None:
      if self.workdir is None:
        names = ', '.join(resolving.summaries())
        raise UserError(
          'name an --experiment, or a --workdir to go on with; there is ' + names)
      return Workdir(self.workdir).recorded(self.overrides, trusted=self.trust)
    if self.experiment.endswith('.txt'):
      path = paths.checked(self.experiment, '--experiment')
      if not path.is_file():
        raise UserError(f'--experiment: there is no file {path}')
      copy = path.parent / 'source'
      return resolving.from_file(path, self.overrides, trusted=self.trust,
                              copy=copy if os.path.isdir(copy) else None)
    resolved = resolving.resolve(self.experiment, self.overrides)
    # What begins with a letter can be a name, and what has a colon be imported.
    names = any(v[:1].isalpha() or ':' in v for v in self.overrides.values())
    resolving.remember(resolved, all_lines=names)
    return resolved
