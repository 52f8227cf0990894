"""Every experiment, two steps long and small; on made data where its own is far."""

import dataclasses
import json

import numpy as np
import pytest

from bigmodels import data
from bigmodels.config import Duration, resolving
from bigmodels.data import texts
from tests.data import objects
from tests.data.boxes import written as boxes
from tests.data.folders import captioned, masked, people, written
from tests.data.recordings import digits
from tests.data.recordings import written as recordings
from tests.data.tfds import prepared
from tests.environments import libraries

SHAPES = dict.fromkeys(
  ('mnist_cnn', 'mnist_dcgan', 'mnist_ddpm', 'mnist_stylegan'),
  (28, 28, 1)) | dict.fromkeys(
  ('cifar_cnn', 'cifar_flow', 'cifar_mobilenet', 'cifar_resnet', 'cifar_speedrun',
   'cifar_transfer', 'cifar_vgg', 'cifar_vit', 'cifar_zeroshot'), (32, 32, 3))
SMALL_GPT = {'length': '32', 'model.depth': '2', 'model.width': '32',
             'model.heads': '2', 'model.vocabulary': '300'}
AGENTS = {'cartpole_a2c': ('gymnax', 'rlax'), 'cartpole_dqn': ('gymnax', 'rlax'),
          'pong_dqn': ('gymnasium', 'ale_py', 'cv2', 'rlax')}
SPEECH = {'an4_ctc': ('jiwer',), 'spoken_digit_conformer': ('jiwer',),
          'speech_commands': ('soundfile', 'soxr'),
          'arctic_tacotron': ('soundfile', 'soxr')}
DETECTION = ('bccd_centernet', 'bccd_ssd', 'coco_centernet', 'digits_yolo')
SMALL_TACOTRON = {'width': '8', 'decoder': '8', 'model.prenet': '8',
                  'task.seconds': '0.1', 'task.iterations': '2'}
SMALL_UNET = {'width': '8', 'model.multipliers': '(1, 1)', 'model.attention': '(1,)',
              'model.blocks': '1', 'model.zero_init': 'False', 'steps': '2'}
SMALL_SRGAN = {'width': '4', 'depth': '1', 'patch': '4'}
SMALL_STYLE = {'size': '40', 'style_size': '32', 'model.features.width': '2'}
# What makes a large experiment small: the same code, fewer of everything.
OVERRIDES = {
  'bccd_centernet': {'width': '4', 'size': '(32, 64)'},
  'bccd_ssd': {'multiplier': '0.1', 'width': '8', 'size': '(64, 64)',
               'model.strides': '(32,)'},
  'coco_centernet': {'width': '4', 'size': '(32, 64)'},
  'digits_yolo': {'width': '4', 'canvases': '16', 'model.strides': '(8, 32)'},
  'cifar_flow': SMALL_UNET,
  'digits_ddpm': SMALL_UNET,
  'mnist_ddpm': SMALL_UNET,
  'cifar_mobilenet': {'model.multiplier': '0.25'},
  'cifar_resnet': {'model.width': '4', 'model.depth': '8'},
  'cifar_speedrun': {'model.widths': '(8, 8, 8)'},
  'cifar_transfer': {'model.width': '4'},
  'cifar_vgg': {'model.width': '4', 'model.depth': '11'},
  'cifar_vit': {'width': '24', 'depth': '2'},
  'cifar_zeroshot': {'width': '16', 'model.image.widths': '(4, 4)',
                     'model.image.hidden': '(8,)'},
  'bccd_unet': {'width': '4', 'halvings': '1', 'patch': '16'},
  'mask_folder': {'width': '4', 'halvings': '1', 'patch': '16'},
  'pneumonia_resnet': {'width': '4', 'depth': '8'},
  'cartpole_a2c': {'num_environments': '8'},
  'cartpole_dqn': {'learner.min_replay_size': '1'},
  'pong_dqn': {'num_environments': '8', 'learner.min_replay_size': '1',
               'learner.replay_capacity': '64',
               'evals.validation.source.count': '8', 'evals.test.source.count': '8',
               **{f'{split}.source.environment.max_episode_steps': '20' for split in (
                 'train', 'evals.validation', 'evals.test')}},
  'babi_memory': {'width': '8'},
  'bert_mlm': {'width': '32', 'depth': '1', 'length': '32'},
  'camrest_gpt': {'width': '32', 'depth': '1', 'vocabulary': '300', 'length': '64',
                  'prompt': '8'},
  'dialog_gpt': {'width': '32', 'depth': '1', 'vocabulary': '300', 'length': '32'},
  'dialog_selection': {'width': '32', 'length': '16'},
  'digits_stylegan': {'model.width': '4', 'model.mapping': '1'},
  'mnist_stylegan': {'model.width': '4', 'model.mapping': '1', 'model.halvings': '1'},
  'imagenet_resnet50': {'model.width': '4', 'model.zero_init': 'False', 'size': '32',
                        'shorter': '36'},
  'image_folder': {'model.width': '4'},
  'imagenet_vit_s16': {'model.width': '24', 'model.depth': '2', 'model.heads': '2',
                       'size': '32', 'shorter': '36'},
  'gpt2_124m': SMALL_GPT | {'accumulate': '2'},
  'gpt3_175b': SMALL_GPT,
  'gpt_python': {'length': '32', 'width': '32', 'depth': '1', 'vocabulary': '300'},
  'shakespeare_gpt': {'width': '32', 'depth': '1'},
  'squad_bert': {'width': '32', 'depth': '1', 'length': '64', 'stride': '8'},
  'squad_mlm': {'width': '32', 'depth': '1', 'length': '32'},
  'sst2_bert': {'width': '32', 'depth': '1'},
  'sst2_lstm': {'width': '32'},
  'translate_en_de': {'width': '32', 'hidden': '64', 'depth': '1'},
  'games_sasrec': {'width': '8', 'depth': '1', 'length': '8'},
  'movielens_mf': {'width': '8'},
  'movielens_neumf': {'width': '8'},
  'etth1_dlinear': {'days': '(4, 2, 2)', 'length': '24', 'horizon': '4'},
  'etth1_patchtst': {'days': '(4, 2, 2)', 'length': '24', 'horizon': '4'},
  'traffic_gru': {'graph': 'True', 'width': '4'},
  'stocks_lstm': {'width': '4'},
  'an4_ctc': {'width': '16', 'depth': '1', 'beams': '2'},
  'speech_commands': {'model.widths': '(4, 4)', 'model.hidden': '(8,)', 'rate': '4000',
                      'seconds': '0.2'},
  'spoken_digit_conformer': {'width': '16', 'depth': '1', 'strings': '24',
                             'model.channels': '4'},
  'digits_wavenet': {'length': '64', 'width': '4', 'skip': '4', 'depth': '3',
                     'stacks': '1'},
  'lfw_facenet': {'channels': '4', 'size': '24'},
  'flickr8k_caption': {'width': '16', 'channels': '4', 'depth': '1', 'size': '32',
                       'vocabulary': '270', 'length': '8', 'beams': '2'},
  'flickr8k_siglip': {'width': '16', 'channels': '4', 'depth': '1', 'size': '32',
                      'vocabulary': '100', 'length': '8'},
  'espcn_x3': {'model.widths': '(4,)', 'patch': '8'},
  'edsr_x2': {'width': '4', 'depth': '1', 'patch': '8'},
  'srgan_x4': SMALL_SRGAN | {'model.discriminator.width': '2',
                             'model.discriminator.hidden': '4'},
  'srresnet_x4': SMALL_SRGAN,
  'style_fast': SMALL_STYLE | {'patch': '32', 'width': '4', 'depth': '1'},
  'style_gatys': SMALL_STYLE | {'photographs': 'sr/set14'},
  'digits_unet': {'width': '4', 'halvings': '1', 'train.source.counts': "{'train': 24}",
                  'evals.test.source.counts': "{'test': 9}"},
  'digits_tacotron': SMALL_TACOTRON,
  'arctic_tacotron': SMALL_TACOTRON,
}


def _texts(folder) -> None:
  """Files as the experiments on text want them, of words drawn at random."""
  rng = np.random.default_rng(0)
  words = np.array(['a', 'dog', 'runs', 'over', 'the', 'green', 'field', 'and', 'some'])

  def lines(count):
    return [' '.join(rng.choice(words, rng.integers(3, 9))) for _ in range(count)]

  for name, files in {'sst2': ('train', 'dev', 'test'), 'multi30k': (
    'train', 'val', 'test_2016_flickr')}.items():
    (folder / name).mkdir()
    for file in files:
      if name == 'sst2':
        rows = [f'{line},{i % 2}' for i, line in enumerate(lines(48))]
        (folder / name / f'{file}.csv').write_text('\n'.join(['text,label', *rows]))
      for language in ('en', 'de') * (name == 'multi30k'):
        (folder / name / f'{file}.{language}').write_text('\n'.join(lines(200)) + '\n')
  (folder / 'text.txt').write_text('\n'.join(lines(500)))


def _interactions(folder) -> None:
  """Ratings of films, and games in the order of time, as those that are downloaded."""
  rng = np.random.default_rng(0)
  pairs = rng.choice(40 * 30, 600, replace=False)
  lines = [f'{pair // 30}\t{pair % 30}\t{rng.integers(1, 6)}\t{time}\n'
           for time, pair in enumerate(pairs)]
  (folder / 'ml-100k').mkdir()
  for name, part in (('u.data', lines), ('u1.base', lines[:480]), (
    'u1.test', lines[480:])):
    (folder / 'ml-100k' / name).write_text(''.join(part))
  (folder / 'Video.txt').write_text(''.join(
    f'{pair // 30} {pair % 30}\n' for pair in pairs))


def _imagenet(folder) -> None:
  """Pictures of many sizes and 1,000 classes, as TFDS prepares ImageNet."""
  rng = np.random.default_rng(0)

  def records(count):
    sizes = rng.integers(30, 60, (count, 2))
    return [prepared.record(
      prepared.jpeg(rng.integers(0, 256, (*size, 3), dtype=np.uint8)),
      37 * i % 1000, f'n{i}.JPEG') for i, size in enumerate(sizes)]

  prepared.write(folder, {'train': records(40), 'validation': records(10)},
                 name='imagenet2012', classes=tuple(f'n{i:08}' for i in range(1000)),
                 shape=('-1', '-1', '3'))


def _patients(folder) -> None:
  """Rows with the columns of the Cleveland data."""
  names = ('age', 'sex', 'cp', 'trestbps', 'chol', 'fbs', 'restecg', 'thalach', 'exang',
           'oldpeak', 'slope', 'ca', 'thal', 'num')
  rows = np.random.default_rng(0).integers(0, 4, (80, len(names))).tolist()
  (folder / 'heart').mkdir()
  (folder / 'heart' / 'cleveland.csv').write_text('\n'.join(
    ','.join(map(str, row)) for row in (names, *rows)))


def _xrays(folder) -> None:
  """Noise as the files of MedMNIST have it."""
  rng = np.random.default_rng(0)
  (folder / 'pneumonia').mkdir()
  np.savez(folder / 'pneumonia/pneumoniamnist.npz', **{
    key: value for name, count in (('train', 24), ('val', 9), ('test', 9))
    for key, value in (
      (f'{name}_images', rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)),
      (f'{name}_labels', (np.arange(count) % 2).astype(np.uint8)[:, None]))})


def _cells(folder) -> None:
  """Noise with boxes, as TFDS prepares BCCD."""
  objects.write(folder, {'train': 10, 'validation': 4, 'test': 4}, shape=(40, 56))


def _masked(folder) -> None:
  """Pictures of several sizes, and masks of three classes."""
  for index in range(30):
    masked.write(folder, f'{index}', index, shape=(33 + index % 3, 40))


def _photos(folder) -> None:
  """Pictures of many sizes and two classes, as files."""
  for index in range(60):
    name = f'photos/{"ab"[index % 2]}/{index}.png'
    written.write(folder, [name], index, shape=(20 + index, 70 - index))


def _series(folder) -> None:
  """Files of series as the experiments want them, random walks."""
  rng = np.random.default_rng(0)
  days = np.arange('2013-12-01', '2016-01-04', dtype='datetime64[D]').astype(str)
  hours = np.arange('2020-01-01T00', '2020-01-10T00', dtype='datetime64[h]').astype(
    'datetime64[s]').astype(str)
  prices = [f'{day},{share},' + ','.join(f'{x:.4f}' for x in rng.uniform(50, 99, 6))
            for share in 'AB' for day in days]
  files = {
    'ett/ETTh1.csv': ['date,a,b', *(f'{hour},{x:.3f},{y:.3f}' for hour, (x, y) in zip(
      hours, rng.normal(size=(len(hours), 2)).cumsum(0), strict=True))],
    'los_loop/los_speed.csv': ['1,2,3', *(f'{x:.2f},{y:.2f},{z:.2f}' for x, y, z in (
      rng.uniform(20, 70, (2016, 3))))],
    'los_loop/los_adj.csv': ['1,0.5,0', '0.5,1,0', '0,0,1'],
    'stocks/prices.csv': ['date,symbol,open,high,low,close,adj_close,volume', *prices]}
  for name, lines in files.items():
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text('\n'.join(lines) + '\n')


def _cepstra(folder) -> None:
  """Transcribed cepstra of noise."""
  rng = np.random.default_rng(0)
  for split in ('train', 'test'):
    recordings.features(folder / 'an4', rng.integers(20, 60, 24),
                        rng.choice(['AB', 'B A', 'BAB'], 24), split)


def _sounds(folder) -> None:
  """Words and sentences in tables, of noise."""
  import soundfile

  rng = np.random.default_rng(0)
  rows = [{'file': f'{i}.wav', 'word': 'ab'[i % 2], 'text': 'ab'[: 1 + i % 2],
           'split': ('train', 'validation', 'test')[i % 3]} for i in range(60)]
  for name in ('arctic_voice', 'speech_commands_ar'):
    recordings.table(folder / name / 'index.csv', rows)
    for row in rows:
      soundfile.write(folder / name / row['file'], rng.uniform(-0.5, 0.5, 800), 4000)


def _questions(folder) -> None:
  """Files as the experiments on questions and dialogues want them."""
  rng = np.random.default_rng(0)
  words = np.array(['dog', 'cat', 'runs', 'sleeps', 'here', 'there', 'today'])

  def text(count):
    return ' '.join(rng.choice(words, count))

  for name in ('babi', 'squad', 'dailydialog_pp', 'camrest'):
    (folder / name).mkdir()
  for split in ('train', 'test'):
    (folder / f'babi/qa1_{split}.txt').write_text(''.join(
      f'1 {text(3)}.\n2 {text(4)}.\n3 {text(3)}?\t{words[i % 3]}\t1\n'
      for i in range(60)))
  contexts = [text(40 + i % 9) for i in range(40)]
  (folder / 'squad/train_contexts.csv').write_text('\n'.join(
    ['context,text', *(f'{i},{each}' for i, each in enumerate(contexts))]))
  (folder / 'squad/train_questions.csv').write_text('\n'.join(
    ['context,question,answer,first_token,last_token', *(
      f'{i},{text(4)} ?,{" ".join(each.split()[i : i + 2])},{i},{i + 1}'
      for i, each in enumerate(contexts))]))
  (folder / 'squad/test.json').write_text(json.dumps({'data': [{'paragraphs': [
    {'context': each, 'qas': [{'id': str(i), 'question': text(3), 'answers': [
      {'text': each[:5], 'answer_start': 0}]}]} for i, each in enumerate(contexts)]}]}))
  (folder / 'dailydialog_pp/positives.jsonl').write_text('\n'.join(json.dumps(
    {'context': [f'{i} {text(4)}', text(3)], 'positive_responses': [text(6), text(9)]})
    for i in range(100)))
  turn = {'usr': {'transcript': text(4), 'slu': [
    {'act': 'inform', 'slots': [['food', 'thai']]}]}, 'sys': {'sent': text(5)}}
  (folder / 'camrest/CamRest676.json').write_text(json.dumps(
    [{'dial': [turn] * 2}] * 40))


def _enlarged(folder) -> None:
  """Pictures of many sizes, to be made smaller."""
  for name in ('t91', 'bsd_train', 'set5', 'set14'):
    for index in range(8):
      written.write(folder, [f'sr/{name}/{index}.png'], len(name) * 10 + index,
                    shape=(32 + index, 40 - index))


def _rectangles(folder) -> None:
  """Pictures of rectangles, as TFDS prepares BCCD and COCO."""
  for name in ('bccd', 'coco/2017'):
    boxes.tfds(folder, name, {'train': 10, 'validation': 4, 'test': 3})


def _paintings(folder) -> None:
  """Photographs, and the paintings whose style they take."""
  _enlarged(folder)
  written.write(folder, ['style/paintings/starry_night.jpg'], shape=(50, 40))


# What writes the files of experiments whose data is a download.
FILES = {
  **dict.fromkeys(('bert_mlm', 'gpt2_124m', 'gpt3_175b', 'gpt_python',
                   'shakespeare_gpt', 'sst2_bert', 'sst2_lstm', 'translate_en_de'),
                  _texts),
  **dict.fromkeys(('imagenet_resnet50', 'imagenet_vit_s16'), _imagenet),
  **dict.fromkeys(('edsr_x2', 'espcn_x3', 'srgan_x4', 'srresnet_x4'), _enlarged),
  **dict.fromkeys(('bccd_centernet', 'bccd_ssd', 'coco_centernet'), _rectangles),
  **dict.fromkeys(('style_fast', 'style_gatys'), _paintings),
  'heart_mlp': _patients,
  'lfw_facenet': lambda folder: people.write(folder / 'lfw', 24),
  **dict.fromkeys(('flickr8k_caption', 'flickr8k_siglip'),
                  lambda folder: captioned.write(folder / 'flickr8k')),
  'bccd_unet': _cells,
  'mask_folder': _masked,
  'pneumonia_resnet': _xrays,
  'image_folder': _photos,
  **dict.fromkeys(('games_sasrec', 'movielens_mf', 'movielens_neumf'), _interactions),
  **dict.fromkeys(('etth1_dlinear', 'etth1_patchtst', 'stocks_lstm', 'traffic_gru'),
                  _series),
  **dict.fromkeys(('babi_memory', 'camrest_gpt', 'dialog_gpt', 'dialog_selection',
                   'squad_bert', 'squad_mlm'), _questions),
  'an4_ctc': _cepstra,
  **dict.fromkeys(('arctic_tacotron', 'speech_commands'), _sounds),
  **dict.fromkeys(('digits_tacotron', 'digits_wavenet', 'spoken_digit_conformer'),
                  digits.write),
}


def small(name: str, folder):
  """The experiment, two steps long, on made data where its own is a download."""
  overrides = OVERRIDES.get(name, {})
  if name in AGENTS:
    libraries.require(*AGENTS[name])
    experiment = resolving.resolve(name, overrides).experiment
    return dataclasses.replace(experiment, duration=Duration(steps=2))
  for library in SPEECH.get(name, ()):
    pytest.importorskip(library, reason=f'{library} is not installed: pip install -r '
                                        'requirements-audio.txt')
  if name in DETECTION:
    pytest.importorskip('pycocotools', reason='pycocotools is not installed: pip '
                                              'install -r requirements-detection.txt')
  if name in FILES:
    FILES[name](folder)
  if name.startswith('gpt'):
    overrides = {'path': str(folder / 'text.txt'), **overrides}
  experiment = resolving.resolve(name, overrides).experiment
  every = {'train': experiment.train, **experiment.evals}
  if name in OVERRIDES:
    rows = 8 * experiment.accumulate
    every = {k: dataclasses.replace(b, batch_size=rows, workers=0)
             for k, b in every.items()}
  if name == 'shakespeare_gpt':
    every = {k: dataclasses.replace(b, source=dataclasses.replace(
      b.source, documents=texts.TextFiles(str(folder / 'text.txt')), selected=k))
      for k, b in every.items()}
  if name in SHAPES:
    rng = np.random.default_rng(0)

    def noise(source):
      made = data.Arrays(
        inputs=rng.integers(0, 256, (40, *SHAPES[name]), dtype=np.uint8),
        labels=np.arange(40) % 4)
      return source.around(made) if isinstance(source, data.ClassCaptions) else made

    every = {k: dataclasses.replace(b, batch_size=8, source=noise(b.source))
             for k, b in every.items()}
  return dataclasses.replace(
    experiment, train=every.pop('train'), evals=every, duration=Duration(steps=2))
