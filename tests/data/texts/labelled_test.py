"""Tests of bigmodels.data.texts.labelled."""

import csv
import dataclasses
import gzip
import io
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import LabelledTexts, label_first, sst2
from tests.data.texts.written import write

HERE = DataContext(None, None, {})
SPLITS = ('train', 'validation', 'test')
TRAIN = {'train': 'train.csv'}


def test_labelled_texts(tmp_path):
  root = write(tmp_path, train_csv='id,label,text\n1,x,"a, ""b""\nc"\n\n2,y, NA \n')
  found = LabelledTexts(root, TRAIN).read('train', HERE)
  assert found.texts == ['a, "b"\nc', ' NA '] and found.labels == ['x', 'y']
  assert found.location(1).endswith('train.csv, line 5')


@pytest.mark.parametrize('text, message', [
  ('', 'the file is empty'),
  ('txt,label\na,1\n', "no column 'text'; did you mean 'txt'"),
  ('text,label,text\na,1,b\n', "several columns are called 'text'"),
  ('text,label\n', 'the file has a header and no rows'),
  ('text,label\na,1\nb\n', 'line 3 has 1 values, the header has 2'),
  ('text,label\na,1\n ,0\n', "line 3, column 'text': is empty"),
  ('text,label\na,1\nb,\n', "line 3, column 'label': is empty"),
  ('text,label\na,1\n"b,1\n', 'line 3: '),
])
def test_labelled_texts_that_are_none(tmp_path, text, message):
  with pytest.raises(UserError, match=r'train\.csv: ' + message):
    LabelledTexts(write(tmp_path, train_csv=text), TRAIN).read('train', HERE)


def test_a_folder_is_no_csv_file(tmp_path):
  (tmp_path / 'train.csv').mkdir()
  with pytest.raises(UserError, match=r'train\.csv: is a folder; must be a file'):
    LabelledTexts(str(tmp_path), TRAIN).read('train', HERE)


def test_no_path_is_not_the_folder_one_is_in():
  with pytest.raises(ValueError, match=r"^path: .* the path .*, got ''"):
    LabelledTexts('')


def test_real_data_is_as_its_readme_says(shared_tfds):
  shared = shared_tfds.parent / 'data'
  if not shared.is_dir():
    pytest.skip('the real data of ../shared/data is not here')
  context = DataContext(str(shared), None, {})
  splits = ('train', 'validation', 'test')
  labelled = sst2()
  assert [len(labelled.read(s, context).texts) for s in splits] == [6920, 872, 1821]
  # What is converted is written as these files are.
  with open(shared / 'sst2' / 'dev.csv', newline='') as file:
    lines = ''.join(f'{row["label"]} {row["text"]}\n' for row in csv.DictReader(file))
  assert label_first(lines) == (shared / 'sst2' / 'dev.csv').read_text()


# --- files that are split ---------------------------------------------------------

ROWS = [(f'text {i}, "NA" ', 'good' if i % 4 else 'bad', SPLITS[min(i // 40, 2)])
        for i in range(100)]


def written_as(folder, ending, rows=ROWS, name='reviews'):
  names = ('review', 'stars', 'set')
  path = folder / f'{name}.{ending}'
  table = pa.table([pa.array(c) for c in zip(*rows, strict=True)], names=names)
  if ending == 'parquet':
    parquet.write_table(table, path)
  elif ending == 'jsonl':
    path.write_text('\n'.join(json.dumps(row) for row in table.to_pylist()))
  else:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=';' if ending == 'tsv' else ',')
    writer.writerows([names, *rows])
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if ending.endswith('gz') else data)
  return str(path)


@pytest.mark.parametrize('ending', ['csv', 'tsv', 'csv.gz', 'jsonl', 'parquet'])
def test_a_file_is_split_with_the_fraction_of_each_label(tmp_path, ending):
  source = LabelledTexts(written_as(tmp_path, ending), text='review', label='stars')
  found = {name: source.read(name, HERE) for name in SPLITS}
  assert [len(f.texts) for f in found.values()] == [80, 10, 10]
  texts = [t for f in found.values() for t in f.texts]
  assert sorted(texts) == sorted(text for text, *_ in ROWS)
  for part in found.values():
    assert abs(part.labels.count('bad') - len(part.labels) / 4) <= 1
  assert 'stratified by stars' in found['train'].note
  index = found['test'].texts[3].split()[1].rstrip(',')
  assert f', line {int(index) + 1 + ("csv" in ending or ending == "tsv")}' in (
    found['test'].location(3))


def test_equal_texts_are_in_one_split(tmp_path):
  rows = [(f'text {i // 3}', 'ab'[i // 3 % 2], 'train') for i in range(90)]
  source = LabelledTexts(written_as(tmp_path, 'csv', rows), text='review',
                         label='stars')
  found = {name: {*source.read(name, HERE).texts} for name in SPLITS}
  assert sum(map(len, found.values())) == len(set.union(*found.values())) == 30
  assert '60 of 90 texts equal an earlier one and are in the same split' in (
    source.read('train', HERE).note)
  dropped = dataclasses.replace(source, duplicates='drop')
  assert sum(len(dropped.read(name, HERE).texts) for name in SPLITS) == 30


def test_a_column_names_the_splits(tmp_path):
  path = written_as(tmp_path, 'csv', [*ROWS, (*ROWS[0][:2], 'test')])
  source = LabelledTexts(path, text='review', label='stars', splits='set')
  with pytest.raises(UserError, match='1 of 21 texts of test equal one of an earlier'):
    source.read('train', HERE)
  source = dataclasses.replace(source, duplicates='keep')
  assert [len(source.read(name, HERE).texts) for name in SPLITS] == [40, 40, 21]
  with pytest.raises(UserError, match="no split 'tets'; did you mean 'test'"):
    source.read('tets', HERE)


def test_other_names_of_splits_in_a_column(tmp_path):
  rows = [(f'text {i}', 'ab'[i % 2], ('train', 'val', 'test')[i % 3])
          for i in range(90)]
  source = LabelledTexts(written_as(tmp_path, 'csv', rows), text='review',
                         label='stars', splits='set')
  found = source.read('validation', HERE)
  assert len(found.texts) == 30
  assert found.note.endswith(
    "by the column set; in the column 'set', val is the split validation")


def test_several_files_of_any_kind(tmp_path):
  paths = (written_as(tmp_path, 'csv', ROWS[:50]), written_as(
    tmp_path, 'jsonl', ROWS[50:], 'more'))
  source = LabelledTexts(paths, text='review', label='stars')
  assert sum(len(source.read(name, HERE).texts) for name in SPLITS) == 100
  pattern = LabelledTexts(str(tmp_path / '*s*'), text='review', label='stars')
  assert len(pattern.read('train', HERE).texts) == 80


@pytest.mark.parametrize('settings, problem', [
  ({'label': 'stras'}, "no column 'stras'; did you mean 'stars'"),
  ({'label': 'review'}, "label: 'review' is the text"),
  ({'splits': 'st'}, "no column 'st'; "), ({'delimiter': ';'}, "no column 'review'"),
  ({'encoding': 'utf-16'}, 'is not utf-16|is not a text file'),
  ({'path': '.'}, 'is a folder; .* names= says which of its files is which split'),
  ({'path': '*.txt'}, 'no file matches'),
  ({'duplicates': 'burn'}, 'must be keep, drop'),
  ({'path': 'a.jsonl'}, "line 1, column 'review': is nested"),
  ({'path': 'b.jsonl', 'delimiter': ','},
   "delimiter=',': is for CSV, and this is JSON")])
def test_settings_that_do_not_fit(tmp_path, settings, problem):
  (tmp_path / 'a.jsonl').write_text('{"review": [1], "stars": 2}\n')
  (tmp_path / 'b.jsonl').write_text('{"review": "x", "stars": 2}\n')
  path = written_as(tmp_path, 'csv')
  if 'path' in settings:
    settings = settings | {'path': str(tmp_path / settings['path'])}
  with pytest.raises(UserError, match=problem) as error:
    LabelledTexts(**{'path': path, 'text': 'review', 'label': 'stars'} | settings).read(
      'train', HERE)
  assert '\n' not in str(error.value)
