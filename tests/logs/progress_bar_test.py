"""Tests of what a running loop prints where there is no terminal."""

from bigmodels.logs.progress_bar import ProgressBar


def test_a_line_has_the_metrics_of_training(capsys):
  bar = ProgressBar(steps=100, batch_size=8, first=20)
  bar.update(60, 2.0)
  bar.log(60, {'train/loss': 0.25, 'train/members': [1.0, 3.0], 'test/loss': 1.0,
               'train/matrix': [[1.0], [2.0]], 'train/none': None}, 4.0)
  bar.close()
  assert capsys.readouterr().out == (
    'step 60/100, loss 0.25, members 2, 10 steps/s, 80 examples/s, '
    '4 s left\n')


def test_lines_are_seldom_but_the_last_is_printed(capsys):
  bar = ProgressBar(steps=3, batch_size=1, first=0)
  for step in (1, 2, 3):
    bar.log(step, {'train/loss': float(step)}, 1.0)
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(',')[0] for line in lines] == ['step 1/3', 'step 3/3']
