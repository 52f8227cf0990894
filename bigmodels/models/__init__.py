"""Flax Linen modules, one family a file, and `sharding_rules` for their parameters."""

from bigmodels.models.agents import ActorCritic, NatureCnn, QNetwork
from bigmodels.models.airbench import Airbench
from bigmodels.models.anomaly import Autoencoder, DeepSvdd
from bigmodels.models.bag_of_words import BagOfWords
from bigmodels.models.bert import Bert, BertClassifier, BertSpans, MaskedBert
from bigmodels.models.captioner import Captioner
from bigmodels.models.centernet import CenterNet
from bigmodels.models.clip import Clip
from bigmodels.models.cnn import Cnn
from bigmodels.models.conformer import Conformer
from bigmodels.models.dcgan import Dcgan
from bigmodels.models.diffusion_unet import DiffusionUnet
from bigmodels.models.dit import Dit
from bigmodels.models.dlinear import DLinear
from bigmodels.models.dual_encoder import DualEncoder
from bigmodels.models.edsr import Edsr
from bigmodels.models.espcn import Espcn
from bigmodels.models.gpt import Gpt, ModernGpt
from bigmodels.models.memory import MemoryNetwork
from bigmodels.models.mlp import Linear, Mlp
from bigmodels.models.mobilenet import MobileNetV1, MobileNetV2
from bigmodels.models.patch_tst import PatchTst
from bigmodels.models.prototypes import WithPrototypes
from bigmodels.models.recommenders import Dlrm, MatrixFactorization, NeuMf, TwoTower
from bigmodels.models.recurrent import RecurrentClassifier, RecurrentLanguageModel
from bigmodels.models.recurrent_ctc import RecurrentCtc
from bigmodels.models.recurrent_series import RecurrentForecaster, SeriesClassifier
from bigmodels.models.resnet import CifarResNet, ResNet
from bigmodels.models.sasrec import SasRec
from bigmodels.models.segmentation_unet import SegmentationUnet
from bigmodels.models.speech_transformer import SpeechTransformer
from bigmodels.models.srgan import SrDiscriminator, SrGan
from bigmodels.models.srresnet import SrResNet
from bigmodels.models.ssd import Ssd
from bigmodels.models.style_transfer import Pictures, StyleNet, StyleTransfer
from bigmodels.models.stylegan import StyleGan
from bigmodels.models.tacotron import Tacotron
from bigmodels.models.tcn import Tcn
from bigmodels.models.tgcn import Tgcn
from bigmodels.models.transformer import Transformer
from bigmodels.models.vgg import CifarVggFeatures, Vgg, Vgg19Features, VggFeatures
from bigmodels.models.vit import Vit, VitB, VitL, VitS, VitTi
from bigmodels.models.wavenet import WaveNet
from bigmodels.models.yolo import Yolo

__all__ = ['ActorCritic', 'Airbench', 'Autoencoder', 'BagOfWords', 'Bert',
           'BertClassifier', 'BertSpans', 'Captioner', 'CenterNet', 'CifarResNet',
           'CifarVggFeatures', 'Clip', 'Cnn', 'Conformer', 'DLinear', 'Dcgan',
           'DeepSvdd', 'DiffusionUnet', 'Dit', 'Dlrm', 'DualEncoder', 'Edsr', 'Espcn',
           'Gpt', 'Linear', 'MaskedBert', 'MatrixFactorization', 'MemoryNetwork', 'Mlp',
           'MobileNetV1', 'MobileNetV2', 'ModernGpt', 'NatureCnn', 'NeuMf', 'PatchTst',
           'Pictures', 'QNetwork', 'RecurrentClassifier', 'RecurrentCtc',
           'RecurrentForecaster', 'RecurrentLanguageModel', 'ResNet', 'SasRec',
           'SegmentationUnet', 'SeriesClassifier', 'SpeechTransformer',
           'SrDiscriminator', 'SrGan', 'SrResNet', 'Ssd', 'StyleGan', 'StyleNet',
           'StyleTransfer', 'Tacotron', 'Tcn', 'Tgcn', 'Transformer', 'TwoTower', 'Vgg',
           'Vgg19Features', 'VggFeatures', 'Vit', 'VitB', 'VitL', 'VitS', 'VitTi',
           'WaveNet', 'WithPrototypes', 'Yolo']
