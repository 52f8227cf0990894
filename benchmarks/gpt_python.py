"""What a run of `gpt_python` is worth: do its completions parse, does it compress?

  python benchmarks/gpt_python.py --workdir=runs/...

Completions are short, as an editor offers them: the next line of code. They are asked
for in two ways: in files that training has not seen, after a statement drawn at random
and the lines before it; and after short prompts with nothing before them. No prompt
ends in white space, which a token of what follows begins with. A completion is cut
after its first line that is neither blank nor a comment. It parses if all that stands
there then, the file from its beginning, is Python or the beginning of Python, as the
standard library's `codeop` judges it: an open bracket or a block without a body may
yet be closed, a wrong indentation or a word too many may not.

Bits per byte of the validation files are those of the run's best checkpoint, beside
`xz -9` of the same files alone, and after the training files (what they add to the
compressed size). Prints one JSON line.
"""

import argparse
import ast
import codeop
import io
import json
import lzma
import pathlib
import random
import re
import subprocess
import sys
import tokenize
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bigmodels.data import texts, tokenizers  # noqa: E402
from bigmodels.data.sources import DataContext  # noqa: E402

PROMPTS = (
  'import', 'from', 'def main():', 'def read(path):', 'class Error(',
  'for name in names:', 'if value is None:', 'def __init__(self, name):', 'try:', 'x =')


def begins(text: str) -> bool:
  """Whether a text is Python or the beginning of Python."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      codeop.compile_command(text, symbol='exec')
  except (SyntaxError, ValueError, OverflowError):
    return False
  return True


def first_line(completion: str) -> str | None:
  """Up to the end of the first line of code; None if there is no whole one."""
  lines = completion.splitlines(keepends=True)
  for index, line in enumerate(lines):
    code = line.strip()
    if line.endswith('\n') and code and not code.startswith('#'):
      return ''.join(lines[: index + 1])
  return None


def documents(split: str) -> list[str]:
  """The files of a split, as `gpt_python` reads them."""
  context = DataContext(None, pathlib.Path('.'), {}, say=lambda _: None)
  return texts.StandardLibrary().read(split, context).texts


def places(flags) -> list[tuple[str, str]]:
  """(file up to a statement, the last lines of it: what is shown), at random."""
  kept = json.loads((pathlib.Path(flags.workdir) / 'data.json').read_text())['kept']
  tokenizer = tokenizers.load(kept['tokenizer'])
  chance, files, found = random.Random(0), documents('validation'), []
  while len(found) < flags.places:
    text = chance.choice(files)
    try:
      tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, tokenize.TokenError):
      continue
    ends = [token.end[0] for token in tokens if token.type == tokenize.NEWLINE]
    if len(ends) < 10:
      continue
    lines = text.splitlines(keepends=True)[: chance.choice(ends[5:-1])]
    lines[-1] = lines[-1].rstrip()
    first = len(lines)
    while first and len(tokenizer.encode(''.join(lines[first - 1:]))) <= flags.context:
      first -= 1
    if lines[first:] and begins(''.join(lines)):
      found.append((''.join(lines), ''.join(lines[first:])))
  return found


def completions(flags, prompts: list[str], samples: int) -> list[tuple[str, str]]:
  """(prompt, completion) of every sample of run.py."""
  done = subprocess.run(
    [sys.executable, str(ROOT / 'run.py'), '--mode=sample',
     f'--workdir={flags.workdir}', f'--tokens={flags.tokens}',
     f'--temperature={flags.temperature}', f'--samples={samples}',
     *(f'--prompt={prompt}' for prompt in prompts)], capture_output=True, text=True)
  if done.returncode:
    sys.exit(done.stderr)
  parts = re.split(r'^--- (.*)\n', done.stdout, flags=re.MULTILINE)
  heads = [re.fullmatch(r'sample \d+ of \d+, after (.*): [\d,]+ tokens', head)
           for head in parts[1::2]]
  return [(ast.literal_eval(head[1]), text[:-1])
          for head, text in zip(heads, parts[2::2], strict=True) if head]


def score(files: list[str], found: list[tuple[str, str]]) -> dict[str, float]:
  """Which share of the completions of files up to some place parses."""
  lines = [(file, first_line(text))
           for file, (_, text) in zip(files, found, strict=True)]
  parse = [line is not None and begins(file + line) for file, line in lines]
  return {'completions': len(lines), 'parse': sum(parse) / len(lines),
          'without_a_whole_line': sum(line is None for _, line in lines) / len(lines)}


def xz() -> dict[str, float]:
  """Bits per byte of the validation files, by `xz -9`."""
  train, validation = ('\n'.join(documents(split)).encode()
                       for split in ('train', 'validation'))

  def size(content):
    return 8 * len(lzma.compress(content, preset=9))

  return {'xz_alone': size(validation) / len(validation),
          'xz_after_training_files':
            (size(train + validation) - size(train)) / len(validation)}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--workdir', required=True, help='a run of gpt_python')
  parser.add_argument('--places', type=int, default=200, help='in unseen files')
  parser.add_argument('--context', type=int, default=95, help='tokens shown of a file')
  parser.add_argument('--samples', type=int, default=20, help='after each prompt')
  parser.add_argument('--tokens', type=int, default=32)
  parser.add_argument('--temperature', type=float, default=0.5)
  flags = parser.parse_args()
  result = json.loads((pathlib.Path(flags.workdir) / 'result.json').read_text())
  there = places(flags)
  at_places = completions(flags, [shown for _, shown in there], 1)
  prompted = completions(flags, list(PROMPTS), flags.samples)
  print(json.dumps({
    'temperature': flags.temperature,
    'in_unseen_files': score([file for file, _ in there], at_places),
    'after_prompts': score([prompt for prompt, _ in prompted], prompted),
    'bits_per_byte': result['metrics']['validation/bits_per_byte'], **xz()}))


if __name__ == '__main__':
  main()
