"""What the room imports."""

import subprocess
import sys


def test_importing_loads_no_drawing_library():
  code = ('import sys, bigmodels.plots; '
          'print([m for m in ("matplotlib", "sklearn") if m in sys.modules])')
  found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                         check=True)
  assert found.stdout.strip() == '[]'
