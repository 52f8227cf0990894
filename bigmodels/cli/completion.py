"""Completion of command lines by bash and zsh: `run.py --completion=bash`.

The command of an installation, `bigmodels`, is completed in the same way. The shell
asks `run.py --complete LINE`, which answers from the text of files, without JAX.
"""

import contextlib
import pathlib
import re
import shlex
import sys

from bigmodels.cli import options
from bigmodels.core import config_text, experiment_files, files, paths
from bigmodels.core.errors import UserError

_SCRIPT = """\
# To install: eval "$(COMMAND --completion=SHELL)"
_bigmodels() {
  case $COMP_LINE in *run.py*|*bigmodels\\ *) ;; *) return ;; esac
  local IFS=$'\\n'
  COMPREPLY=($(PROGRAM --complete "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null))
  case ${COMPREPLY[0]} in *=|*.) compopt -o nospace 2>/dev/null ;; esac
}
complete -o default -F _bigmodels python python3 run.py ./run.py bigmodels
"""


def script(shell: str) -> str:
  """The lines that a shell evaluates.

  Args:
    shell: 'bash' or 'zsh'.
  """
  program = ['-c', 'from bigmodels.cli.startup import main; main()'] if (
    paths.CHECKOUT is None) else [str(paths.CHECKOUT / 'run.py')]
  command = 'bigmodels' if paths.CHECKOUT is None else 'python run.py'
  text = _SCRIPT.replace('COMMAND', command).replace('SHELL', shell).replace(
    'PROGRAM', shlex.join([sys.executable, *program]))
  zsh = 'autoload -U bashcompinit && bashcompinit\n'
  return text if shell == 'bash' else zsh + text


def answers(line: str) -> list[str]:
  """What may stand in place of the last word of a line.

  The shells take `=` for the end of a word, so that values are without their flag.

  Args:
    line: of the command, up to the cursor.
  """
  *before, word = re.split(r'\s+', line)
  given = {}
  for each in before:
    name, equals, value = each.partition('=')
    if equals:
      given[name.lstrip('-')] = value
  name, equals, start = word.partition('=')
  if equals:
    return [value for value in _values(name.lstrip('-')) if value.startswith(start)]
  if word.startswith('--config.'):
    found = [f'--config.{path}=' for path in _paths(given)]
  else:
    found = [f'--{flag}=' for flag in _flags(given.get('mode', 'train'))]
    found += ['--config.', '--list', '--help', '--trust']
  return sorted({each for each in found if each.startswith(word)})


def _values(flag: str) -> list[str]:
  if flag == 'experiment':
    return [*experiment_files.files()]
  if flag == 'mode':
    return [*options.MODES]
  known = {each.name: each for each in options.flags_of_every_mode()}
  return list(getattr(getattr(known.get(flag), 'parser', None), 'enum_values', ()))


def _flags(mode: str) -> list[str]:
  own = []
  with contextlib.suppress(UserError):
    own = [*options.of_mode(mode)]
  return own + [flag.name for flag in options.flags_of_every_mode() if not flag.boolean]


def _paths(given: dict[str, str]) -> list[str]:
  """Knobs and fields of the experiment; all paths if there is a `config.txt`."""
  experiment = given.get('experiment', '')
  text = experiment if experiment.endswith('.txt') else (
    f'{given["workdir"]}/config.txt' if 'workdir' in given and not experiment else '')
  with contextlib.suppress(UserError, OSError):
    values = config_text.read(files.read_text(pathlib.Path(text))) if text else {}
    if values:
      return [path.removeprefix('knob.') for path in values if path != 'experiment']
  described = experiment_files.describe(experiment_files.named(experiment))
  return [*(knob.name for knob in described.knobs), *experiment_files.fields()]
