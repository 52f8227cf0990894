"""--mode=download: fetches and prepares what an experiment reads from TFDS."""

from bigmodels.data import Tfds
from bigmodels.data.sources import Opening
from bigmodels.request import Request


def run(request: Request) -> None:
  experiment = request.resolve().experiment
  sources = [b.source for b in (experiment.train, *experiment.evals.values())]
  wanted = {s.name: s for s in sources if isinstance(s, Tfds)}
  if not wanted:
    print('nothing to download: this experiment reads no TFDS dataset')
  opening = Opening(request.data_dir, request.cache_dir, {})
  for name, source in wanted.items():
    print(f'{name} is in {source.download(opening)}')
