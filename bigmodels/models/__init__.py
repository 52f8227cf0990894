"""Flax Linen modules, one family a file, and `sharding_rules` for their parameters."""

from bigmodels.models.agents import ActorCritic, NatureCnn, QNetwork
from bigmodels.models.airbench import Airbench
from bigmodels.models.anomaly import Autoencoder, DeepSvdd
from bigmodels.models.bert import Bert, BertClassifier, MaskedBert
from bigmodels.models.cnn import Cnn
from bigmodels.models.dcgan import Dcgan
from bigmodels.models.dlinear import DLinear
from bigmodels.models.gpt import Gpt, ModernGpt
from bigmodels.models.mlp import Linear, Mlp
from bigmodels.models.mobilenet import MobileNetV1, MobileNetV2
from bigmodels.models.patch_tst import PatchTst
from bigmodels.models.recommenders import Dlrm, MatrixFactorization, NeuMf, TwoTower
from bigmodels.models.recurrent import RecurrentClassifier, RecurrentLanguageModel
from bigmodels.models.recurrent_series import RecurrentForecaster, SeriesClassifier
from bigmodels.models.resnet import CifarResNet, ResNet
from bigmodels.models.sasrec import SasRec
from bigmodels.models.stylegan import StyleGan
from bigmodels.models.tcn import Tcn
from bigmodels.models.tgcn import Tgcn
from bigmodels.models.transformer import Transformer
from bigmodels.models.vgg import Vgg
from bigmodels.models.vit import Vit, VitB, VitL, VitS, VitTi

__all__ = ['ActorCritic', 'Airbench', 'Autoencoder', 'Bert', 'BertClassifier',
           'CifarResNet', 'Cnn', 'DLinear', 'Dcgan', 'DeepSvdd', 'Dlrm', 'Gpt',
           'Linear', 'MaskedBert', 'MatrixFactorization', 'Mlp', 'MobileNetV1',
           'MobileNetV2', 'ModernGpt', 'NatureCnn', 'NeuMf', 'PatchTst', 'QNetwork',
           'RecurrentClassifier', 'RecurrentForecaster', 'RecurrentLanguageModel',
           'ResNet', 'SasRec', 'SeriesClassifier', 'StyleGan', 'Tcn', 'Tgcn',
           'Transformer', 'TwoTower', 'Vgg', 'Vit', 'VitB', 'VitL', 'VitS', 'VitTi']
