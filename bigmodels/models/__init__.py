"""Models: Flax Linen modules, one family a file; no losses, no data, no sharding."""

from bigmodels.models.airbench import Airbench
from bigmodels.models.bert import Bert, BertClassifier, MaskedBert
from bigmodels.models.cnn import Cnn
from bigmodels.models.gpt import Gpt, ModernGpt
from bigmodels.models.mlp import Linear, Mlp
from bigmodels.models.recurrent import RecurrentClassifier, RecurrentLanguageModel
from bigmodels.models.transformer import Transformer
from bigmodels.models.vit import Vit, VitB, VitL, VitS, VitTi

__all__ = ['Airbench', 'Bert', 'BertClassifier', 'Cnn', 'Gpt', 'Linear', 'MaskedBert',
           'Mlp', 'ModernGpt', 'RecurrentClassifier', 'RecurrentLanguageModel',
           'Transformer', 'Vit', 'VitB', 'VitL', 'VitS', 'VitTi']
