"""A GPT in PyTorch, implemented and trained as in nanoGPT, to compare with.

It trains on random tokens and prints one line of JSON: the time of a step, tokens a
second and, with `--peak_tflops`, the model FLOPs utilization. With `--data` it trains
on the characters of a text, and with `--eval` it prints the loss of the last tenth. The
default sizes are those of nanoGPT for Shakespeare on a CPU:

    python benchmarks/gpt_pytorch.py
    python benchmarks/gpt_pytorch.py --data=input.txt --eval --steps=2000
    python benchmarks/gpt_pytorch.py --device=cuda --dtype=bfloat16 --compile --bias \
      --layers=12 --heads=12 --width=768 --length=1024 --vocabulary=50304 \
      --beta2=0.95 --learning_rate=6e-4 --peak_tflops=989
"""

import argparse
import contextlib
import itertools
import json
import math
import pathlib
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

CLIP = 1.0
DECAY = 0.1
EVAL_TOKENS = 2**12  # in one forward pass of an evaluation


class Attention(nn.Module):
  """Causal self-attention: `[batch, length, width]` to the same."""

  def __init__(self, *, heads: int, width: int, dropout: float, bias: bool):
    super().__init__()
    self.heads, self.dropout = heads, dropout
    self.qkv = nn.Linear(width, 3 * width, bias=bias)
    self.out = nn.Linear(width, width, bias=bias)
    self.drop = nn.Dropout(dropout)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    parts = self.qkv(x).chunk(3, dim=-1)
    # [batch, length, width] -> [batch, heads, length, width / heads]
    q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in parts)
    x = F.scaled_dot_product_attention(
      q, k, v, is_causal=True, dropout_p=self.dropout if self.training else 0.0)
    return self.drop(self.out(x.transpose(1, 2).flatten(-2)))


class Block(nn.Module):
  """Attention and a two-layer MLP, with pre-normalization and residual connections."""

  def __init__(self, *, heads: int, width: int, dropout: float, bias: bool):
    super().__init__()
    self.norm1 = nn.LayerNorm(width, bias=bias)
    self.attention = Attention(heads=heads, width=width, dropout=dropout, bias=bias)
    self.norm2 = nn.LayerNorm(width, bias=bias)
    self.up = nn.Linear(width, 4 * width, bias=bias)
    self.down = nn.Linear(4 * width, width, bias=bias)
    self.drop = nn.Dropout(dropout)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    x = x + self.attention(self.norm1(x))
    return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)))))


class Gpt(nn.Module):
  """GPT-2 (Radford et al., 2019): tokens `[batch, length]` to logits of the next ones.

  The weights of the embedding and of the head are tied. `Gpt(layers=12, heads=12,
  width=768, length=1024, vocabulary=50257, bias=True)` has the 124,439,808 parameters
  of the smallest GPT-2.
  """

  def __init__(self, *, layers: int, heads: int, width: int, length: int,
               vocabulary: int, dropout: float = 0.0, bias: bool = False):
    super().__init__()
    self.tokens = nn.Embedding(vocabulary, width)
    self.positions = nn.Embedding(length, width)
    self.drop = nn.Dropout(dropout)
    self.blocks = nn.ModuleList(
      Block(heads=heads, width=width, dropout=dropout, bias=bias)
      for _ in range(layers))
    self.norm = nn.LayerNorm(width, bias=bias)
    for name, parameter in self.named_parameters():
      if name.endswith('bias'):
        nn.init.zeros_(parameter)
      elif parameter.dim() > 1:
        # The layers that add to the residual stream start with smaller weights.
        added = name.endswith(('attention.out.weight', 'down.weight'))
        nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers if added else 1))

  def forward(self, tokens: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    x = self.drop(self.tokens(tokens) + self.positions(positions))
    for block in self.blocks:
      x = block(x)
    return F.linear(self.norm(x), self.tokens.weight)


def parameters(model: Gpt) -> int:
  """The number of parameters; the tied embedding and head count once."""
  return sum(p.numel() for p in model.parameters())


def flops_per_token(model: Gpt, length: int) -> float:
  """Floating-point operations of the model for one token, forward and backward.

  6 N + 12 L T W (Chowdhery et al., *PaLM*, 2022, appendix B, and nanoGPT). Each of N
  weights multiplies and adds once forward and twice backward; N excludes the position
  embeddings. Each of L layers of width W multiplies queries by T keys and weights by T
  values, `4 T W` forward and twice that backward; the half that a causal mask hides
  counts as well.
  """
  weights = parameters(model) - model.positions.weight.numel()
  width = model.tokens.weight.shape[1]
  return 6 * weights + 12 * len(model.blocks) * length * width


def adamw(model: Gpt, *, learning_rate: float, beta2: float,
          fused: bool) -> torch.optim.Optimizer:
  """AdamW with weight decay for matrices and embeddings, not for biases or scales."""
  every = list(model.parameters())
  groups = [{'params': [p for p in every if p.dim() > 1], 'weight_decay': DECAY},
            {'params': [p for p in every if p.dim() < 2], 'weight_decay': 0.0}]
  return torch.optim.AdamW(
    groups, lr=learning_rate, betas=(0.9, beta2), fused=fused)


def rate(step: int, *, steps: int, peak: float, ramp: int) -> float:
  """Linear to `peak` over `ramp` steps, then by cosine to a tenth of it at `steps`."""
  if step < ramp:
    return peak * (step + 1) / (ramp + 1)
  done = (step - ramp) / max(1, steps - ramp)
  return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def characters(path: pathlib.Path) -> tuple[np.ndarray, int]:
  """A text as indices `[length]` of its sorted characters, and their number."""
  text = path.read_text(encoding='utf-8')
  symbols = {symbol: i for i, symbol in enumerate(sorted(set(text)))}
  return np.array([symbols[c] for c in text], np.uint16), len(symbols)


def draw(stream: np.ndarray, batch: int, length: int, device: str,
         rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
  """Random blocks of a stream and their next tokens, both `[batch, length]`."""
  starts = rng.integers(0, len(stream) - length, batch)
  blocks = np.stack([stream[i:i + length + 1] for i in starts]).astype(np.int64)
  both = torch.from_numpy(blocks)
  if device == 'cuda':
    both = both.pin_memory().to(device, non_blocking=True)
  return both[:, :-1], both[:, 1:]


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor,
                  reduction: str = 'mean') -> torch.Tensor:
  return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


@torch.no_grad()
def validate(model: Gpt, stream: np.ndarray, length: int,
             device: str, arithmetic) -> tuple[float, int]:
  """The mean loss of a stream in nats, and the number of tokens.

  The blocks do not overlap and the last may be shorter: every token but the first is
  predicted once, from the tokens before it in its block.

  Args:
    model: the GPT.
    stream: tokens `[n]`.
    length: of a block.
    device: 'cpu' or 'cuda'.
    arithmetic: () -> the context of the forward pass.
  """
  model.eval()
  tokens = torch.from_numpy(stream.astype(np.int64)).to(device)
  whole = (len(stream) - 1) // length * length
  rows = max(1, EVAL_TOKENS // length)
  inputs = tokens[:whole].view(-1, length).split(rows)
  targets = tokens[1:whole + 1].view(-1, length).split(rows)
  parts = list(zip(inputs, targets, strict=True))
  parts.append((tokens[None, whole:-1], tokens[None, whole + 1:]))
  total = 0.0
  for x, y in parts:
    if y.numel():
      with arithmetic():
        total += cross_entropy(model(x), y, 'sum').item()
  model.train()
  return total / (len(stream) - 1), len(stream) - 1


def moment(device: str) -> float | torch.cuda.Event:
  """The time; on a GPU an event of it, without synchronization."""
  if device == 'cpu':
    return time.perf_counter()
  event = torch.cuda.Event(enable_timing=True)
  event.record()
  return event


def milliseconds(moments: list) -> np.ndarray:
  """The times between moments, `[moments - 1]`; the last one must have passed."""
  pairs = itertools.pairwise(moments)
  if isinstance(moments[0], float):
    return np.array([1e3 * (b - a) for a, b in pairs])
  return np.array([a.elapsed_time(b) for a, b in pairs])


def arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    description=__doc__.partition('\n')[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
  add, switch = parser.add_argument, argparse.BooleanOptionalAction
  add('--layers', type=int, default=4)
  add('--heads', type=int, default=4)
  add('--width', type=int, default=128)
  add('--length', type=int, default=64, help='tokens of a block')
  add('--batch', type=int, default=12, help='blocks of a step')
  add('--vocabulary', type=int, help='65, or that of --data, if not given')
  add('--bias', action=switch, default=False, help='in linear layers and norms')
  add('--dropout', type=float, default=0.0)
  add('--steps', type=int, default=60, help='updates, including --warmup')
  add('--warmup', type=int, default=10, help='first steps, which are not timed')
  add('--learning_rate', type=float, default=1e-3, help='the highest')
  add('--ramp', type=int, default=100, help='steps until the highest learning rate')
  add('--beta2', type=float, default=0.99)
  add('--fused', action=switch, default=True, help='one kernel for all of AdamW')
  add('--dtype', choices=('float32', 'bfloat16'), default='float32',
      help='float32 products are TF32 on a GPU; bfloat16 is by autocast')
  add('--compile', action=switch, default=False)
  add('--device', choices=('cpu', 'cuda'), default='cpu')
  add('--threads', type=int, help="PyTorch's choice if not given")
  add('--peak_tflops', type=float, help='of the device in --dtype, for the MFU')
  add('--data', type=pathlib.Path, help='a text; its first 90 %% are trained on')
  add('--eval', action='store_true', help='the loss of the other 10 %% at the end')
  add('--seed', type=int, default=0)
  args = parser.parse_args()
  for name in ('layers', 'heads', 'width', 'length', 'batch', 'vocabulary', 'threads'):
    if (value := getattr(args, name)) is not None and value < 1:
      parser.error(f'--{name}: must be >= 1, got {value}')
  if args.width % args.heads:
    parser.error(
      f'--width: must be a multiple of --heads={args.heads}, got {args.width}')
  if not 0 <= args.warmup < args.steps:
    parser.error(f'--warmup: must be >= 0 and < --steps={args.steps}, got '
                 f'{args.warmup}')
  if args.eval and not args.data:
    parser.error('--eval: needs a text, --data=FILE')
  if args.data and not args.data.is_file():
    parser.error(f'--data: must be a text file, got {args.data}')
  if args.device == 'cuda' and not torch.cuda.is_available():
    parser.error('--device=cuda: PyTorch finds no GPU; use cpu')
  return args


def streams(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, int]:
  """Tokens to train on, tokens to evaluate on, and the size of their vocabulary."""
  if not args.data:
    size = args.vocabulary or 65
    made = np.random.default_rng(args.seed).integers(0, size, 2**20, np.uint16)
    return made, made[:0], size
  stream, size = characters(args.data)
  if args.vocabulary and args.vocabulary < size:
    raise SystemExit(f'--vocabulary: must be >= {size}, the number of characters of '
                     f'{args.data}, got {args.vocabulary}')
  split = int(0.9 * len(stream))
  if split <= args.length or len(stream) - split < 2:
    raise SystemExit(f'--data: must have > {args.length} characters (--length) in its '
                     f'first 90 %; {args.data} has {len(stream)} in total')
  return stream[:split], stream[split:], args.vocabulary or size


def main() -> None:
  args = arguments()
  if args.threads:
    torch.set_num_threads(args.threads)
  torch.manual_seed(args.seed)
  if args.device == 'cuda':
    torch.set_float32_matmul_precision('high')
  train, validation, vocabulary = streams(args)
  rng = np.random.default_rng(args.seed)

  def arithmetic():
    if args.dtype == 'float32':
      return contextlib.nullcontext()
    return torch.autocast(args.device, torch.bfloat16)

  def batch():
    return draw(train, args.batch, args.length, args.device, rng)

  model = Gpt(layers=args.layers, heads=args.heads, width=args.width,
              length=args.length, vocabulary=vocabulary, dropout=args.dropout,
              bias=args.bias).to(args.device)
  optimizer = adamw(model, learning_rate=args.learning_rate, beta2=args.beta2,
                    fused=args.fused)
  forward = torch.compile(model) if args.compile else model

  x, y = batch()
  moments = [moment(args.device)]
  for step in range(args.steps):
    for group in optimizer.param_groups:
      group['lr'] = rate(step, steps=args.steps, peak=args.learning_rate,
                         ramp=args.ramp)
    with arithmetic():
      loss = cross_entropy(forward(x), y)
    x, y = batch()  # while a GPU still computes the last one
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    moments.append(moment(args.device))
  last = loss.item()
  if args.device == 'cuda':
    torch.cuda.synchronize()

  found = speed(milliseconds(moments)[args.warmup:], args, model)
  found |= {'parameters': parameters(model), 'train_loss': round(last, 4)}
  if args.eval:
    loss, tokens = validate(model, validation, args.length, args.device, arithmetic)
    found |= {'validation_loss': round(loss, 4), 'validation_tokens': tokens}
  gpu = args.device == 'cuda'
  found |= {'timed_steps': args.steps - args.warmup, 'steps': args.steps,
            'layers': args.layers, 'heads': args.heads, 'width': args.width,
            'length': args.length, 'batch': args.batch, 'vocabulary': vocabulary,
            'dtype': args.dtype, 'compile': args.compile, 'fused': args.fused,
            'device': torch.cuda.get_device_name() if gpu else 'cpu',
            'threads': torch.get_num_threads(), 'torch': torch.__version__}
  print(json.dumps(found))


def speed(times: np.ndarray, args: argparse.Namespace, model: Gpt) -> dict[str, float]:
  """Statistics of the times of steps in milliseconds, `[steps]`, in four digits."""
  p10, median, p90 = np.percentile(times, (10, 50, 90))
  per_second = args.batch * args.length / median * 1e3
  tflops = per_second * flops_per_token(model, args.length) / 1e12
  found = {'median_ms': median, 'p10_ms': p10, 'p90_ms': p90,
           'tokens_per_second': per_second, 'tflops': tflops}
  if args.peak_tflops:
    found['mfu'] = tflops / args.peak_tflops
  return {name: float(f'{value:.4g}') for name, value in found.items()}


if __name__ == '__main__':
  main()
