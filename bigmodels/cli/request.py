"""The part of the command line that all modes share.

What a mode asks for imports JAX, not this file: some modes start without it.
"""

import contextlib
import functools
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from bigmodels.core import files, paths
from bigmodels.core.errors import UserError, listed
from bigmodels.distributed.cluster import Address

if TYPE_CHECKING:
  from bigmodels.config import Experiment, resolving
  from bigmodels.data.sources import DataContext
  from bigmodels.distributed.processes import ProcessGroup
  from bigmodels.parallel.layout import Layout
  from bigmodels.parallel.sharding import MeshShape
  from bigmodels.storage.workdir import Workdir
  from bigmodels.training.runs import Run


class Request(NamedTuple):
  """The common flags of all modes.

  Attributes:
    experiment: a name, the path of a `.py` file or of a `config.txt`; one that is
      resolved already; None for the experiment of the workdir.
    overrides: knob or dotted path -> text.
    workdir: a path, or None.
    data_dir: folder of TFDS datasets, or None.
    cache_dir: folder of decoded data and compiled programs.
    require_backend: 'cpu', 'gpu', 'tpu' or None.
    mesh: mesh to use instead of the experiment's, or None.
    parallel: 'jit' or 'pmap'.
    address: how to reach the other processes of the run.
    hang_timeout: seconds without a message from another process before this one ends.
    trust: whether to import and execute anything that a stored run names.
    say: prints a line; None for stdout, with a progress bar on a terminal.
  """

  experiment: 'str | resolving.Resolved | None'
  overrides: dict[str, str]
  workdir: str | None
  data_dir: str | None
  cache_dir: pathlib.Path
  require_backend: str | None
  mesh: 'MeshShape | None' = None
  parallel: Literal['jit', 'pmap'] = 'jit'
  address: Address = Address()
  hang_timeout: float = 120.0
  trust: bool = False
  say: Callable[[str], None] | None = None

  @contextlib.contextmanager
  def joined(self, *, alone: str = '') -> 'Iterator[ProcessGroup]':
    """Joins the processes of the run; see `processes.joined`.

    Args:
      alone: name of the mode, if that runs in one process.

    Raises:
      UserError: also if it does, and there are several.
    """
    from bigmodels.distributed import processes

    def check(count):
      if alone and count > 1:
        raise UserError(f'--mode={alone} runs in one process, got {count}')

    check(self.address.num_processes or 1)  # before it waits for the others
    # All processes see the workdir, or its parent.
    with processes.joined(self.address, self.hang_timeout,
                          shared=self.workdir or 'runs', say=self.say) as group:
      check(group.count)
      yield group

  def agree(self, group: 'ProcessGroup', config_text: str, code: str) -> None:
    """Checks that all processes of a run have the same command line.

    Args:
      group: the processes.
      config_text: config of the experiment as text.
      code: digest of its code.

    Raises:
      UserError: in all processes, if they differ.
    """
    group.agree('the command', '--workdir' if self.workdir else 'no --workdir')
    group.agree('the experiment', config_text)
    group.agree('the code of the experiment', code)
    group.agree('the mesh', f"{self.mesh or 'as in the experiment'} ({self.parallel})")

  def described(self) -> 'DataContext':
    """A context in which data is described, but not read.

    Whatever the run in the workdir has fitted, such as a tokenizer, is reused.

    Raises:
      UserError: if the workdir cannot be read.
    """
    from bigmodels.data.sources import DataContext, in_lines
    from bigmodels.storage.stored_data import StoredData
    from bigmodels.storage.workdir import Workdir

    stored = (Workdir(self.workdir).stored_data() if self.workdir
              else StoredData(None, {}))
    kept = {name: value for name, value in stored.kept.items()
            if name != 'train' and not name.startswith('identity')}
    say = functools.cache(in_lines(functools.partial(print, flush=True)))  # once each

    def open_run(path):
      from bigmodels.training import opening  # slow to import, and rarely needed

      return opening.load(path, cache_dir=self.cache_dir, trust=self.trust, say=say)

    return DataContext(
      self.data_dir or stored.data_dir, self.cache_dir, kept, say, open_run,
      shapes_only=True, trust=self.trust)

  def layout(self, experiment: 'Experiment', devices: list | None = None
             ) -> 'Layout':
    """The layout of arrays over devices.

    Args:
      experiment: its mesh is used unless `--mesh` is given.
      devices: None for the devices of this process.

    Raises:
      UserError: if the mesh does not fit them.
    """
    from bigmodels.parallel import layout

    return layout.make_layout(
      self.mesh or experiment.mesh, self.parallel, experiment.rules, devices)

  def recorded(self, *, with_data: bool = True
               ) -> 'tuple[Workdir, resolving.Resolved]':
    """The workdir of a run with a checkpoint, and the experiment of that run.

    Args:
      with_data: see `Workdir.recorded`.

    Raises:
      UserError: if no workdir is given, there is no checkpoint, or the command line
        names another experiment.
    """
    from bigmodels.storage.workdir import Workdir

    if self.workdir is None:
      raise UserError('set the --workdir of a run')
    workdir = Workdir(self.workdir)
    resolved = workdir.recorded({}, trusted=self.trust, with_data=with_data)
    if self.experiment or self.overrides:
      workdir.claim(self.resolve())
    workdir.check_single()
    if not any(workdir.checkpoints.glob('*')):
      raise UserError(f'--workdir={workdir.path}: there is no checkpoint')
    return workdir, resolved

  def matching(self, given: list[str], flag: str
               ) -> tuple[list[pathlib.Path], list[str]]:
    """Finds new files; see `files.matching`.

    Args:
      given: paths and patterns.
      flag: for errors, such as `--input`.

    Returns:
      The files and folders, and lines on what was skipped.

    Raises:
      UserError: if nothing is at a path, or matches a pattern.
    """
    broken: list[str] = []
    found = files.matching(given, self.data_dir, flag, broken)
    return found, [f'skipped: links to nothing: {listed(broken)}'] if broken else []

  def reading(self) -> 'tuple[Request, dict[str, str | None]]':
    """Splits off the overrides that say how new files are written.

    Returns:
      This request without them; and setting -> value, see `Run.examples`.
    """
    from bigmodels.data.tables.csv_dialects import SETTINGS

    found = {name: None if text == 'None' else text
             for name, text in self.overrides.items() if name in SETTINGS}
    return self._replace(overrides={
      name: text for name, text in self.overrides.items() if name not in found}), found

  @contextlib.contextmanager
  def opened(self, workdir: 'Workdir | None', resolved: 'resolving.Resolved', *,
             alone: str = '', with_data: bool = False
             ) -> 'Iterator[tuple[ProcessGroup, Run]]':
    """Joins the processes, and opens a run at its best checkpoint.

    Args:
      workdir: of the run; None for an experiment with the parameters of `init_from`.
      resolved: the experiment.
      alone: see `joined`.
      with_data: whether to open its data now.

    Raises:
      UserError: if the processes differ, or the run cannot be opened.
    """
    from bigmodels.hardware import devices
    from bigmodels.training import opening

    with self.joined(alone=alone) as group:
      if workdir is not None and group.count > 1:
        self.agree(group, files.read_text(workdir.config), resolved.source.digest)
        # Compares the file, not its text, which may be the same in two runs.
        group.agree('the workdir', str(workdir.config.stat().st_mtime_ns))
        group.announce()
      for note in resolved.notes:
        group.say(note)
      group.say(f'device: {devices.require_backend(self.require_backend)}')
      access = opening.Access(self.data_dir, self.cache_dir, self.trust, group.say)
      layout = self.layout(resolved.experiment)
      run = opening.initialized(resolved, layout, access) if workdir is None else (
        opening.open_run(workdir, layout, access, with_data=with_data,
                         resolved=resolved))
      try:
        yield group, run
      finally:
        run.built.close()

  def resolve(self) -> 'resolving.Resolved':
    """The experiment with all overrides.

    Code that the user names is trusted on this machine from now on; see `trust`.

    Raises:
      UserError: if neither the command line nor the workdir names an experiment, or it
        cannot be resolved.
    """
    from bigmodels.config import config_file, resolving
    from bigmodels.storage.workdir import Workdir

    if self.experiment is None:
      if self.workdir is None:
        names = ', '.join(resolving.summaries())
        raise UserError(
          'name an --experiment, or a --workdir to resume; there is ' + names)
      return Workdir(self.workdir).recorded(self.overrides, trusted=self.trust)
    if isinstance(self.experiment, resolving.Resolved):
      found = resolving.edit(self.experiment, self.overrides,
                             resolving.typed_names(self.experiment.source))
      config_file.remember(found, all_lines=True)
      return found
    if self.experiment.endswith('.txt'):
      path = paths.checked(self.experiment, '--experiment')
      if not path.is_file():
        raise UserError(f'--experiment: there is no file {path}')
      copy = path.parent / 'source'
      return config_file.from_file(path, self.overrides, trusted=self.trust,
                                   copy=copy if os.path.isdir(copy) else None)
    resolved = resolving.resolve(self.experiment, self.overrides)
    # A text that begins with a letter or contains a colon may name other code.
    names = any(v[:1].isalpha() or ':' in v for v in self.overrides.values())
    config_file.remember(resolved, all_lines=names)
    return resolved
