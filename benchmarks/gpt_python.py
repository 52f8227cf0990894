"""Measures a run of `gpt_python`: how many completions parse, and bits per byte.

  python benchmarks/gpt_python.py --workdir=runs/...

Completions are short, as in an editor: the next line of code. There are two kinds of
prompts: files that were not trained on, up to a random statement, with as many lines as
fit; and short prompts alone. No prompt ends in white space, with which the next token
begins. A completion is truncated after its first line that is neither blank nor a
comment. It parses if the file up to there is Python or the beginning of Python, by the
standard library's `codeop`: an open bracket or a block without a body can be completed,
a wrong indentation or an additional word cannot.

Bits per byte of the validation files are those of the run's best checkpoint, compared
with `xz -9` of these files alone, and after the training files (the increase of the
compressed size). Prints one line of JSON.
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
  """Everything up to the end of the first line of code; None if it has no end."""
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


def file_prompts(flags) -> list[tuple[str, str]]:
  """Random files up to a statement, each with its last lines, which are the prompt."""
  kept = json.loads((pathlib.Path(flags.workdir) / 'data.json').read_text())['kept']
  tokenizer = tokenizers.load(kept['tokenizer'])
  rng, files, found = random.Random(0), documents('validation'), []
  while len(found) < flags.prompts:
    text = rng.choice(files)
    try:
      tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, tokenize.TokenError):
      continue
    ends = [token.end[0] for token in tokens if token.type == tokenize.NEWLINE]
    if len(ends) < 10:
      continue
    lines = text.splitlines(keepends=True)[: rng.choice(ends[5:-1])]
    lines[-1] = lines[-1].rstrip()
    first = len(lines)
    while first and len(
        tokenizer.encode(''.join(lines[first - 1:]))) <= flags.prompt_tokens:
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
  """The fraction of completions that parse.

  Args:
    files: the text before each completion.
    found: prompt and completion of each.
  """
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
  parser.add_argument('--prompts', type=int, default=200, help='in unseen files')
  parser.add_argument('--prompt_tokens', type=int, default=95, help='of each of them')
  parser.add_argument('--samples', type=int, default=20, help='after each prompt')
  parser.add_argument('--tokens', type=int, default=32)
  parser.add_argument('--temperature', type=float, default=0.5)
  flags = parser.parse_args()
  result = json.loads((pathlib.Path(flags.workdir) / 'result.json').read_text())
  files = file_prompts(flags)
  in_files = completions(flags, [prompt for _, prompt in files], 1)
  prompted = completions(flags, list(PROMPTS), flags.samples)
  print(json.dumps({
    'temperature': flags.temperature,
    'in_unseen_files': score([file for file, _ in files], in_files),
    'after_prompts': score([prompt for prompt, _ in prompted], prompted),
    'bits_per_byte': result['metrics']['validation/bits_per_byte'], **xz()}))


if __name__ == '__main__':
  main()
