"""What a run of `gpt_python` is worth: do its samples parse, does it compress?

  python benchmarks/gpt_python.py --workdir=runs/...

Every prompt is continued by up to `--tokens` tokens, several times. A continuation is
cut after its last whole line, since one that is cut anywhere cannot parse; prompt and
continuation then go through `ast.parse`. Bits per byte of the validation files are
those of the run's best checkpoint, beside `xz -9` of the same files alone, and after
the training files (what they add to the compressed size). Prints one JSON line.
"""

import argparse
import ast
import json
import lzma
import pathlib
import re
import subprocess
import sys
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bigmodels.data import texts  # noqa: E402
from bigmodels.data.sources import Opening  # noqa: E402

PROMPTS = (
  'import ', 'from ', 'def main():\n', 'def read(path):\n', 'class Error(',
  'for name in names:\n', 'if value is None:\n', 'def __init__(self, name):\n',
  'try:\n', 'x = ')


def parses(prompt: str, continuation: str) -> bool:
  """Whether the whole lines are Python; without a whole new line nothing was said."""
  if '\n' not in continuation:
    return False
  text = prompt + continuation
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      ast.parse(text[: text.rfind('\n') + 1])
  except (SyntaxError, ValueError):
    return False
  return True


def samples(flags) -> list[tuple[str, str]]:
  """(prompt, continuation) of every sample of run.py."""
  done = subprocess.run(
    [sys.executable, str(ROOT / 'run.py'), '--mode=sample',
     f'--workdir={flags.workdir}', f'--tokens={flags.tokens}',
     f'--temperature={flags.temperature}', f'--samples={flags.samples}',
     *(f'--prompt={prompt}' for prompt in PROMPTS)],
    check=True, capture_output=True, text=True)
  parts = re.split(r'^--- (.*)\n', done.stdout, flags=re.MULTILINE)
  heads = [re.fullmatch(r'sample \d+ of \d+, after (.*): [\d,]+ tokens', head)
           for head in parts[1::2]]
  return [(ast.literal_eval(head[1]), text[:-1])
          for head, text in zip(heads, parts[2::2], strict=True) if head]


def xz(flags) -> dict[str, float]:
  """Bits per byte of the validation files, by `xz -9`."""
  opening = Opening(None, pathlib.Path('.'), {}, say=lambda _: None)
  train, validation = (
    '\n'.join(texts.StandardLibrary().read(split, opening).texts).encode()
    for split in ('train', 'validation'))

  def size(content):
    return 8 * len(lzma.compress(content, preset=9))

  return {'xz_alone': size(validation) / len(validation),
          'xz_after_training_files':
            (size(train + validation) - size(train)) / len(validation)}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--workdir', required=True, help='a run of gpt_python')
  parser.add_argument('--tokens', type=int, default=32)
  parser.add_argument('--samples', type=int, default=20)
  parser.add_argument('--temperature', type=float, default=0.5)
  flags = parser.parse_args()
  result = json.loads((pathlib.Path(flags.workdir) / 'result.json').read_text())
  found = samples(flags)
  by_prompt = {prompt: 0 for prompt in PROMPTS}
  for prompt, text in found:
    by_prompt[prompt] += parses(prompt, text)
  print(json.dumps({
    'samples': len(found), 'parse': sum(by_prompt.values()) / len(found),
    'by_prompt': by_prompt,
    'bits_per_byte': result['metrics']['validation/bits_per_byte'], **xz(flags)}))


if __name__ == '__main__':
  main()
