"""The networks of `beside_pytorch.py` in PyTorch, in their usual implementations."""

import gpt_pytorch
import torch
import transformers
from torch import nn


def mlp(classes: int, _) -> nn.Module:
  return nn.Sequential(
    nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
    nn.Linear(512, classes))


def mnist_cnn(classes: int, _) -> nn.Module:
  return nn.Sequential(
    nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(64, 64, 3), nn.ReLU(),
    nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, classes))


def cifar_cnn(classes: int, _) -> nn.Module:
  return nn.Sequential(
    nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(8192, 1024), nn.ReLU(), nn.Dropout(0.5),
    nn.Linear(1024, classes))


class Logits(nn.Module):
  """A network of `transformers` for images, which returns the logits only."""

  def __init__(self, network: nn.Module):
    super().__init__()
    self.network = network

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    return self.network(pixel_values=images).logits


def resnet18(classes: int, _) -> nn.Module:
  return Logits(transformers.ResNetForImageClassification(transformers.ResNetConfig(
    layer_type='basic', hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2],
    num_labels=classes)))


def vit_ti(classes: int, _) -> nn.Module:
  return Logits(transformers.ViTForImageClassification(transformers.ViTConfig(
    hidden_size=192, num_hidden_layers=12, num_attention_heads=3,
    intermediate_size=768, image_size=224, patch_size=16, num_labels=classes)))


def gpt(_, vocabulary: int) -> nn.Module:
  return gpt_pytorch.Gpt(layers=4, heads=4, width=128, length=64, vocabulary=vocabulary)


NETWORKS = {'mlp': mlp, 'mnist_cnn': mnist_cnn, 'cifar_cnn': cifar_cnn,
            'resnet18': resnet18, 'vit_ti': vit_ti, 'gpt': gpt}
