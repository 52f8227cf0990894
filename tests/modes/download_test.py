"""Tests of --mode=download: what of an experiment is fetched, and how often."""

import functools
import http.server
import threading

import pytest

from bigmodels.core.errors import UserError
from bigmodels.modes import download

EXPERIMENT = '''
from functools import partial
import optax
from bigmodels import data, models, tasks
from bigmodels.data import texts, tokenizers
from bigmodels.config import Duration, Experiment

def config():
  files = {{'dev.csv': 'dev', 'train.csv': 'train'}}
  documents = texts.LabelledTexts(
    'films', urls={{k: f'{address}/{{v}}.csv' for k, v in files.items()}})
  source = data.Sentences(documents, tokenizers.Words(9), 4)
  return Experiment(
    model=models.Mlp(num_outputs=2), task=tasks.classification,
    optimizer=partial(optax.sgd, 1.0),
    train=data.Batches(source=source.split('train'), batch_size=1),
    evals={{'validation': data.Batches(source=source.split('validation'),
                                       batch_size=1)}},
    duration=Duration(steps=1))
'''


@pytest.fixture
def address(tmp_path):
  """Of a server of the files in `tmp_path / 'served'`."""
  (tmp_path / 'served').mkdir()
  (tmp_path / 'served' / 'train.csv').write_text('text,label\na,0\nb,1\n')

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
      pass

  handler = functools.partial(Handler, directory=tmp_path / 'served')
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{running.server_port}'
    running.shutdown()


def test_what_an_experiment_reads_is_fetched(address, request_for, tmp_path, capsys):
  path, data_dir = tmp_path / 'films.py', tmp_path / 'data'
  path.write_text(EXPERIMENT.format(address=address))
  with pytest.raises(UserError, match=rf'could not download {address}/dev\.csv'):
    download.run(request_for(path, data_dir=data_dir))
  (tmp_path / 'served' / 'dev.csv').write_text('text,label\nc,0\n')
  download.run(request_for(path, data_dir=data_dir))
  assert capsys.readouterr().out == f'films is in {data_dir / "films"}\n'  # once
  assert (data_dir / 'films' / 'dev.csv').read_text() == 'text,label\nc,0\n'
  assert (data_dir / 'films' / 'train.csv').read_text().count('\n') == 3


def test_splits_of_one_dataset_are_one(request_for, tmp_path, monkeypatch, capsys):
  from bigmodels.data import Tfds

  monkeypatch.setattr(Tfds, 'download', lambda self, context: context.data_dir)
  download.run(request_for('mnist_cnn', data_dir=tmp_path))
  assert capsys.readouterr().out == f'mnist is in {tmp_path}\n'


def test_nothing_to_fetch(request_for, tiny, capsys):
  download.run(request_for(tiny))
  assert 'nothing to download' in capsys.readouterr().out
