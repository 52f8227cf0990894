"""Docstrings of what is public name its errors, parameters, fields and shapes."""

import ast
import pathlib
import re
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
ARRAYS = re.compile(r'\b(jax\.Array|np\.ndarray|jnp\.ndarray)\b')
SHAPES = re.compile(r'`[^`]*\[[^`]*\][^`]*`|any shape|\bscalars?\b')
ERRORS = re.compile(r'^Raises:|\bRaises (an? )?`?[A-Z]', re.MULTILINE)
RECORDS = re.compile(r'NamedTuple|dataclass|nn\.Module')
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _raises(node: ast.AST, caught: frozenset = frozenset()) -> bool:
  """Whether a statement raises a new error, not in a nested function or caught."""
  if isinstance(node, SCOPES):
    return False
  if isinstance(node, ast.Raise) and node.exc is not None:
    text = ast.unparse(node.exc)
    known = {*caught, 'NotImplementedError'}
    return ('(' in text or text[0].isupper()) and text.partition('(')[0] not in known
  body, inner = [], caught
  if isinstance(node, ast.Try):
    types = ' '.join(ast.unparse(h.type) for h in node.handlers if h.type)
    body, inner = node.body, caught | set(re.findall(r'\w+', types))
  return any(_raises(child, inner if child in body else caught)
             for child in ast.iter_child_nodes(node))


def _names(docstring: str, sections: str) -> set[str]:
  """Names that sections such as `Args:` describe, without stars."""
  pattern = rf'^(?:{sections}):\n((?: .*\n|\n)*)'
  text = ''.join(re.findall(pattern, docstring + '\n', re.MULTILINE))
  lines = re.findall(r'^  ([\w*][\w*, ]*):', text, re.MULTILINE)
  return {name.strip(' *') for names in lines for name in names.split(',')}


def _of_function(function) -> list[str]:
  """What the docstring of a function lacks."""
  docstring = ast.get_docstring(function) or ''
  if re.match(r'See `[\w.]+`\.$', docstring):  # overrides it
    return []
  lacks, a = [], function.args
  if any(map(_raises, function.body)) and not ERRORS.search(docstring):
    lacks.append('Raises')
  parameters = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
  parameters = [p for p in parameters if p and p.arg not in ('self', 'cls')]
  missing = [p.arg for p in parameters if p.arg not in _names(docstring, 'Args')]
  if len(parameters) >= 3 and missing:
    lacks.append(f'Args ({", ".join(missing)})')
  hints = [*(p.annotation for p in parameters), function.returns]
  arrays = any(hint and ARRAYS.search(ast.unparse(hint)) for hint in hints)
  if arrays and not SHAPES.search(docstring):
    lacks.append('shapes')
  return lacks


def _of_class(record: ast.ClassDef) -> list[str]:
  """What the docstring of a NamedTuple, dataclass or module of >= 3 fields lacks."""
  kinds = [ast.unparse(node) for node in (*record.bases, *record.decorator_list)]
  fields = [node.target.id for node in record.body
            if isinstance(node, ast.AnnAssign) and not node.target.id.startswith('_')]
  if len(fields) < 3 or not any(map(RECORDS.search, kinds)):
    return []
  documented = _names(ast.get_docstring(record) or '', 'Attributes')
  missing = [name for name in fields if name not in documented]
  return [f'Attributes ({", ".join(missing)})'] if missing else []


def violations(scope: ast.AST, prefix: str) -> list[str]:
  """`PREFIX:line name: lacks ...` for what is public in a module or class."""
  found = []
  for node in scope.body:
    if isinstance(node, SCOPES) and re.match('[^_]|__call__', node.name):
      is_class = isinstance(node, ast.ClassDef)
      found += [f'{prefix}:{node.lineno} {node.name}: lacks {what}'
                for what in (_of_class if is_class else _of_function)(node)]
      found += violations(node, prefix) if is_class else []
  return found


def test_the_check_finds_what_lacks():
  text = textwrap.dedent('''
    class Sums(NamedTuple):
      """Sums.

      Attributes:
        x, y: scalars.
      """
      x: int
      y: int
      z: int

      def add(self, x: jax.Array, y, *args):
        """Adds.

        Args:
          x, y: numbers.
        """
        raise ValueError('x')

    def add(x: jax.Array, y):
      """Adds two `[batch]`. Raises ValueError if `x` is empty."""
      raise ValueError('x')

    def catch():
      try:
        raise ValueError('x')
      except ValueError:
        return None
    ''')
  assert violations(ast.parse(text), 'a.py') == [
    'a.py:2 Sums: lacks Attributes (z)', 'a.py:12 add: lacks Raises',
    'a.py:12 add: lacks Args (args)', 'a.py:12 add: lacks shapes']


def test_public_docstrings_are_complete():
  found = []
  for path in sorted((ROOT / 'bigmodels').rglob('*.py')):
    file = path.relative_to(ROOT).as_posix()
    if not re.search('/_(?!_init__)', file):
      found += violations(ast.parse(path.read_text()), file)
  assert not found, '\n'.join(found)
