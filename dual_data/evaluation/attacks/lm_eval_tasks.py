"""Tasks of lm-eval, where it is installed: MMLU, HellaSwag and the like, on a model that is in memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dual_data.errors import MissingExtra
from dual_data.evaluation.models.loading import Loaded


class TaskScores(NamedTuple):
    """What lm-eval says of a model."""

    scores: dict[str, float]
    """Scores and their standard errors by `task/metric`."""
    items: dict[str, list[dict[str, Any]]]
    """By task, its documents in order: number (doc_id), how answers were read (filter), and what each metric gives."""


def lm_eval_scores(loaded: Loaded, tasks: Sequence[str], *, folder: Path | None, shots: int, rows: int) -> TaskScores:
    """Scores of lm-eval tasks and what they are means of, after `shots` worked examples, without a chat template.

    `folder` holds definitions of further tasks; a batch has `rows` contexts. Adapters that are on are measured with the
    model; what its questions share is computed once. Raises MissingExtra without lm-eval. Its data must be in the cache
    or reachable, which is lm-eval's affair.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingExtra("lm-eval", "lm-eval")
    import lm_eval

    from dual_data.evaluation.attacks.lm_eval_model import PrefixCachingLM

    found: dict[str, Any] = lm_eval.simple_evaluate(
        model=PrefixCachingLM(loaded, rows=rows),
        tasks=list(tasks),
        task_manager=_known_tasks(folder),
        num_fewshot=shots,
        random_seed=0,
        numpy_random_seed=0,
        bootstrap_iters=100,  # 0 would leave out the standard errors of means too, which need none
    )
    scores = {
        f"{task}/{name.removesuffix(',none')}": float(value)
        for task, values in found["results"].items()
        for name, value in values.items()
        # Scores are named `metric,filter`; the number of documents, sample_len, is no score.
        if "," in name and isinstance(value, int | float)
    }
    return TaskScores(scores, {task: [_item(one) for one in logged] for task, logged in found["samples"].items()})


@lru_cache(maxsize=1)
def _known_tasks(folder: Path | None) -> Any:
    """lm-eval's tasks and those of a folder: to find them takes it many seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=None if folder is None else str(folder))


def _item(logged: Mapping[str, Any]) -> dict[str, Any]:
    # Some metrics keep whole answers, to be compared over all documents at the end: no number of this one.
    numbers = {
        name: float(logged[name])
        for name in logged["metrics"]
        if isinstance(logged[name], int | float | np.number | np.bool_)
    }
    return {"doc_id": logged["doc_id"], "filter": logged["filter"], **numbers}
