"""--mode=export: writes the weights of a run for other programs."""

import importlib
import pathlib

from bigmodels import export
from bigmodels.cli.request import Request
from bigmodels.core import files, paths
from bigmodels.core.errors import UserError, nearest

FORMATS = sorted(path.stem for path in pathlib.Path(
  export.__file__).parent.glob('[!_]*.py'))


def run(request: Request, *, to: str = 'safetensors', output: str | None = None,
        dtype: str = 'float32', shard_gb: float = 5.0) -> None:
  """Writes the parameters of the best checkpoint to a folder, and reads them back.

  Args:
    request: the flags of every mode.
    to: safetensors, which transformers loads where it has the model.
    output: the folder to write, which must be new or empty.
    dtype: float32, bfloat16 or float16.
    shard_gb: maximum size of a file of weights, in GB.

  Raises:
    UserError: for a wrong flag, or a run that cannot be opened or written so.
  """
  if output is None:
    raise UserError('--mode=export: set the --output folder')
  if to not in FORMATS:
    raise UserError(f'--to={to}: no such format{nearest(to, FORMATS)}')
  dtypes = ('float32', 'bfloat16', 'float16')
  if dtype not in dtypes:
    raise UserError(f'--dtype={dtype}: no such type{nearest(dtype, dtypes)}')
  if not 0 < shard_gb < 1e6:
    raise UserError(f'--shard_gb={shard_gb}: must be > 0 and finite')
  folder = paths.output(output, ())
  workdir, resolved = request.recorded()
  with (files.new_folder(folder, '--output') as scratch,
        request.opened(workdir, resolved, alone='export') as (group, opened)):
    importlib.import_module(f'bigmodels.export.{to}').write(
      opened, scratch, dtype=dtype, shard_bytes=int(shard_gb * 1e9), say=group.say)
  print(f'exported to {folder}', flush=True)
