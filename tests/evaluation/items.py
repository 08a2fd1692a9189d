"""Items as a measured cell has them, made up for tests."""

from __future__ import annotations

from typing import Any

from dual_data.evaluation.results import ItemRow


def item(index: int, *, popularity: float | None = None, paraphrases: int = 0, **scores: Any) -> ItemRow:
    """An item with made-up scores; what is not given is neutral."""
    all_scores: dict[str, Any] = {
        "rougeL_recall": 0.5,
        "contains_answer": 0.0,
        "probability": 0.5,
        "truth_ratio": 0.5,
        "change_mean_log_probability": 0.0,
        "change_entropy": 0.0,
        "change_log_rank": 0.0,
        "kl": 0.0,
        "member_loss": -1.0,
        "member_zlib": -1.0,
        "member_min_k_20": -1.0,
        "member_min_k_40": -1.0,
        "member_min_k_plus_plus_20": -1.0,
        "member_min_k_plus_plus_40": -1.0,
        **scores,
    }
    return {
        "id": f"fact-{index}",
        "subject": f"subject-{index}",
        "relation": "P17",
        "popularity": popularity,
        "question": "?",
        "ground_truth": "Paris",
        "answers": ["Paris"],
        "kind": "entity",
        "generation": "",
        "ended": True,
        "scores": all_scores,
        "tokens": {"log_p": [-0.7], "rank": [1], "answer_tokens": 1},
        "paraphrases": [{"question": "?", "generation": "", "scores": dict(all_scores)} for _ in range(paraphrases)],
        "attacks": [],
    }
