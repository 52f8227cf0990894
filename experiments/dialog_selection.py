"""Chooses the response to a dialogue: a dual encoder on DailyDialog++, or your file.

  python run.py --experiment=dialog_selection --data_dir=DIR   # DIR: dailydialog_pp/
  python run.py --experiment=dialog_selection --config.path=FILE.jsonl

A line of the file is {"context": ["Are you tired?"], "responses": ["Not really."]};
--config.context=KEY and --config.responses=KEY name other keys.

Needs: DailyDialog++ (--data_dir, files); 2 minutes on two cores.
"""

from functools import partial

import optax

from bigmodels import data, models, optim, tasks
from bigmodels.config import Duration, Experiment, Monitor
from bigmodels.data import texts, tokenizers
from bigmodels.models import sharding_rules
from bigmodels.optim import schedules


def config(*, path: str | None = None, context: str = 'context',
           responses: str = 'responses', candidates: int = 10, vocabulary: int = 4000,
           epochs: float = 8, batch_size: int = 256, length: int = 48,
           width: int = 512, dropout: float = 0.4, learning_rate: float = 1e-3,
           seed: int = 0) -> Experiment:
  documents = texts.dailydialog() if path is None else texts.DialogueFile(
    path, context, responses)
  source = data.Candidates(
    documents, tokenizers.WordPiece(vocabulary), length, candidates=candidates)
  return Experiment(
    model=partial(models.DualEncoder, width=width, dropout=0.0, encoder=partial(
      models.BagOfWords, width=width, dropout=dropout)),
    task=tasks.response_selection,
    optimizer=partial(
      optax.chain, optax.clip_by_global_norm(1.0), partial(
        optax.adamw, b2=0.98, weight_decay=0.01, mask=optim.weights,
        learning_rate=partial(schedules.warmup_linear, peak=learning_rate,
                              warmup=0.1))),
    train=data.Batches(source=source.split('train'), batch_size=batch_size),
    evals={name: data.Batches(source=source.split(name), batch_size=64)
           for name in ('validation', 'test')},
    evaluate_every=Duration(epochs=1),
    log_every=Duration(steps=50),
    duration=Duration(epochs=epochs),
    monitor=Monitor(metric='validation/hits@1', goal='max'),
    rules=sharding_rules.DUAL_ENCODER,
    seed=seed)
