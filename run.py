"""Trains, evaluates or prints one experiment. See README.md.

  python run.py --list
  python run.py --experiment=digits_cnn
  python run.py --experiment=digits_cnn --config.learning_rate=3e-4 --workdir=runs/a
  python run.py --workdir=runs/a
  python run.py --mode=doctor
"""

import sys

from bigmodels.cli import startup

if __name__ == '__main__':
  startup.prepare()

from bigmodels.cli import command

if __name__ == '__main__':
  command.start(sys.argv)
