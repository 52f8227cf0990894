"""Experiment trackers: one file for each, chosen by `--track`.

A tracker is a module with four functions, in this folder or in any `.py` file:

    start(about, id) -> Opened     opens run `id`; a new one if that is None or gone
    log(opened, records)           sends (step, name -> number), in order of steps
    discard(opened)                the run there is not what the log says now
    finish(opened, status, result, report)    ends the run

and, if it needs a library, `PACKAGE`, the name by which that is imported. The functions
may raise anything and take any time: they run in a process of their own, see
`logs.sender`.
"""

import pathlib
from typing import Any, NamedTuple


class About(NamedTuple):
  """What a tracker is given about a run.

  Attributes:
    workdir: of the run.
    project: name of the project, unless the tracker's own variable names another.
    name: of the run: the name of its workdir.
    config: path -> number, bool or text, as in `config.txt`.
    versions: of what results depend on; that of bigmodels ends in `+COMMIT`.
  """

  workdir: pathlib.Path
  project: str
  name: str
  config: dict[str, Any]
  versions: dict[str, str]


class Opened(NamedTuple):
  """A run in a tracker.

  Attributes:
    run: of the tracker's library.
    id: with which `start` opens it again.
    where: its URL or path, for people.
    step: the last step that the tracker has, -1 for none; None if it cannot tell.
  """

  run: Any
  id: str
  where: str
  step: int | None
