"""A memory network on the 20 tasks of bAbI together, or any files in its format.

  python run.py --experiment=babi_memory --data_dir=DIR      # DIR holds babi/
  python run.py --experiment=babi_memory --config.folder=FOLDER

A folder has `TASK_train.txt` and `TASK_test.txt` for each task. The report shows the
error of each.

Needs: bAbI (--data_dir, files); 8 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.optim import schedules


def config(*, folder: str | None = None, epochs: float = 60, batch_size: int = 128,
           sentences: int = 50, width: int = 50, hops: int = 3, noise: float = 0.1,
           linear: int = 0, dropout: float = 0.0, learning_rate: float = 5e-3,
           seed: int = 0) -> Experiment:
  documents = texts.babi() if folder is None else texts.StoryFiles(folder)
  source = data.StoryQuestions(
    documents, tokenizers.Words(1000, special=('pad', 'unknown')), sentences)
  return Experiment(
    model=partial(models.MemoryNetwork, width=width, hops=hops, noise=noise,
                  linear=linear, dropout=dropout),
    task=tasks.story_questions,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adam, partial(schedules.warmup_cosine, peak=learning_rate, warmup=0.05))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=500)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=5),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/mean_error', goal='min'),
    seed=seed)
