"""python -m benchmarks.evaluation.study.own_words: what unlearning does to answers in the model's own words.

The right answer is scored inside the sentence in which the model gave it before unlearning, before and after it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dual_data.errors import DualDataError
from dual_data.evaluation.bootstrap import ANY, SHARE, Scale
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.own_words import own_words
from dual_data.evaluation.models.loading import Loaded, load
from dual_data.evaluation.report.collect import collect
from dual_data.evaluation.report.contrast import Contrast, Side, compare_pairs, mean_contrast, pair_facts
from dual_data.evaluation.report.findings.popularity import popular_and_rare
from dual_data.evaluation.report.runs import Group, Run, clusters, stack
from dual_data.evaluation.results import adapter_path, read_result
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import profile_named, prompt_ids
from dual_data.evaluation.settings import PRETRAINED
from dual_data.evaluation.statistics import Floats
from dual_data.evaluation.training.lora import Adapters, read_spec


def main(arguments: list[str] | None = None) -> int:
    """Print how much more popular facts lose than rare ones in pairs of equal confidence, by method and rate."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation.study.own_words", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="results of the pretrained model, with their adapters")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="bfloat16", help="as in study.toml")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    try:
        loaded = load(options.model, options.dtype, options.device)
        for folder in options.folders:
            pretrained = (group for group in collect([folder]).groups if group.key.stage == PRETRAINED)
            for popular, rare in popular_and_rare(pretrained):
                for lr in sorted(set(popular.lrs) & set(rare.lrs)):
                    print(json.dumps({"folder": str(folder)} | compare(loaded, popular, rare, lr)), flush=True)
    except DualDataError as error:
        parser.error(str(error))
    return 0


def compare(loaded: Loaded, popular: Group, rare: Group, lr: float) -> dict[str, Any]:
    """Contrasts of popular and rare facts at one learning rate, JSON-able; none for fewer than ten pairs."""
    result: dict[str, Any] = {"method": popular.key.method, "lr": lr, "seeds": len(popular.at(lr))}
    pairing = pair_facts(popular, rare)
    if pairing is None:
        return result
    groups = {"popular": popular, "rare": rare}
    figures = {name: unlearned_in_own_words(loaded, group, lr) for name, group in groups.items()}
    # Both or neither of a pair are answered by most seeds: before unlearning, this model has only one.
    answered = [
        (left, right)
        for left, right in pairing.pairs
        if np.isfinite(figures["popular"][0, 0, left] + figures["rare"][0, 0, right])
    ]
    indices = dict(zip(groups, map(list, zip(*answered, strict=True)), strict=True))
    subjects = {name: clusters(group.before, "forget") for name, group in groups.items()}

    def contrast(figure: int, scale: Scale) -> dict[str, Any]:
        sides: list[Side] = [
            (figures[name][figure][:, indices[name]], [subjects[name][index] for index in indices[name]])
            for name in groups
        ]
        return _shown(mean_contrast(sides, [*subjects.values()], scale))

    def still_likeliest(name: str) -> tuple[int, int]:
        is_lost = stack(groups[name].at(lr), "forget", "contains_answer")[:, indices[name]] == 0
        return int(is_lost.sum()), int((1 - figures[name][1][:, indices[name]])[is_lost].sum())

    return result | {
        "pairs": len(pairing.pairs),
        "answered": len(answered),
        "confidence before, popular - rare": pairing.confidence[:3],
        "recall lost": _shown(compare_pairs(popular, rare, lr, pairing)),
        "nats lost in own words": contrast(0, ANY),
        "not likeliest in own words": contrast(1, SHARE.differences),
        "begins otherwise": contrast(2, SHARE.differences),
        "texts without the answer, and those of which it is likeliest in own words": {
            name: still_likeliest(name) for name in groups
        },
    }


def unlearned_in_own_words(loaded: Loaded, group: Group, lr: float) -> Floats:
    """By how much each answer's log-probability falls, and whether it and words before are not the likeliest any more.

    [3, seeds, items]; NaN for facts that the model does not answer before unlearning. Results keep texts: a text may
    have been generated in other tokens than it is tokenised into.
    """
    rows = read_result(group.before[0].path)["items"]["forget"]
    items = [
        Item(row["id"], row["question"], row["ground_truth"], tuple(row["answers"]), row["subject"], kind=row["kind"])
        for row in rows
    ]
    profile = profile_named(group.key.profile)
    prompts = [tuple(ids) for ids in prompt_ids(loaded.tokenizer, [item.question for item in items], profile)]
    texts = loaded.tokenizer([row["generation"] for row in rows], add_special_tokens=False)["input_ids"]

    def scores(adapters: Adapters | None = None) -> Floats:
        answers = own_words(open_engine(loaded, adapters), items, prompts, texts)
        return np.array([answer or (np.nan, np.nan, np.nan) for answer in answers], dtype=float).T

    log_p_before, *_ = scores()

    def figures(run: Run) -> Floats:
        folder = adapter_path(run.path.parents[1], run.id)
        adapters = Adapters(loaded.model, read_spec(folder))
        try:
            adapters.load(folder)
            log_p, likeliest, words_likeliest = scores(adapters)
            return np.stack([log_p_before - log_p, 1 - likeliest, 1 - words_likeliest])
        finally:
            adapters.remove()

    return np.stack([figures(run) for run in group.at(lr)], axis=1)


def _shown(contrast: Contrast) -> dict[str, Any]:
    return {"popular": contrast.first[:3], "rare": contrast.second[:3], "difference": contrast.difference}


if __name__ == "__main__":
    raise SystemExit(main())
