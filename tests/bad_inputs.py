"""Bad input to run.py, as a table: each is refused in one line, with exit code 2."""

import contextlib
import io
import json
import pathlib
from typing import NamedTuple


class Bad(NamedTuple):
  """One bad input.

  Attributes:
    name: what is wrong.
    flags: of run.py; `HERE` stands for the folder of the files.
    files: name -> what is in it.
  """

  name: str
  flags: tuple[str, ...]
  files: dict[str, str | bytes] = {}


def _rows(*rows: str) -> str:
  return '\n'.join(['x,y', *rows]) + '\n'


GOOD = _rows(*(f'{i},{"ab"[i % 2]}' for i in range(40)))


def _table(name: str, content: str | bytes, *flags: str, label: str = 'y') -> Bad:
  return Bad(f'table: {name}', (
    '--experiment=tabular_mlp', '--config.path=HERE/t.csv', f'--config.label={label}',
    '--workdir=HERE/run', '--config.epochs=1', *flags), {'t.csv': content})


def _digits(name: str, *flags: str) -> Bad:
  given = (flag if flag.startswith('-') else f'--config.{flag}' for flag in flags)
  return Bad(f'flags: {name}',
             ('--experiment=digits_cnn', '--workdir=HERE/run', *given))


def _config(name: str, content: str | bytes, *flags: str) -> Bad:
  return Bad(f'config: {name}',
             ('--experiment=HERE/config.txt', '--mode=print', *flags),
             {'config.txt': content})


def _fork(name: str, content: str | bytes, *flags: str) -> Bad:
  return Bad(f'fork: {name}', ('--experiment=HERE/fork.py', '--mode=print', *flags),
             {'fork.py': content})


def _run(name: str, files: dict[str, str | bytes], *flags: str) -> Bad:
  return Bad(f'run: {name}', ('--workdir=HERE/run', *flags),
             {f'run/{path}': content for path, content in files.items()})


TABLES = [
  _table('empty', ''), _table('a header alone', 'x,y\n'),
  _table('blank lines', '\n\n \n'), _table('one row', _rows('1,a')),
  _table('one class', _rows(*('1,a',) * 20)),
  _table('a class for each row', _rows(*(f'1,{i}a' for i in range(40)))),
  _table('no such label', GOOD, label='z'), _table('a label in another case', GOOD,
                                                   label='Y'),
  _table('no label in any row', _rows(*('1,',) * 20)),
  _table('two columns of a name', GOOD.replace('x,y', 'y,y')),
  _table('a short row', GOOD + '1\n'), _table('a long row', GOOD + '1,a,2\n'),
  _table('a quote that does not end', GOOD + '"1,a\n'),
  _table('a zero byte', GOOD.encode() + b'1\0,a\n'),
  _table('UTF-16 without a mark', GOOD.encode('utf-16-le')),
  _table('gzip', b'\x1f\x8b\x08' + bytes(99)), _table('zip', b'PK\x03\x04' + bytes(99)),
  _table('Excel', b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1' + bytes(99)),
  _table('a picture', b'\x89PNG\r\n\x1a\n' + bytes(99)),
  _table('HTML', '<!DOCTYPE html><html><body>404</body></html>'),
  _table('JSON', json.dumps([{'x': 1, 'y': 2}])),
  _table('a thousand or 1.25', 'x;y\n' + '1.250;a\n2.500;b\n' * 20),
  _table('text as a target', GOOD, '--config.task=regression'),
  _table('no such task', GOOD, '--config.task=clustering'),
  _table('a threshold of text', GOOD, '--config.threshold=median'),
  _table('a threshold of nan', _rows(*(f'{i},{i}' for i in range(40))),
         '--config.threshold=nan'),
  _table('a threshold above all', _rows(*(f'{i},{i}' for i in range(40))),
         '--config.threshold=100'),
  _table('a threshold of a regression', _rows(*(f'{i},{i}' for i in range(40))),
         '--config.task=regression', '--config.threshold=3'),
  _table('no such category', GOOD, '--config.categories=z'),
  _table('no such type', GOOD, '--config.types=x:float'),
  _table('the label as id', GOOD, '--config.id=y'),
  _table('no such group', GOOD, '--config.group=z'),
  _table('times that are none', GOOD, '--config.time=y', label='x'),
  _table('a column of splits that are none', GOOD, '--config.split=x'),
  _table('weights of text', _rows(*(f'{i},a' for i in range(40))),
         '--config.weight=y', label='x'),
  _table('the same file as test', GOOD, '--config.test=HERE/t.csv'),
  _table('no such way with duplicates', GOOD, '--config.duplicates=burn'),
  _table('a delimiter of two characters', GOOD, '--config.delimiter=,,'),
  _table('a delimiter that is nowhere', GOOD, '--config.delimiter=;'),
  _table('no such decimal mark', GOOD, '--config.decimal=x'),
  _table('marks that are the same', GOOD, '--config.decimal=,', '--config.thousands=,'),
  _table('no such encoding', GOOD, '--config.encoding=utf-9'),
  _table('bytes that are not of the encoding', b'x,y\n\xff,a\n',
         '--config.encoding=utf-8'),
  _table('only the label', 'y\n' + 'a\nb\n' * 20),
  _table('only constants', _rows(*('1,a', '1,b') * 20)),
  _table('only names', 'n,y\n' + ''.join(f'n{i}x,{"ab"[i % 2]}\n' for i in range(90))),
  _table('a batch that is too big', GOOD, '--config.batch_size=100'),
  _table('cleaning of one split alone', GOOD,
         '--config.train.source.clean.0=bigmodels.data.cleaning.drop_duplicates'),
  _table('splits of one split alone', GOOD,
         "--config.train.source.splits={'train': 0.8, 'validation': 0, 'test': 0.2}"),
  _table('the test split in training', GOOD, '--config.train.source.selected=test'),
  _table('no such split', GOOD, '--config.evals.test.source.selected=tset'),
  _table('a file that is not there', GOOD, '--config.path=HERE/none.csv'),
  _table('a folder', GOOD, '--config.path=HERE'),
]
FLAGS = [
  _digits('no such experiment', '--experiment=digits_cn'),
  _digits('no such knob', 'epoch=3'), _digits('a path to nowhere', 'model.depth.x=3'),
  _digits('text for a number', 'epochs=many'), _digits('nan epochs', 'epochs=nan'),
  _digits('endless', 'epochs=inf'), _digits('no epochs', 'epochs=0'),
  _digits('a negative seed', 'seed=-1'), _digits('half a seed', 'seed=0.5'),
  _digits('no batch', 'batch_size=0'), _digits('a batch too big', 'batch_size=100000'),
  _digits('other outputs', 'model.num_outputs=9'),
  _digits('no widths', 'model.widths=()'),
  _digits('text as an activation', 'model.activation=relu2'),
  _digits('an activation that is a module', 'model.activation=jax.nn'),
  _digits('a transform that is none', 'train.transforms.0=3'),
  _digits('a metric that is none', 'monitor.metric=test/acc', 'monitor.goal=max'),
  _digits('two durations', 'duration.steps=3'), _digits('no keep', 'keep=0'),
  _digits('no such precision', 'precision=float8'),
  _digits('no such mode', '--mode=trian'), _digits('no such flag', '--workdri=a'),
  _digits('no such file of a mode', '--mode=HERE/none.py'),
  _digits('a flag twice', '--workdir=HERE/a'), _digits('a mesh of words', '--mesh=big'),
  _digits('a mesh too big', '--mesh=data:64'), _digits('a mesh of 0', '--mesh=data:0'),
  _digits('another backend', '--require_backend=tpu'),
  _digits('half an address', '--num_processes=2'),
  _digits('tokens in training', '--tokens=3'),
  _digits('weights that are not there', '--init_from=HERE/none'),
  _digits('a pattern that is none', 'init_pattern=('),
]
CONFIGS = [
  _config('empty', ''), _config('no equals', 'experiment digits_cnn\n'),
  _config('no such experiment', 'experiment = digits\n'),
  _config('a line twice', 'experiment = digits_cnn\nexperiment = digits_cnn\n'),
  _config('of zeros', bytes(300)), _config('UTF-16', 'experiment = a'.encode('utf-16')),
  _config('a command', 'experiment = digits_cnn\noptimizer = posix.system\n'),
  _config('a foreign file', 'experiment = HERE/evil.py\n'),
  _config('an unknown field', 'experiment = digits_cnn\nsede = 3\n'),
  _fork('syntax', 'def config(:\n'), _fork('no config', 'x = 1\n'),
  _fork('not an experiment', 'def config():\n  return 3\n'),
  _fork('an error', 'def config():\n  return 1 / 0\n'),
  _fork('an import', 'import nothing_of_this_name\ndef config(): pass\n'),
  _fork('a knob without a default', 'def config(*, a): pass\n'),
  _fork('zero bytes', bytes(9)), _fork('not UTF-8', b'x = "\xff"\n'),
]
RUNS = [
  _run('empty', {'a': ''}), _run('a config of another kind', {'config.txt': 'a'}),
  _run('checkpoints without a config', {'checkpoints/3/x': ''}),
  _run('evaluated before it began', {'config.txt': 'experiment = digits_cnn\n'},
       '--mode=eval'),
  _run('sampled before it began', {'config.txt': 'experiment = digits_cnn\n'},
       '--mode=sample'),
  _run('data.json of a list', {'config.txt': 'experiment = digits_cnn\n',
                               'data.json': '[]'}),
]
BAD = [*TABLES, *FLAGS, *CONFIGS, *RUNS]


def answer(bad: Bad, folder: pathlib.Path, cache_dir: pathlib.Path) -> str:
  """What is wrong with the answer of run.py to a bad input; '' if nothing is.

  Args:
    bad: see there.
    folder: an empty one.
    cache_dir: of run.py.
  """
  from absl import flags

  from bigmodels.cli import command

  for name, content in bad.files.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else (
      content.replace('HERE', str(folder)).encode()))
  argv = ['run.py', f'--cache_dir={cache_dir}',
          *(flag.replace('HERE', str(folder)) for flag in bad.flags)]
  before, out, err = flags.FLAGS.is_parsed(), io.StringIO(), io.StringIO()
  flags.FLAGS.unparse_flags()
  code = 0
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    try:
      command.start(argv)
    except SystemExit as end:
      code = end.code
    except BaseException as error:
      code = f'{type(error).__name__}: {error}'
    finally:
      for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
      flags.FLAGS.unparse_flags()
      if before:
        flags.FLAGS.mark_as_parsed()
  lines = err.getvalue().splitlines()
  if code == 2 and len(lines) == 1 and lines[0].startswith('error: '):
    return ''
  return f'exit {code}: {err.getvalue()[-500:] or out.getvalue()[-200:]}'
