"""Tests of bigmodels.data.texts.documents: what is read, skipped, and refused."""

import pytest

from bigmodels.core.errors import UserError
from bigmodels.data.sources import DataContext
from bigmodels.data.texts import StandardLibrary, TextFiles, TfdsText, documents
from tests.data.texts.written import write

HERE = DataContext(None, None, {})


def test_the_standard_library_is_split_by_file():
  parts = {s: StandardLibrary().read(s, HERE) for s in ('train', 'validation')}
  again = StandardLibrary().read('validation', HERE)
  assert again == parts['validation']
  counts = {name: len(part.texts) for name, part in parts.items()}
  fraction = counts['validation'] / sum(counts.values())
  assert 0.05 < fraction < 0.15
  assert not set(parts['train'].texts) & set(parts['validation'].texts)
  every = parts['train'].texts + parts['validation'].texts
  assert any('class JSONDecoder' in text for text in every)
  assert not any('class TestCase(unittest.TestCase)' in text for text in every)
  assert sum(map(len, every)) > 5_000_000
  with pytest.raises(UserError, match="no split 'test'"):
    StandardLibrary().read('test', HERE)


def test_which_files_are_held_out_never_changes():
  names = [f'file{i}.txt' for i in range(30)]
  # Where the first eight digits of what `sha256sum` gives for the name, mod 10, are 0.
  assert [n for n in names if documents._validates(n)] == ['file22.txt', 'file24.txt']


def test_a_file_is_cut_by_position(tmp_path):
  root = write(tmp_path, a_txt='0123456789' * 2 + 'é')
  source = TextFiles(f'{root}/a.txt')
  assert source.read('train', HERE).texts == ['0123456789' + '01234567']
  assert source.read('validation', HERE).texts == ['89é']
  assert source.name == 'a.txt'


def test_files_of_their_own_for_validation(tmp_path):
  root = write(tmp_path, a_txt='training', b__x_txt='one', b__y_txt='two')
  source = TextFiles(f'{root}/a.txt', validation=f'{root}/b')
  assert source.read('train', HERE).texts == ['training']
  assert source.read('validation', HERE).texts == ['one', 'two']


def test_a_folder_is_split_by_file(tmp_path):
  write(tmp_path, **{f'sub__f{i}_txt': f'text {i}' for i in range(200)},
        sub__other_md='md', **{'_hidden__x_txt': 'hidden', 'g_txt': 'g'})
  source = TextFiles(str(tmp_path), pattern='**/*.txt')
  parts = [source.read(s, HERE).texts for s in ('train', 'validation')]
  assert sorted(parts[0] + parts[1]) == ['g', *sorted(f'text {i}' for i in range(200))]
  assert 5 < len(parts[1]) < 40
  assert parts[0] == source.read('train', HERE).texts


def test_what_is_skipped_or_replaced_is_noted(tmp_path):
  write(tmp_path, a_txt=b'caf\xe9', b_txt='', c_bin=b'\0\1', d_txt=b'\xef\xbb\xbfmark',
        e_txt='one\r\n\n\ntwo\n', f_txt=b'\xff\xfe')
  found = TextFiles(str(tmp_path), validation=str(tmp_path)).read('train', HERE)
  assert found.texts == ['caf\ufffd', 'mark', 'one\r\n\n\ntwo\n', '\ufffd\ufffd']
  assert found.note == ('2 files not UTF-8, so read with replacements (a.txt); 1 file '
                        'empty, so skipped; 1 file binary, so skipped')


def test_text_that_is_not_there(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=r'there is no .*/nothing.*under --data_dir'):
    TextFiles('nothing').read('train', HERE)
  write(tmp_path, empty_txt='', data__books__a_txt='0123456789')
  with pytest.raises(UserError, match=r'empty\.txt: there is no text in it'):
    TextFiles('empty.txt').read('train', HERE)
  with pytest.raises(UserError, match=r"no file matches '\*\.md'"):
    TextFiles('data', pattern='*.md').read('train', HERE)
  with pytest.raises(UserError, match=r"pattern: .* got '/x'"):
    TextFiles('data', pattern='/x').read('train', HERE)
  with pytest.raises(UserError, match=r"none of 1 files is in '(train|validation)'"):
    for split in ('train', 'validation'):
      TextFiles('data').read(split, HERE)
  context = DataContext(str(tmp_path / 'data'), None, {})
  assert TextFiles('books/a.txt').read('train', context).texts == ['012345678']
  with pytest.raises(UserError, match=r'no .*/books/b\.txt and no .*/data/books/b\.txt'
                                      r"; did you mean 'a\.txt'"):
    TextFiles('books/b.txt').read('train', context)


def test_a_path_that_is_there_becomes_absolute(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  write(tmp_path, a_txt='0123456789')
  source = TextFiles('a.txt')
  assert source.path == str(tmp_path / 'a.txt')
  monkeypatch.chdir('/')
  assert source.read('train', HERE).texts == ['012345678']


def test_tiny_shakespeare(shared_tfds):
  context = DataContext(str(shared_tfds), None, {})
  source = TfdsText('tiny_shakespeare')
  parts = {s: source.read(s, context).texts for s in ('train', 'validation', 'test')}
  assert [len(t[0]) for t in parts.values()] == [1_003_854, 55_770, 55_770]
  assert source.read('validation+test', context).texts == (
    parts['validation'] + parts['test'])
  with pytest.raises(UserError, match="no split 'tests'; did you mean 'test'"):
    source.read('tests', context)
  with pytest.raises(UserError, match="no feature 'txt'; did you mean 'text'"):
    TfdsText('tiny_shakespeare', 'txt').read('train', context)
  with pytest.raises(UserError, match="feature 'label' must be a text, got ClassLabel"):
    TfdsText('mnist', 'label').read('test[:3]', context)
  with pytest.raises(UserError, match='--mode=download'):
    TfdsText('wiki40b').read('train', context)


@pytest.mark.parametrize('make, field', [
  (TextFiles, 'path'), (lambda path: TextFiles('a', validation=path), 'validation')])
def test_no_path_is_not_the_folder_one_is_in(make, field):
  with pytest.raises(ValueError, match=f"^{field}: .* the path .*, got ''"):
    make('')
