"""The networks of `beside_pytorch.py` in PyTorch, as its users write or take them."""

import gpt_pytorch
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


def resnet18(classes: int, _) -> nn.Module:
  import torchvision

  return torchvision.models.resnet18(num_classes=classes)


def vit_ti(classes: int, _) -> nn.Module:
  import torchvision

  return torchvision.models.VisionTransformer(
    image_size=224, patch_size=16, num_layers=12, num_heads=3, hidden_dim=192,
    mlp_dim=768, num_classes=classes)


def gpt(_, vocabulary: int) -> nn.Module:
  return gpt_pytorch.Gpt(layers=4, heads=4, width=128, length=64, vocabulary=vocabulary)


NETWORKS = {'mlp': mlp, 'mnist_cnn': mnist_cnn, 'cifar_cnn': cifar_cnn,
            'resnet18': resnet18, 'vit_ti': vit_ti, 'gpt': gpt}
