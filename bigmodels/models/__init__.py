"""Flax Linen modules, one family a file, and `sharding_rules` for their parameters."""

from bigmodels.models.agents import ActorCritic, NatureCnn, QNetwork
from bigmodels.models.airbench import Airbench
from bigmodels.models.bert import Bert, BertClassifier, MaskedBert
from bigmodels.models.cnn import Cnn
from bigmodels.models.conformer import Conformer
from bigmodels.models.dcgan import Dcgan
from bigmodels.models.gpt import Gpt, ModernGpt
from bigmodels.models.mlp import Linear, Mlp
from bigmodels.models.mobilenet import MobileNetV1, MobileNetV2
from bigmodels.models.recurrent import RecurrentClassifier, RecurrentLanguageModel
from bigmodels.models.recurrent_ctc import RecurrentCtc
from bigmodels.models.resnet import CifarResNet, ResNet
from bigmodels.models.speech_transformer import SpeechTransformer
from bigmodels.models.stylegan import StyleGan
from bigmodels.models.tacotron import Tacotron
from bigmodels.models.transformer import Transformer
from bigmodels.models.vgg import Vgg
from bigmodels.models.vit import Vit, VitB, VitL, VitS, VitTi
from bigmodels.models.wavenet import WaveNet

__all__ = ['ActorCritic', 'Airbench', 'Bert', 'BertClassifier', 'CifarResNet', 'Cnn',
           'Conformer', 'Dcgan', 'Gpt', 'Linear', 'MaskedBert', 'Mlp', 'MobileNetV1',
           'MobileNetV2', 'ModernGpt', 'NatureCnn', 'QNetwork', 'RecurrentClassifier',
           'RecurrentCtc', 'RecurrentLanguageModel', 'ResNet', 'SpeechTransformer',
           'StyleGan', 'Tacotron', 'Transformer', 'Vgg', 'Vit', 'VitB', 'VitL', 'VitS',
           'VitTi', 'WaveNet']
