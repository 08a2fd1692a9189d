"""Tasks of lm-eval, where it is installed, such as MMLU and HellaSwag, on a model in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dual_data.errors import DualDataError, InputError, UsageError
from dual_data.evaluation.models.loading import Loaded
from dual_data.system.extras import expect_installed


class TaskScores(NamedTuple):
    """Results of lm-eval for a model."""

    scores: dict[str, float]
    """Scores and their standard errors by `task/metric`."""
    items: dict[str, list[dict[str, Any]]]
    """By task, its documents in order: number (doc_id), how answers were read (filter), the value of each metric."""


def check_tasks(tasks: Sequence[str], folder: Path | None) -> None:
    """Raise MissingExtra without lm-eval, InputError for a folder that is none, UsageError for an unknown task."""
    expect_installed("lm-eval", "lm_eval")
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: no such folder of task definitions")
    known = set(_known_tasks(folder).all_tasks)
    if unknown := [task for task in tasks if task not in known and not Path(task).is_file()]:
        raise UsageError(
            f"--task: lm-eval has no task {', '.join(unknown)}; `lm-eval ls tasks` lists those it has, and "
            "--task-folder names a folder with definitions of more"
        )


def lm_eval_scores(loaded: Loaded, tasks: Sequence[str], *, folder: Path | None, shots: int, rows: int) -> TaskScores:
    """Scores of lm-eval tasks, in total and per document, after `shots` worked examples, without a chat template.

    `folder` has definitions of further tasks; a batch has `rows` contexts. Active adapters are part of the model, and
    shared parts of prompts are computed once. lm-eval finds its data in its cache or online. Raises DualDataError where
    it cannot run a task, for want of data or of a package.
    """
    import lm_eval

    from dual_data.evaluation.attacks.lm_eval_model import PrefixCachingLM

    try:
        results: dict[str, Any] = lm_eval.simple_evaluate(
            model=PrefixCachingLM(loaded, rows=rows),
            tasks=list(tasks),
            task_manager=_known_tasks(folder),
            num_fewshot=shots,
            random_seed=0,
            numpy_random_seed=0,
            bootstrap_iters=100,  # 0 would also omit the standard errors of means, which need no bootstrap
        )
    except (OSError, ImportError, LookupError, ValueError) as error:
        raise DualDataError(f"lm-eval cannot run {', '.join(tasks)}: {type(error).__name__}: {error}") from error
    scores = {
        f"{task}/{name.removesuffix(',none')}": float(value)
        for task, values in results["results"].items()
        for name, value in values.items()
        # Scores are named `metric,filter`; sample_len, the number of documents, is no score.
        if "," in name and isinstance(value, int | float)
    }
    return TaskScores(
        scores, {task: [_item(document) for document in documents] for task, documents in results["samples"].items()}
    )


@lru_cache(maxsize=1)
def _known_tasks(folder: Path | None) -> Any:
    """The tasks of lm-eval and of a folder; cached, since finding them takes many seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=None if folder is None else str(folder))


def _item(document: Mapping[str, Any]) -> dict[str, Any]:
    # Some metrics log whole answers, compared over all documents at the end: they have no number per document.
    numbers = {
        name: float(document[name])
        for name in document["metrics"]
        if isinstance(document[name], int | float | np.number | np.bool_)
    }
    return {"doc_id": document["doc_id"], "filter": document["filter"], **numbers}
