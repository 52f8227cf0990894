"""Plug-ins that are files: those of a folder, named by their stems, or any `.py` file.

They are found, and their texts are parsed, without being imported.
"""

import ast
import pathlib

from bigmodels.core import files, paths
from bigmodels.core.errors import UserError, nearest


def names(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Name -> file of each plug-in of a folder, sorted; names with `_` are left out."""
  return {path.stem: path for path in sorted(folder.glob('[!_]*.py'))}


def file_of(value: str, known: dict[str, pathlib.Path], *, flag: str, what: str
            ) -> pathlib.Path:
  """The file of a plug-in.

  Args:
    value: a name, or the path of a `.py` file.
    known: what `names` gives.
    flag: that has the value, such as `--mode`, for the error.
    what: the plug-in is, such as 'mode'.

  Raises:
    UserError: if there is no such file.
  """
  if value in known:
    return known[value]
  if not value.endswith('.py'):
    raise UserError(f'{flag}={value}: no such {what}, nor the path of a .py file'
                    f'{nearest(value, known)}')
  path = paths.checked(str(paths.resolved(value, flag)), flag)
  if not path.is_file():
    raise UserError(f'{flag}={value}: there is no file {path}')
  return path


def body_of(path: pathlib.Path) -> list[ast.stmt]:
  """The statements of a file, parsed.

  Raises:
    UserError: if it cannot be read, or is not Python; names the line.
  """
  try:
    return ast.parse(files.read(path)).body
  except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
    raise UserError(f'{path}, line {getattr(error, "lineno", None) or 1}: '
                    f'{type(error).__name__}: {getattr(error, "msg", error)}') from None


def function_of(path: pathlib.Path, name: str) -> ast.FunctionDef | None:
  """The function of a name that a file defines; of several, the last, which counts."""
  return next((node for node in reversed(body_of(path)) if isinstance(
    node, ast.FunctionDef) and node.name == name), None)
