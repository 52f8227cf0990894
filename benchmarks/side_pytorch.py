"""The networks of `networks.py` on PyTorch's side.

The optimizer is the fused Adam. With bfloat16 the forward pass and the loss are under
`torch.autocast`, as its documentation shows.
"""

from functools import partial

import networks_pytorch
import numpy as np
import torch
from networks import LATENT, NETWORKS, SMOOTHING, Side, count_of, examples
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

WORKERS = 2  # of the DataLoader
IGNORED = -100  # label of a padded token


def side(name: str, arithmetic: str, *, compiled: bool) -> Side:
  """PyTorch's side of a network.

  Args:
    name: of the network.
    arithmetic: 'float32'; any other is bfloat16 by `torch.autocast`.
    compiled: whether by `torch.compile`, or eagerly.
  """
  torch.manual_seed(0)
  cast = partial(torch.autocast, 'cpu', torch.bfloat16,
                 enabled=arithmetic != 'float32')
  network = networks_pytorch.NETWORKS[name]()
  parameters = networks_pytorch.size(network)
  if name == 'dcgan':
    work = _adversaries(network, cast, compiled)
  else:
    work = _supervised(name, network, cast, compiled)
  return Side(parameters, work)


def _supervised(name, network, cast, compiled):
  made = NETWORKS[name]
  optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad],
                               made.learning_rate, fused=True)
  model = torch.compile(network) if compiled else network
  smoothing = SMOOTHING if name == 'translation' else 0.0
  batches = _endless(_loader(made)) if name == 'cifar_input' else None
  fixed = None if batches else _tensors(name, made.batch)

  def train(times):
    model.train()
    for _ in range(times):
      batch = dict(next(batches) if batches else fixed)
      labels = batch.pop('labels').flatten()
      with cast():
        logits = model(**batch)
        loss = F.cross_entropy(logits.flatten(0, -2), labels, ignore_index=IGNORED,
                               label_smoothing=smoothing)
      optimizer.zero_grad(set_to_none=True)
      loss.backward()
      optimizer.step()

  def infer(batch, times):
    model.eval()
    with torch.inference_mode():
      for _ in range(times):
        with cast():
          model(**batch)

  def decode(inputs, segments, times):
    network.eval()
    with torch.inference_mode():
      for _ in range(times):
        with cast():
          network.translate(inputs, segments)

  work = {'train': train}
  for timed in made.timed[1:]:
    batch = _tensors(name, count_of(timed))
    if not timed.startswith('decode'):
      del batch['labels']
      work[timed] = partial(infer, batch)
    elif not compiled:  # `generate` does not call what is compiled
      work[timed] = partial(decode, batch['inputs'], batch['segments'])
  return work


def _tensors(name: str, count: int) -> dict[str, torch.Tensor]:
  columns = examples(name, count)
  if columns['inputs'].ndim == 4:
    columns['inputs'] = np.ascontiguousarray(columns['inputs'].transpose(0, 3, 1, 2))
  if 'weights' in columns:
    columns['labels'] = np.where(columns.pop('weights'), columns['labels'], IGNORED)
  return {key: torch.from_numpy(x) if x.dtype == np.float32 else (
    torch.from_numpy(x).long()) for key, x in columns.items()}


# --- adversaries ----------------------------------------------------------------


def _adversaries(network, cast, compiled):
  """As in PyTorch's tutorial on DCGAN: both parts learn from the same images."""
  made, parts = NETWORKS['dcgan'], [network.generator, network.discriminator]
  of_generator, of_discriminator = (torch.optim.Adam(
    part.parameters(), made.learning_rate, betas=(0.5, 0.999), fused=True)
    for part in parts)
  generator, discriminator = map(torch.compile, parts) if compiled else parts
  batch = _tensors('dcgan', made.batch)
  real, labels = batch['inputs'], batch['labels']
  ones, zeros = torch.ones(made.batch), torch.zeros(made.batch)
  score = F.binary_cross_entropy_with_logits

  def train(times):
    generator.train()
    for _ in range(times):
      of_discriminator.zero_grad(set_to_none=True)
      with cast():
        loss = score(discriminator(real, labels), ones)
      loss.backward()
      with cast():
        generated = generator(torch.randn(made.batch, LATENT), labels)
        loss = score(discriminator(generated.detach(), labels), zeros)
      loss.backward()
      of_discriminator.step()
      of_generator.zero_grad(set_to_none=True)
      with cast():
        loss = score(discriminator(generated, labels), ones)
      loss.backward()
      of_generator.step()

  def infer(latents, labels, times):
    generator.eval()
    with torch.inference_mode():
      for _ in range(times):
        with cast():
          generator(latents, labels)

  return {'train': train} | {
    timed: partial(infer, torch.randn(count_of(timed), LATENT),
                   _tensors('dcgan', count_of(timed))['labels'])
    for timed in made.timed[1:]}


# --- input ----------------------------------------------------------------------


class Augmented(Dataset):
  """What torchvision does for each image, in the form of its transforms of tensors.

  `RandomCrop(32, padding=4)`, `RandomHorizontalFlip()`, `ToTensor()`, `Normalize()`.
  """

  def __init__(self, images: np.ndarray, labels: np.ndarray):
    self.images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    self.labels = torch.from_numpy(labels).long()
    numbers = self.images.float() / 255
    self.mean, self.std = (f((0, 2, 3))[:, None, None] for f in (
      numbers.mean, numbers.std))

  def __len__(self) -> int:
    return len(self.images)

  def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
    image = F.pad(self.images[index], (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2,)).tolist()
    image = image[:, top : top + 32, left : left + 32]
    if torch.rand(()) < 0.5:
      image = image.flip(-1)
    return {'inputs': (image.float() / 255 - self.mean) / self.std,
            'labels': self.labels[index]}


def _loader(made):
  columns = examples('cifar_input', made.examples)
  return DataLoader(Augmented(columns['inputs'], columns['labels']), made.batch,
                    shuffle=True, drop_last=True, num_workers=WORKERS,
                    persistent_workers=True)


def _endless(loader):
  while True:
    yield from loader
