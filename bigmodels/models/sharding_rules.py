"""Rules that shard the parameters of models along `tensor`: an experiment's `rules`.

Models contain no sharding: the rules match the names of their parameters.
"""

from bigmodels.parallel.sharding import Rule

# The dense layers of `models.Mlp`, also as the head of `models.Cnn`, and those of
# `models.Autoencoder` and `models.DeepSvdd`: every other layer
# is sharded along its outputs and the next along its inputs, so that two layers need
# one all-reduce. Convolutions are sharded along their outputs.
MLP = (
  Rule(r'(.*/)?Dense_\d*[02468]/kernel', (None, 'tensor')),
  Rule(r'(.*/)?Dense_\d*[02468]/bias', ('tensor',)),
  Rule(r'(.*/)?Dense_\d*[13579]/kernel', ('tensor', None)),
  Rule(r'(.*/)?Dense_\d*[13579]/bias', (None,)),
  Rule(r'(.*/)?BatchNorm_\d+/(scale|bias)', (None,)),
)
# `conv`, `norm` and `head` are those of `models.ResNet` and MobileNet.
CNN = (
  Rule(r'Conv_\d+/kernel', (None, None, None, 'tensor')),
  Rule(r'Conv_\d+/bias', ('tensor',)),
  Rule(r'(.*/)?conv/kernel', (None, None, None, 'tensor')),
  Rule(r'(.*/)?norm/(scale|bias)', (None,)),
  Rule(r'head/kernel', ('tensor', None)),
  Rule(r'head/bias', (None,)),
  *MLP,
)
# `models.Vgg`.
VGG = (
  Rule(r'features/conv\d_\d/kernel', (None, None, None, 'tensor')),
  Rule(r'features/conv\d_\d/bias', ('tensor',)),
  Rule(r'features/norm\d_\d/(scale|bias)', (None,)),
  *MLP,
)

# The same as networks of embeddings, also within `models.WithPrototypes`.
EMBEDDING = (
  Rule(r'prototypes', (None, 'tensor')),
  Rule(r'network/head/kernel', ('tensor', None)),
  Rule(r'network/head/bias', (None,)),
  *CNN,
)

# `models.Espcn`, `models.Edsr` and `models.SrResNet`: convolutions are sharded along
# their outputs, except the head, which has one.
SUPER_RESOLUTION = (
  Rule(r'head/kernel', (None, None, 'tensor', None)),
  Rule(r'head/bias', (None,)),
  Rule(r'\w+_norm/(scale|bias)', (None,)),
  Rule(r'\w+_prelu/negative_slope', ()),
  Rule(r'\w+/kernel', (None, None, None, 'tensor')),
  Rule(r'\w+/bias', ('tensor',)),
)

# `models.SrGan`: as its parts; the dense layers of the discriminator in turn along
# their outputs and their inputs.
SRGAN = (
  *VGG,
  Rule(r'generator/head/kernel', (None, None, 'tensor', None)),
  Rule(r'generator/head/bias', (None,)),
  Rule(r'generator/\w+_prelu/negative_slope', ()),
  Rule(r'discriminator/hidden/kernel', (None, 'tensor')),
  Rule(r'discriminator/logit/kernel', ('tensor', None)),
  Rule(r'discriminator/logit/bias', (None,)),
  Rule(r'(generator|discriminator)/\w+_norm/(scale|bias)', (None,)),
  Rule(r'(generator|discriminator)/\w+/kernel', (None, None, None, 'tensor')),
  Rule(r'(generator|discriminator)/\w+/bias', ('tensor',)),
)

# `models.CenterNet`, `models.Ssd` and `models.Yolo`, on any body: the heads have few
# outputs, and are sharded along their inputs.
DETECTION = (
  Rule(r'(centres|sizes|offsets|classes|objects|boxes)\d*/kernel',
       (None, None, 'tensor', None)),
  Rule(r'(centres|sizes|offsets|classes|objects|boxes)\d*/bias', (None,)),
  Rule(r'(.*/)?conv/kernel', (None, None, None, 'tensor')),
  Rule(r'(.*/)?norm/(scale|bias)', (None,)),
)

# `models.StyleTransfer`, with `models.Pictures` or `models.StyleNet`.
STYLE_TRANSFER = (
  *VGG,
  Rule(r'network/pictures', (None,) * 4),
  Rule(r'network/\w+_conv/kernel', (None, None, None, 'tensor')),
  Rule(r'network/\w+_norm/(scale|bias)', (None,)),
  Rule(r'network/last/kernel', (None, None, 'tensor', None)),
  Rule(r'network/last/bias', (None,)),
)

# `models.SegmentationUnet`; the outputs of a transposed convolution come third.
SEGMENTATION = (
  Rule(r'enlarge\d+/kernel', (None, None, 'tensor', None)),
  Rule(r'enlarge\d+/bias', ('tensor',)),
  *CNN,
)

# `models.Gpt`, `models.Transformer`, `models.Vit` and the heads of `models.Bert`. The
# parameters of a block have an axis of the depth before their own. Its input layers are
# sharded along their outputs and its output layers along their inputs: two all-reduces
# a block. Each device has some of the heads; keys and values of fewer heads than
# devices are sharded within a head, which costs more all-reduces. Embeddings are
# sharded along their width, which divides where a vocabulary may not.
TRANSFORMER = (
  Rule(r'(.*/)?block/(attention|cross)/(query|key|value)/kernel',
       (None, None, 'tensor')),
  Rule(r'(.*/)?block/(attention|cross)/(query|key|value)/bias', (None, 'tensor')),
  Rule(r'(.*/)?block/feed_forward/(in|gate)/kernel', (None, None, 'tensor')),
  Rule(r'(.*/)?block/feed_forward/(in|gate)/bias', (None, 'tensor')),
  Rule(r'(.*/)?block/(attention|cross|feed_forward)/out/kernel',
       (None, 'tensor', None)),
  Rule(r'(.*/)?block/(attention|cross|feed_forward)/out/bias', (None, None)),
  Rule(r'(.*/)?block/(attention|cross|feed_forward)_norm/(scale|bias)', (None, None)),
  Rule(r'(.*/)?(tokens|positions|sentences)/embedding', (None, 'tensor')),
  Rule(r'(encoder/)?((encoder|decoder)_)?norm/(scale|bias)', (None,)),
  Rule(r'(patches|pooler|transform)/kernel', (None, 'tensor')),
  Rule(r'(patches|pooler|transform)/bias', ('tensor',)),
  Rule(r'head/kernel', ('tensor', None)),
  Rule(r'(head/)?bias|class_token', (None,)),
)
# `models.DualEncoder`.
DUAL_ENCODER = (
  Rule(r'(context|response)_head/kernel', ('tensor', None)),
  Rule(r'log_scale', ()),
  Rule(r'encoder/weights', (None,)),
  *TRANSFORMER,
)

# `models.Clip`: an encoder of texts, a network of images without its head, two heads.
CLIP = (
  Rule(r'(image|text)_head/kernel', ('tensor', None)),
  Rule(r'log_scale|bias', ()),
  Rule(r'image/patches/kernel', (None, 'tensor')),
  Rule(r'image/patches/bias', ('tensor',)),
  Rule(r'image/(norm/(scale|bias)|class_token)', (None,)),
  Rule(r'image/Conv_\d+/kernel', (None, None, None, 'tensor')),
  Rule(r'image/Conv_\d+/bias', ('tensor',)),
  Rule(r'encoder/weights', (None,)),
  *TRANSFORMER,
  *CNN,
)
# `models.Captioner`.
CAPTIONER = (
  Rule(r'places/kernel', (None, 'tensor')),
  Rule(r'places/bias', ('tensor',)),
  Rule(r'image_norm/(scale|bias)', (None,)),
  *CLIP,
)

# `models.Conformer` and `models.SpeechTransformer`. The convolutions are whole on every
# device: the halves of a gate would lie on different ones.
SPEECH = (
  Rule(r'stack/block/(first|second)/in/kernel', (None, None, 'tensor')),
  Rule(r'stack/block/(first|second)/in/bias', (None, 'tensor')),
  Rule(r'stack/block/(first|second)/out/kernel', (None, 'tensor', None)),
  Rule(r'stack/block/(first|second)/out/bias', (None, None)),
  Rule(r'stack/block/((first|second|convolution)_)?norm/(scale|bias)', (None, None)),
  Rule(r'stack/block/convolution/depthwise/kernel', (None,) * 5),
  Rule(r'stack/block/convolution/(in|out)/kernel', (None, None, None)),
  Rule(r'stack/block/convolution/(in|out|depthwise)/bias', (None, None)),
  Rule(r'stack/block/convolution/norm/(scale|bias)', (None, None)),
  Rule(r'subsampling/conv_\d+/kernel', (None, None, None, 'tensor')),
  Rule(r'subsampling/conv_\d+/bias', ('tensor',)),
  Rule(r'subsampling/out/kernel', ('tensor', None)),
  Rule(r'subsampling/out/bias', (None,)),
  Rule(r'ctc/kernel', ('tensor', None)),
  Rule(r'ctc/bias', (None,)),
  *TRANSFORMER,
)

# `models.WaveNet`. The layers are narrow: they are whole on every device.
WAVENET = (
  Rule(r'(levels|levels_before|classes)/embedding', (None, None)),
  Rule(r'(gates|class|residual)_\d+/kernel', (None, None)),
  Rule(r'(gates|residual)_\d+/bias', (None,)),
  Rule(r'(skip|head)/kernel', (None, 'tensor')),
  Rule(r'(skip|head)/bias', ('tensor',)),
  Rule(r'hidden/kernel', ('tensor', None)),
  Rule(r'hidden/bias', (None,)),
)

# `models.Tacotron`. The loop over steps has no all-reduce.
TACOTRON = (
  Rule(r'embedding/embedding', (None, 'tensor')),
  Rule(r'(encoder|postnet_layers)/conv_\d+/kernel', (None, None, None, 'tensor')),
  Rule(r'(encoder|postnet_layers)/norm_\d+/(scale|bias)', (None,)),
  Rule(r'(forward|backward)/(input|recurrent)_kernel', (None, None)),
  Rule(r'(forward|backward)/bias', (None,)),
  Rule(r'prenet_layers_0/kernel', (None, 'tensor')),
  Rule(r'prenet_layers_0/bias', ('tensor',)),
  Rule(r'prenet_layers_1/kernel', ('tensor', None)),
  Rule(r'prenet_layers_1/bias', (None,)),
  Rule(r'(given|memory|frame|stop)/kernel', (None, None)),
  Rule(r'(frame|stop)/bias', (None,)),
  Rule(r'cell/location_filters', (None,) * 4),
  Rule(r'cell/(.*_kernel|query|location|energy)', (None, None)),
  Rule(r'cell/.*_bias', (None,)),
)

# `models.MatrixFactorization` and the other models of users and items: the rows of
# their tables are sharded along `fsdp`, vectors along `tensor`. The tables have a
# multiple of 64 rows. Dense layers are small, and replicated.
RECOMMENDER = (
  Rule(r'\w*biases/embedding', ('fsdp', None)),
  Rule(r'\w+/embedding', ('fsdp', 'tensor')),
  Rule(r'\w+/kernel', (None, None)),
  Rule(r'\w+/bias', (None,)),
)
# `models.SasRec`: the items as above, the rest as in other transformers.
SASREC = (Rule(r'items/embedding', ('fsdp', 'tensor')), *TRANSFORMER)
