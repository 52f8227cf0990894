"""What the moving average, norms and learning rates cost of a training step.

  python benchmarks/habits.py --data_dir=DIR --out=benchmarks/results/habits_cpu.json

Each round takes the same number of steps of an experiment in several forms, one after
the other, in one process, after the first 100 steps. Prints, for each form, the median
over the rounds of its time divided by that of the plain form: of the time on the cores,
which other processes disturb less, and of that on the clock; `--out` writes every round
as JSON, with the machine.
"""

import argparse
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from machine import save  # noqa: E402
from train_steps import TrainSteps, build_quietly  # noqa: E402

from bigmodels.config import Experiment, resolving  # noqa: E402
from bigmodels.hardware import devices  # noqa: E402
from bigmodels.techniques import averages  # noqa: E402
from bigmodels.training import build  # noqa: E402

# Form -> decay of the average, and steps between measurements (None: none at all).
FORMS = {'plain': (None, None), 'measured': (None, 10), 'average': (0.999, None),
         'both': (0.999, 10), 'both, norms in every step': (0.999, 1)}


def made(experiment: Experiment, form: str, data_dir: str, folder: pathlib.Path
         ) -> TrainSteps:
  """The steps of an experiment in a form.

  Args:
    experiment: the experiment.
    form: name in `FORMS`.
    data_dir: of its data.
    folder: for the cache.
  """
  average, every = FORMS[form]
  measured = build.measured

  def wrapped(optimizer, rates, **settings):
    return measured(optimizer, rates, every=every) if every else optimizer

  with mock.patch.object(build, 'measured', wrapped):
    built = build_quietly(
      dataclasses.replace(experiment, evals={}, average=average), data_dir, folder)
  return TrainSteps(built)


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--experiment', default='cifar_cnn')
  parser.add_argument('--data_dir')
  parser.add_argument('--rounds', type=int, default=20)
  parser.add_argument('--steps', type=int, default=20)
  parser.add_argument('--forms', default=';'.join(FORMS))
  parser.add_argument('--out')
  args = parser.parse_args()
  devices.skip_absent_tpu()
  experiment = resolving.resolve(args.experiment, {}).experiment
  with tempfile.TemporaryDirectory() as folder:
    steps = {form: made(experiment, form, args.data_dir, pathlib.Path(folder))
             for form in args.forms.split(';')}
    for each in steps.values():
      each(averages._FIRST + 1)
    seconds = {form: [] for form in steps}
    for index in range(args.rounds):
      forms = list(steps)
      for form in forms[index % len(forms):] + forms[: index % len(forms)]:
        begun = time.process_time(), time.perf_counter()
        steps[form](args.steps)
        seconds[form].append((time.process_time() - begun[0],
                              time.perf_counter() - begun[1]))
  found = {}
  for form, times in seconds.items():
    cores, clock = zip(*times, strict=True)
    plain = zip(*seconds['plain'], strict=True)
    ratios = [round(statistics.median(a / b for a, b in zip(*pair, strict=True)), 4)
              for pair in zip((cores, clock), plain, strict=True)]
    found[form] = {'ratio_cores': ratios[0], 'ratio_clock': ratios[1],
                   'cores_ms': [round(1e3 * t / args.steps, 2) for t in cores],
                   'clock_ms': [round(1e3 * t / args.steps, 2) for t in clock]}
    print(f'{form}: {ratios[0]:.3f} of a plain step on the cores, {ratios[1]:.3f} on '
          f'the clock (medians of {args.rounds} rounds)', flush=True)
  if args.out:
    command = f'habits.py --data_dir=DIR --experiment={args.experiment}'
    save(pathlib.Path(args.out), f'{command} --rounds={args.rounds} '
         f'--steps={args.steps}', found)


if __name__ == '__main__':
  main()
