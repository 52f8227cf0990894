"""The networks of `networks.py` in PyTorch, in their usual implementations.

A network is called with the columns of a batch by name, as `NETWORKS[name]()(**batch)`,
except for the two parts of `dcgan`.
"""

import gpt_pytorch
import torch
import transformers
from networks import BEGIN, CLASSES, END, LATENT, LENGTH, PAD, VOCABULARY
from torch import nn
from torch.nn.utils import rnn


class OfImages(nn.Module):
  """A network that is called with `inputs`."""

  def __init__(self, *layers: nn.Module):
    super().__init__()
    self.layers = nn.Sequential(*layers)

  def forward(self, inputs: torch.Tensor) -> torch.Tensor:
    return self.layers(inputs)


def mlp() -> nn.Module:
  return OfImages(
    nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
    nn.Linear(512, CLASSES))


def mnist_cnn() -> nn.Module:
  return OfImages(
    nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(64, 64, 3), nn.ReLU(),
    nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def cifar_cnn() -> nn.Module:
  return OfImages(
    nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(8192, 1024), nn.ReLU(), nn.Dropout(0.5),
    nn.Linear(1024, CLASSES))


def cifar_input() -> nn.Module:
  return OfImages(
    nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(2048, 64), nn.ReLU(), nn.Linear(64, CLASSES))


class Logits(nn.Module):
  """A network of `transformers` for images, which returns the logits only."""

  def __init__(self, network: nn.Module):
    super().__init__()
    self.network = network

  def forward(self, inputs: torch.Tensor) -> torch.Tensor:
    return self.network(pixel_values=inputs).logits


def resnet18() -> nn.Module:
  return Logits(transformers.ResNetForImageClassification(transformers.ResNetConfig(
    layer_type='basic', hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2],
    num_labels=CLASSES)))


def vit_ti() -> nn.Module:
  return Logits(transformers.ViTForImageClassification(transformers.ViTConfig(
    hidden_size=192, num_hidden_layers=12, num_attention_heads=3,
    intermediate_size=768, image_size=224, patch_size=16, num_labels=CLASSES)))


class gpt(gpt_pytorch.Gpt):
  def __init__(self):
    super().__init__(layers=4, heads=4, width=128, length=LENGTH['gpt'],
                     vocabulary=VOCABULARY['gpt'])

  def forward(self, inputs: torch.Tensor) -> torch.Tensor:
    return super().forward(inputs)


class lstm(nn.Module):
  """Packed sequences, so that both directions skip the padding."""

  def __init__(self):
    super().__init__()
    self.embedding = nn.Embedding(VOCABULARY['lstm'], 128)
    self.lstm = nn.LSTM(128, 128, batch_first=True, bidirectional=True)
    self.drop = nn.Dropout(0.4)
    self.head = nn.Linear(256, 2)
    for name, bias in self.lstm.named_parameters():
      if name.startswith('bias_hh'):  # a second bias, which changes no function
        nn.init.zeros_(bias).requires_grad_(False)

  def forward(self, inputs: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    embedded = self.drop(self.embedding(inputs))
    packed = rnn.pack_padded_sequence(
      embedded, segments.sum(1), batch_first=True, enforce_sorted=False)
    states, _ = rnn.pad_packed_sequence(
      self.lstm(packed)[0], batch_first=True, padding_value=-torch.inf)
    return self.head(self.drop(states.amax(1)))


class bert(nn.Module):
  def __init__(self):
    super().__init__()
    self.network = transformers.BertForSequenceClassification(transformers.BertConfig(
      vocab_size=VOCABULARY['bert'], max_position_embeddings=LENGTH['bert'],
      num_hidden_layers=2, hidden_size=128, num_attention_heads=4,
      intermediate_size=512, num_labels=2, pad_token_id=PAD))

  def forward(self, inputs: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    return self.network(input_ids=inputs, attention_mask=segments).logits


class translation(nn.Module):
  """M2M100: norms come first, positions are sinusoidal, the embedding is shared."""

  def __init__(self):
    super().__init__()
    self.network = transformers.M2M100ForConditionalGeneration(
      transformers.M2M100Config(
        vocab_size=VOCABULARY['translation'], d_model=256, encoder_layers=2,
        decoder_layers=2, encoder_ffn_dim=512, decoder_ffn_dim=512,
        encoder_attention_heads=4, decoder_attention_heads=4, dropout=0.2,
        attention_dropout=0.0, encoder_layerdrop=0.0, decoder_layerdrop=0.0,
        pad_token_id=PAD, bos_token_id=BEGIN, eos_token_id=END,
        decoder_start_token_id=BEGIN))

  def forward(self, inputs: torch.Tensor, segments: torch.Tensor,
              decoder_inputs: torch.Tensor) -> torch.Tensor:
    return self.network(input_ids=inputs, attention_mask=segments, use_cache=False,
                        decoder_input_ids=decoder_inputs).logits

  def translate(self, inputs: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    """Greedy decoding with a cache, as many tokens as the longest text has."""
    return self.network.generate(
      input_ids=inputs, attention_mask=segments, num_beams=1, do_sample=False,
      min_new_tokens=LENGTH['translation'], max_new_tokens=LENGTH['translation'])


class Generator(nn.Module):
  def __init__(self):
    super().__init__()
    self.classes = nn.Embedding(CLASSES, 32)
    self.layers = nn.Sequential(
      nn.Linear(LATENT + 32, 64 * 7 * 7, bias=False), nn.Unflatten(1, (64, 7, 7)),
      nn.BatchNorm2d(64), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False),
      nn.BatchNorm2d(32), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh())

  def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return self.layers(torch.cat([latents, self.classes(labels)], 1))


class Discriminator(nn.Module):
  def __init__(self):
    super().__init__()
    self.layers = nn.Sequential(
      nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2),
      nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
      nn.Flatten())
    self.head = nn.Linear(64 * 7 * 7, 1)
    self.classes = nn.Embedding(CLASSES, 64 * 7 * 7)

  def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    x = self.layers(images)
    return self.head(x)[:, 0] + (self.classes(labels) * x).sum(1)


class dcgan(nn.Module):
  def __init__(self):
    super().__init__()
    self.generator, self.discriminator = Generator(), Discriminator()


NETWORKS = {made.__name__: made for made in (
  mlp, mnist_cnn, cifar_cnn, resnet18, vit_ti, gpt, lstm, bert, translation, dcgan,
  cifar_input)}


def size(network: nn.Module) -> int:
  """The number of parameters that are trained."""
  return sum(p.numel() for p in network.parameters() if p.requires_grad)
