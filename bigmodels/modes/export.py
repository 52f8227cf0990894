"""--mode=export: writes the weights of a run for other programs."""

import dataclasses
import importlib
import pathlib
from types import ModuleType

from bigmodels import export
from bigmodels.cli.request import Request
from bigmodels.config import execution
from bigmodels.core import files, paths, plugin_files
from bigmodels.core.errors import UserError, nearest
from bigmodels.techniques import averages

FORMATS = plugin_files.names(pathlib.Path(export.__file__).parent)


def run(request: Request, *, to: str = 'safetensors', output: str | None = None,
        dtype: str = 'float32', shard_gb: float = 5.0) -> None:
  """Writes the parameters of the best checkpoint to a folder, and reads them back.

  Args:
    request: the flags of every mode.
    to: safetensors, which transformers loads where it has the model; or the path of a
      .py file with a function write.
    output: the folder to write, which must be new or empty.
    dtype: float32, bfloat16 or float16.
    shard_gb: maximum size of a file of weights, in GB.

  Raises:
    UserError: for a wrong flag, or a run that cannot be opened or written so.
  """
  if output is None:
    raise UserError('--mode=export: set the --output folder')
  path = plugin_files.file_of(to, FORMATS, flag='--to', what='format')
  if plugin_files.function_of(path, 'write') is None:
    raise UserError(f'--to={to}: a format defines write(run, folder, *, dtype, '
                    'shard_bytes, say)')
  dtypes = ('float32', 'bfloat16', 'float16')
  if dtype not in dtypes:
    raise UserError(f'--dtype={dtype}: no such type{nearest(dtype, dtypes)}')
  if not 0 < shard_gb < 1e6:
    raise UserError(f'--shard_gb={shard_gb}: must be > 0 and finite')
  folder = paths.output(output, ())
  workdir, resolved = request.recorded()
  with (files.new_folder(folder, '--output') as scratch,
        request.opened(workdir, resolved, alone='export') as (group, opened)):
    averaged = dataclasses.replace(opened, state=averages.evaluated(opened.state))
    _format(to, path).write(
      averaged, scratch, dtype=dtype, shard_bytes=int(shard_gb * 1e9), say=group.say)
  print(f'exported to {folder}', flush=True)


def _format(name: str, path: pathlib.Path) -> ModuleType:
  if name in FORMATS:
    return importlib.import_module(f'bigmodels.export.{name}')
  return execution.of_file(path, package='export')
