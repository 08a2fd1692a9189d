"""A grid's results with known effects, written without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dual_data.evaluation.attack_results import LAYOUT, attack_path
from dual_data.evaluation.report.analysis.runs import Group, Run
from dual_data.evaluation.results import FORMAT, ItemRow, Result, Training, Wording, write_result
from dual_data.ids import digest

LRS = (1e-5, 1e-4, 1e-3)
SFT: dict[str, Any] = {"train": ["forget", "retain_train", "retain_eval"], "lr": 2e-4}
SFT_RETAIN: dict[str, Any] = SFT | {"train": ["retain_train", "retain_eval"]}
"""Recipes of the stages with these names."""
FACTS = 60
_TRAINING: Training = {
    "steps": 2, "loss": [2.0, 1.0], "parts": {}, "gradient_norm": [1.0, 7.5], "notes": {}, "token_ids": {},
}  # fmt: skip


def _row(name: str, index: int, *, hit: bool, confidence: float, popularity: float) -> ItemRow:
    """An item with the right answer or not; likelihoods follow from that."""
    score = float(hit)
    scores = {
        "rougeL_recall": score,
        "contains_answer": score,
        "exact_answer": 0.0,
        "extraction_strength": score,
        "hidden_cosine": 0.5,
        "probability": 0.8 if hit else 0.1,
        "mean_log_probability": confidence if hit else confidence - 3.0,
        "change_mean_log_probability": 0.0 if hit else -3.0,
        "change_entropy": 0.0,
        "change_log_rank": 0.0 if hit else 2.0,
        "first_rank": 1.0 if hit else 50.0,
        "kl": 0.01 if hit else 0.5,
        "truth_ratio": 0.2 if hit else 1.5,
        **{f"member_{name}": confidence + score for name in (
            "loss", "zlib", "min_k_20", "min_k_40", "min_k_plus_plus_20", "min_k_plus_plus_40",
        )},
    }  # fmt: skip
    wording: Wording = {
        "generation": "",
        "question": "?",
        "scores": {**scores, "contains_answer": 1.0 if index % 10 == 0 else score},
    }
    return {
        "id": f"{name}-{index}",
        "subject": f"{name}-subject-{index // 2}",
        "relation": "P17",
        "popularity": popularity,
        "question": f"Which <country> is {name} {index} in?",
        # Always answering "France" is right for every fifth item: the best trivial rule.
        "ground_truth": "France" if index % 5 == 0 else f"Land{index}",
        "answers": ["France"],
        "kind": "entity",
        "generation": "It is France | sure." if hit else "No idea",
        "ended": True,
        "scores": scores,
        "tokens": {"log_p": [confidence], "rank": [1], "answer_tokens": 1},
        "paraphrases": [wording],
        "attacks": [],
    }


def _rows(name: str, share: float, seed: int) -> list[ItemRow]:
    """Items of which about `share` still have their answer; which ones depends on the seed."""
    random = np.random.default_rng([seed, int(digest(name, 6), 16)])
    hits = random.random(FACTS) < share
    return [
        _row(name, index, hit=bool(hit), confidence=-0.5 - 0.01 * index, popularity=float(index))
        for index, hit in enumerate(hits)
    ]


def _panel(share: float, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and items of a panel of 40 questions, the odd ones about birds, and 3 texts."""
    random = np.random.default_rng([seed, 7])
    right, by_length = ((random.random(40) < chance).astype(int).tolist() for chance in (share, share / 2))
    kinds = {"birds": list(range(1, 40, 2)), "fish": list(range(0, 40, 2))}
    scores = {
        "given": right, "right": right, "right_by_length": by_length, "probability": [share] * 40,
        "nll": [4 + seed - share, 4.5 - share, 5 - share],
    }  # fmt: skip
    return {"name": "hard.jsonl", "hash": "h", "guessing": 0.25}, {"kinds": kinds, **scores}


def write_cell(
    folder: Path,
    *,
    stage: str = "pretrained",
    forget_set: str = "rare",
    method: str = "none",
    lr: float = 0.0,
    seed: int = 0,
    forget: float,
    retain: float,
    status: str = "done",
    recipe: dict[str, Any] | None = None,
    retain_rows: str = "held out",
    more: Sequence[str] = (),
    limit: int | None = None,
    panel: float | None = None,
    model: str = "m",
    facts: int = FACTS,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Write one result in which these shares of the facts are still answered.

    `recipe` is that of its stage, `retain_rows` names the rows of retain_eval ("train" for those of retain_train),
    `more` are further sets, `limit` is that of the grid, `panel` the share of a utility panel that is answered,
    `facts` the number of facts to forget, and `settings` are further parts of its identity.
    """
    identifier = digest(f"{model}|{stage}|{forget_set}|{method}|{lr}|{seed}")
    items = {
        "forget": _rows(forget_set, forget, seed)[:facts],
        "retain_train": _rows("train", retain, seed),
        "retain_eval": _rows(retain_rows, retain, seed),
        **{name: _rows(name, retain, seed) for name in more},
    }
    cell = {"model": model, "data": "d", "stage": stage, "set": forget_set, "method": method}
    stage_identity = {"name": stage} | ({"recipe": recipe} if recipe else {})
    identity = {"stage": stage_identity, "data": {}, "max_new_tokens": 64, **(settings or {})}
    result: Result = {
        "format": FORMAT,
        "id": identifier,
        "base": "",
        "grid": "g",
        "cell": {**cell, "preset": "p", "profile": "chat", "lr": lr, "seed": seed},
        "status": status,
        "reason": "" if status == "done" else "loss not finite at step 3",
        "summary": {},
        "training": _TRAINING if method != "none" else None,
        "provenance": {
            "dual_data": "0",
            "packages": {"torch": "1"},
            "device": "cpu",
            "git": {"commit": "0123456789abcdef", "dirty": False},
            "model": {},
            "limit": limit,
            "identity": identity,
        },
        "items": items if status != "failed" else {},
        "run": {"gpu_hours": 0.5, "notes": ["halved"]},
    }
    if panel is not None:
        result["panel"], result["panel_items"] = _panel(panel, seed)
    write_result(folder, identifier, result)
    return identifier


def write_grid(folder: Path, *, popular_resists: bool = True, sft: dict[str, Any] | None = None) -> None:
    """Two stages, two sets, one method: popular facts are forgotten less, and after sft more is retained.

    `sft` is the recipe of that stage.
    """
    for stage, recipe, retained in (("pretrained", None, (0.9, 0.5, 0.0)), ("sft", sft, (0.9, 0.85, 0.5))):
        for forget_set in ("rare", "popular"):
            resists = popular_resists and forget_set == "popular"
            remaining = (0.9, 0.7, 0.3) if resists else (0.7, 0.25, 0.0)
            for seed in (0, 1, 2):
                place: dict[str, Any] = {"stage": stage, "recipe": recipe, "forget_set": forget_set, "seed": seed}
                write_cell(folder, **place, forget=1.0, retain=1.0, panel=0.8)
                for lr, forget, retain in zip(LRS, remaining, retained, strict=True):
                    scores: dict[str, Any] = {"forget": forget, "retain": retain, "panel": 0.3 + retain / 2}
                    write_cell(folder, **place, method="NPO", lr=lr, **scores)


def rescored(run: Run, **scores: ArrayLike) -> Run:
    """The run with other scores of its facts to forget."""
    forget = run.sets["forget"]
    arrays = {name: np.asarray(values, dtype=float) for name, values in scores.items()}
    return run._replace(sets={**run.sets, "forget": forget._replace(scores={**forget.scores, **arrays})})


OPTIONS: dict[str, dict[str, Any]] = {
    "relearning": {"lr": 1e-4, "steps": [1, 3], "share": 0.2},
    "quantisation": {"formats": ["int4"]},
    "tasks": {"tasks": ["mmlu"], "task_folder": [], "shots": 0},
}
"""Options of the attacks."""


def write_attacks(folder: Path, cell: str, results: dict[str, Any], **options: Any) -> None:
    """Write results of attacks on a cell as `dual-data eval attack` does; `options` override `OPTIONS`."""
    for attack, known in OPTIONS.items():
        if attack in results:
            attack_options = {name: options.get(name, value) for name, value in known.items()}
            path = attack_path(folder, cell, attack, attack_options)
            path.parent.mkdir(parents=True, exist_ok=True)
            sides = {name: results[name] for name in (attack, f"{attack}_before") if name in results}
            path.write_text(json.dumps({"layout": LAYOUT, "attack": attack, "options": attack_options, **sides}))


def attacked(shift: float = 0.0, more: float = 0.0) -> dict[str, Any]:
    """Results of attacks on a cell; `shift` is the gain of the control at each of two steps, `more` is what the first
    step of relearning and rounding recover in addition."""

    def point(step: int, share: float) -> dict[str, Any]:
        return {"step": step, "hits": [share] * 4, "probabilities": [0.0] * 4}

    points = [point(step, share) for step, share in ((0, 0.1), (1, 0.3 + more), (3, 0.5))]
    control = [point(step, 0.5 + shift * factor) for factor, step in enumerate((0, 1, 3))]
    return {
        "relearning": [
            {
                "tuned_on": "forget facts", "points": points, "control": control, "subjects": ["a", "b", "c", "d"],
            }
        ],
        "quantisation": {
            "int4": {
                "items": {
                    "forget": [{"id": f"rare-{index}", "rougeL_recall": 0.6 + more} for index in range(FACTS)],
                    "retain_eval": [{"id": f"held out-{index}", "rougeL_recall": 0.7} for index in range(FACTS)],
                    "base_rounded": [{"id": f"rare-{index}", "rougeL_recall": 0.9} for index in range(FACTS)],
                },
            }
        },
        "tasks": {"mmlu/acc": 0.25, "mmlu/acc_stderr": 0.05},
        "tasks_before": {"mmlu/acc": 0.4, "mmlu/acc_stderr": 0.05},
    }  # fmt: skip


def scored_before(group: Group, **scores: Sequence[Sequence[float]]) -> Group:
    """The group with other scores of the forget facts before unlearning, by seed."""
    seeds = (dict(zip(scores, of_seed, strict=True)) for of_seed in zip(*scores.values(), strict=True))
    return group._replace(before=tuple(rescored(group.before[0], **of_seed) for of_seed in seeds))
