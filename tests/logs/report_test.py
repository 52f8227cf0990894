"""Tests of the report: a browser's view of the page, as far as html.parser has one."""

import base64
import html.parser
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from bigmodels import plots
from bigmodels.logs import report, values

VOID = {'meta', 'img', 'br', 'hr', 'link'}


class _Page(html.parser.HTMLParser):
  """Text, links, and tables; fails on tags that do not close."""

  def __init__(self, text):
    super().__init__()
    self.text, self.links, self.tags, self.open, self.rows = '', [], [], [], []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    if tag not in VOID:
      self.open.append(tag)
    if tag == 'tr':
      self.rows.append([])
    if tag in ('td', 'th'):
      self.rows[-1].append('')
    self.links += [v for k, v in attrs if k in ('src', 'href', 'xlink:href')]

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs)
    if tag not in VOID:
      self.open.pop()

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] in ('td', 'th'):
      self.rows[-1][-1] += data
    if 'style' not in self.open:
      self.text += data


def _write(tmp_path, **changes):
  arguments = {'title': 'digits', 'config_text': 'experiment = digits\n\nseed = 0\n',
               'records': [], 'result': {}, 'plots': {}} | changes
  path = tmp_path / 'report.html'
  report.write(path, **arguments)
  assert [p.name for p in tmp_path.iterdir()] == ['report.html']
  text = path.read_text(encoding='utf-8')
  return _Page(text), text


def _records(n=5):
  trained = [{'step': i * 10, 'train/loss': 1 / i, 'train/same': 3} for i in
             range(1, n + 1)]
  evaluated = [{'step': i * 20, 'test/loss': 1.5 / i, 'test/f1/3': i / 9,
                'valid/loss': 2 / i, 'test/f1': i / 9} for i in range(1, n // 2 + 1)]
  return trained + evaluated


RESULT = {
  'experiment': 'digits_cnn', 'status': 'finished', 'step': 2000, 'best_step': 1400,
  'metrics': {'test/loss': 0.25, 'test/accuracy': 0.975, 'valid/accuracy': 0.9,
              'test/f1': 0.5, 'test/f1/0': 1.0, 'test/f1/1': 0.0,
              'test/recall/1': 0.125},
  'train_seconds': 192.4, 'examples_per_second': 14321.7, 'compile_seconds': 4.2,
  'parameters': 23_512_345, 'device': '8 x TPU v4', 'precision': 'bfloat16',
  'mesh': 'data:8,fsdp:1,tensor:1 (jit)',
  'utilization': {'train_fraction': 0.4, 'mfu': 0.312}, 'versions': {'jax': '0.6.2'},
}


def test_the_header_says_what_the_run_was(tmp_path):
  page, _ = _write(tmp_path, result=RESULT)
  for text in ('digits', 'finished', 'digits_cnn', '2,000', '1,400', '23.5 M',
               '3 min 12 s', '4.2 s', '14,322 examples/s', '8 x TPU v4',
               '40%', '31.2%', 'data:8,fsdp:1,tensor:1 (jit)', 'bfloat16',
               'jax\xa00.6.2', '0.9750test accuracy'):
    assert text in page.text


def test_the_tables_hold_every_metric(tmp_path):
  page, _ = _write(tmp_path, result=RESULT, classes=('cat', 'dog'))
  assert page.rows == [
    ['metric', 'test', 'valid'], ['loss', '0.2500', ''], ['accuracy', '0.9750',
                                                          '0.9000'],
    ['f1', '0.5000', ''], ['class', 'f1', 'recall'], ['cat', '1.0000', ''],
    ['dog', '0.0000', '0.1250']]


def test_a_class_that_is_called_by_its_number_is_so_once(tmp_path):
  page, _ = _write(tmp_path, result=RESULT, classes=('0', '1'))
  assert [row[0] for row in page.rows][-2:] == ['0', '1']


def test_curves_one_panel_a_metric_and_none_for_classes_or_what_is_constant(tmp_path):
  page, text = _write(tmp_path, records=_records(), result={'best_step': 20})
  assert page.tags.count('figure') == 2
  assert 'best checkpoint, step 20' in page.text
  assert 'never change: same.' in page.text
  assert text.index('>loss</figcaption>') < text.index('>f1</figcaption>')


def test_at_most_eight_panels_and_the_rest_is_named(tmp_path):
  records = [{'step': s, **{f'train/m{i}': s * i for i in range(1, 13)},
              'train/loss': s} for s in (1, 2)]
  page, _ = _write(tmp_path, records=records)
  assert page.tags.count('figure') == 8
  assert 'page short: m8, m9, m10, m11, m12.' in page.text


def test_the_later_of_two_lines_of_a_step_counts():
  series, _ = report._series([{'step': s, 'train/loss': v}
                              for s, v in ((2, 5), (4, 6), (2, 1))])
  steps, values = series['loss']['train']
  assert steps == (2, 4) and values.tolist() == [1, 6]


def test_runs_are_bands_and_their_mean_is_in_the_tables(tmp_path):
  records = [{'step': 1, 'test/loss': [1.0, 3.0], 'test/same': [1, 2]},
             {'step': 2, 'test/loss': [0.5, None], 'test/same': [1, 2]},
             {'step': 3, 'test/loss': 2.0, 'test/same': [1, 2]}]
  series, _ = report._series(records)
  np.testing.assert_array_equal(
    series['loss']['test'][1], [[1, 3], [0.5, np.nan], [2, 2]])
  page, _ = _write(tmp_path, records=records, result={'metrics': {
    'test/loss': [0.5, 1.0], 'test/f1/0': [0.0, 1.0]}})
  lines = report._lines(series['loss'], {'test': '#000'})
  assert lines[0].points == {1: 2.0, 2: 0.5, 3: 2.0}
  assert lines[0].band == {1: (1.0, 3.0), 2: (0.5, 0.5), 3: (2.0, 2.0)}
  assert 'fill="' in (tmp_path / 'report.html').read_text()
  assert 'is not a number' not in page.text  # the second run has ended
  assert 'never change: same.' in page.text
  assert ['loss', '0.7500'] in page.rows and ['0', '0.5000'] in page.rows


@pytest.mark.parametrize('value', [
  [[1.0, 2.0], [3.0, 4.0]], [], [[1.0], [2.0, 3.0]], 'text', {'a': 1}])
def test_values_that_cannot_be_drawn_are_skipped(tmp_path, value):
  records = [{'step': s, 'test/odd': value, 'test/loss': 1 / s} for s in (1, 2)]
  page, _ = _write(tmp_path, records=records, result={'metrics': {
    'test/odd': value, 'test/loss': 0.5}})
  assert page.rows == [['metric', 'test'], ['loss', '0.5000']]
  assert page.tags.count('figure') == 1 and 'odd' not in page.text


@pytest.mark.parametrize(('monitor', 'expected'), [
  (None, ['test/length', 'test/return', 'valid/accuracy', 'valid/loss']),
  ('valid/return', ['test/return', 'test/length', 'valid/accuracy', 'valid/loss']),
  ('valid/loss', ['test/length', 'test/return', 'valid/accuracy', 'valid/loss'])])
def test_headlines_are_the_monitored_metric_and_the_first_ones(monitor, expected):
  metrics = ['train/loss', 'test/loss', 'test/length', 'test/f1/1', 'test/return',
             'valid/loss', 'valid/accuracy', 'other/loss']
  assert values.leading(metrics, monitor)[:4] == expected


@pytest.mark.parametrize('records', [
  [], _records()[:1], [{'step': 1}], [{'step': 1, 'train/loss': None}],
  [{'step': 1, 'train/loss': math.nan}, {'step': 2, 'train/loss': math.inf}]])
def test_short_and_broken_records(tmp_path, records):
  page, _ = _write(tmp_path, records=records, result={
    'status': 'stopped', 'metrics': {'test/loss': None, 'test/accuracy': math.nan}})
  assert 'stopped' in page.text
  assert ['loss', 'NaN'] in page.rows and ['accuracy', 'NaN'] in page.rows
  if not any(len(r) > 1 for r in records):
    assert 'Nothing was logged' in page.text


def test_steps_where_a_metric_was_not_a_number_are_named(tmp_path):
  records = [{'step': 30, 'train/loss': 1.0}, {'step': 60, 'train/loss': None},
             {'step': 90, 'train/loss': math.nan}]
  page, _ = _write(tmp_path, records=records)
  assert 'train/loss is not a number at 2 of its steps, first at step 60.' in page.text


def test_everything_is_escaped(tmp_path):
  evil = '<script>alert("&")</script>'
  outputs = {'labels': np.array([0, 1, 1]), 'predictions': np.array([0, 1, 0]),
             'probabilities': np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])}
  drawn = plots.classification(
    outputs, lambda rows: np.zeros((len(rows), 4, 4, 1)), ('ok', evil))
  page, _ = _write(
    tmp_path, title=evil, config_text=f'{evil} = {evil}\n{evil}',
    records=[{'step': s, f'{evil}/{evil}': s, f'train/{evil}': s} for s in (1, 2)],
    result={'metrics': {f'{evil}/{evil}': 1, f'{evil}/f1/1': 1}, 'status': evil,
            'experiment': evil * 2, 'device': evil, 'versions': {evil: evil}},
    plots={evil: drawn | {evil: Figure()}}, classes=('ok', evil))
  assert 'script' not in page.tags
  assert page.text.count(evil) >= 15


def test_nothing_is_fetched_from_anywhere(tmp_path):
  outputs = {'labels': np.array([0, 1]), 'predictions': np.array([1, 0]),
             'probabilities': np.array([[0.1, 0.9], [0.8, 0.2]])}
  drawn = plots.classification(outputs, lambda rows: np.zeros((2, 4, 4, 3)), None)
  page, text = _write(tmp_path, records=_records(), plots={'test': drawn})
  assert page.links
  assert all(link.startswith(('#', 'data:')) for link in page.links)
  assert not {'link', 'script', 'iframe'} & set(page.tags)
  assert 'url(http' not in text and '@import' not in text and '<!DOCTYPE' not in text


def test_ids_of_drawings_do_not_collide(tmp_path):
  figure = Figure()
  figure.subplots().plot([1, 2])
  _, text = _write(tmp_path, plots={'a': {'x': figure, 'y': figure}})
  ids = [part.split('"')[0] for part in text.split(' id="')[1:]]
  assert ids and len(ids) == len(set(ids))
  for link in text.split('href="#')[1:]:
    assert link.split('"')[0] in ids


def test_a_heavy_drawing_becomes_a_picture_on_a_white_card(tmp_path):
  figure = Figure()
  figure.subplots().scatter(*np.random.default_rng(0).uniform(size=(2, 20_000)))
  page, text = _write(tmp_path, plots={'test': {'points': figure}})
  assert 'img' in page.tags and 'class="picture"' in text
  assert len(text) < 1e6


def test_the_page_stays_small_by_leaving_plots_out(tmp_path, monkeypatch):
  monkeypatch.setattr(report, 'ALL_PLOTS', 60_000)
  noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
  figure = Figure()
  figure.subplots().imshow(noise, interpolation='none')
  page, text = _write(tmp_path, plots={key: {'noise': figure} for key in 'ab'})
  assert page.tags.count('figure') == 1
  assert 'noise is left out' in page.text
  assert len(text) < 80_000


def test_a_failure_leaves_the_report_of_before(tmp_path):
  _write(tmp_path, title='before')
  with pytest.raises(AttributeError):
    report.write(tmp_path / 'report.html', title='after', config_text=None, records=[],
                 result={}, plots={})
  assert 'before' in (tmp_path / 'report.html').read_text()
  assert [p.name for p in tmp_path.iterdir()] == ['report.html']


def test_what_cannot_be_drawn_is_named_and_the_rest_is_there(tmp_path):
  silent = plots.Table(('sound',), [(plots.Sound(np.full(9, np.nan), 8000),)])
  table = plots.Table(('text',), [('seen',)])
  page, text = _write(tmp_path, plots={'test': {
    '<Broken>': _Broken(), 'Sounds': silent, 'Texts': table}})
  assert '&lt;Broken&gt; cannot be drawn: no &lt;axes&gt;' in text
  assert 'Sounds cannot be drawn: a sound must have finite samples' in text
  assert ['seen'] in page.rows


class _Broken:
  def savefig(self, *args, **kwargs):
    raise ValueError('no <axes>')


def test_lines_about_the_data_are_a_section(tmp_path):
  lines = ['a.csv: 9 rows', '  split: train 8, test 1 rows',
           'warning: a.csv: fill_missing: <b> (3 of 9, 33%)']
  page, text = _write(tmp_path, data=lines)
  for line in lines:
    assert line.strip() in page.text
  assert '<h2>Data</h2>' in text
  assert '<strong>warning: a.csv: fill_missing: &lt;b&gt; (3 of 9, 33%)</st' in text
  assert '<h2>Data</h2>' not in _write(tmp_path)[1]


def test_the_classes_of_several_splits_are_named_once(tmp_path):
  metrics = {'test/f1/0': 0.1, 'valid/f1/0': 0.2, 'test/recall/0': 0.3,
             'valid/f1/1': 1.0}
  page, _ = _write(tmp_path, result={'metrics': metrics}, classes=('cat', 'cat'))
  assert page.rows == [['class', 'f1, test', 'f1, valid', 'recall, test'],
                       ['0 cat', '0.1000', '0.2000', '0.3000'],
                       ['1 cat', '', '1.0000', '']]


def test_sounds_among_the_plots(tmp_path):
  sound = plots.Sound(np.sin(np.arange(800) / 3), 8000)
  table = plots.Table(('text', 'sound'), [('<a>', sound), ('b', sound)])
  page, text = _write(tmp_path, plots={'test': {'Spoken texts': table}})
  assert ['<a>', ''] in page.rows and page.tags.count('audio') == 2
  assert text.count('<audio controls') == 2
  link = next(link for link in page.links if link.startswith('data:audio/wav;base64,'))
  assert base64.b64decode(link.partition(',')[2]) == sound.wav()
  long = plots.Table(('sound',), [(plots.Sound(np.zeros(10**6), 8000),)])
  page, text = _write(tmp_path, plots={'test': {'Long': long, 'Short': table}})
  assert 'Long is left out, to keep this page small.' in text
  assert page.tags.count('audio') == 2


def test_a_table_of_text_among_the_plots(tmp_path):
  table = plots.Table(('text', 'translation'), [('<b>Hund</b>', 'dog\nhound')])
  page, _ = _write(tmp_path, result={}, plots={'test': {'Translations': table}})
  assert ['text', 'translation'] in page.rows
  assert ['<b>Hund</b>', 'dog\nhound'] in page.rows
