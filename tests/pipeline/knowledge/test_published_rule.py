"""The published choice of what is known, on given answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from dual_data.engine.stage import Tools
from dual_data.errors import MissingExtra
from pipeline.probing import published_rule
from tests.pipeline import capitals
from tests.pipeline.knowledge.probed import country_of, knows, probe, probed
from tests.reference import REFERENCE, needs_reference
from tests.services.fake_model import FakeModel
from tests.tools import no_embedding


def test_the_published_rule_takes_the_sample_with_the_best_recall(tools: Tools) -> None:
    def answer(user: str, sample: int) -> str:
        good = capitals.CAPITALS[country_of(user)]
        return (
            [f"The {good} of old. And more", f"{good}\nis it", "no", "zzz"][sample % 4]
            if country_of(user) != "Peru"
            else "zzz"
        )

    rows = probe(tools, FakeModel(answer=answer), rules=("paper",))
    france = rows["France"]
    assert len(france["generations"]) == 15
    assert france["generations"][:4] == ["The Paris of old", "Paris", "no", "zzz"]
    assert france["best_generation"] == "The Paris of old"
    assert france["generation_recall"] == 1.0
    assert france["hits"] == 8
    assert france["control_known"] is None
    assert rows["Peru"]["generation_recall"] == 0.0
    assert rows["Peru"]["known"] is False


@pytest.mark.parametrize(("cosine", "known"), [(0.59, False), (0.6, False), (0.61, True)])
def test_the_published_rule_decides_by_the_cosine_of_sample_and_answer(
    tools: Tools, cosine: float, known: bool
) -> None:
    def embed(texts: Sequence[str]) -> Any:
        is_answer = [text in capitals.CAPITALS.values() for text in texts]
        return np.array([[1.0, 0.0] if answer else [cosine, (1 - cosine**2) ** 0.5] for answer in is_answer])

    model = FakeModel(answer=lambda user, _: f"{capitals.CAPITALS[country_of(user)]} of old")
    rows = probe(replace(tools, open_embedding=lambda: embed), model, rules=("paper",))
    assert {(row["embedding_similarity"], row["known"]) for row in rows.values()} == {(cosine, known)}


def test_both_rules_stand_side_by_side_and_share_the_log_probability(tools: Tools) -> None:
    data = {"models": [{"name": "m", "local": "x", "rules": ["matched", "paper"]}]}
    rows = probed(replace(tools, open_model=lambda _: FakeModel(answer=knows)), data)
    assert rows.group_by("rule").len().sort("rule").rows() == [("matched", 6), ("paper", 6)]
    assert set(rows["log_probability"]) == {-1.0}


def test_an_empty_answer_is_not_known(tools: Tools) -> None:
    for row in probe(tools, FakeModel(answer=lambda user, _: ". nothing"), rules=("paper",)).values():
        assert (row["best_generation"], row["embedding_similarity"], row["known"]) == ("", None, False)


def test_an_empty_answer_leaves_the_others_their_similarity(tools: Tools) -> None:
    def embed(texts: Sequence[str]) -> Any:
        return np.array([[1.0, 0.0] if text else [0.0, 1.0] for text in texts])

    model = FakeModel(answer=lambda user, _: ". nothing" if country_of(user) == "France" else knows(user))
    rows = probe(replace(tools, open_embedding=lambda: embed), model, rules=("paper",))
    similarities = {subject: row["embedding_similarity"] for subject, row in rows.items()}
    assert similarities == dict.fromkeys(capitals.CAPITALS, 1.0) | {"France": None}


def test_a_similarity_that_is_no_number_is_none_and_not_known(tools: Tools) -> None:
    embed = replace(tools, open_embedding=lambda: lambda texts: np.full((len(texts), 2), np.nan))
    for row in probe(embed, FakeModel(answer=knows), rules=("paper",)).values():
        assert (row["embedding_similarity"], row["known"]) == (None, False)


def test_without_an_embedding_the_published_rule_says_so_before_it_asks(tools: Tools) -> None:
    model = FakeModel(answer=knows)
    with pytest.raises(MissingExtra, match=r"pip install -e .*\[eval\]"):
        probe(replace(tools, open_embedding=no_embedding), model, rules=("paper",))
    assert model.asked == []


@needs_reference
def test_the_published_recall_is_met_exactly() -> None:
    rows = 0
    for split in ("city_forget_rare_5", "city_forget_popular_5"):
        frame = pl.read_parquet(REFERENCE / "duet" / f"{split}.parquet")
        columns = ("answer", "best_gen_Llama_8b_Instract", "gen_recall_Llama_8b_Instract")
        for answer, best, recall in frame.select(columns).iter_rows():
            assert published_rule.word_recall(answer, best) == pytest.approx(recall)
            assert published_rule.cut(best) == best.strip()
            rows += 1
    assert rows == 964
