"""Packed rows have the hidden states and labels that each row has alone, whatever the padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dual_data.evaluation.models.decoder import head
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.encoding import Encoded, encode
from dual_data.evaluation.rows.packing import MicroBatch, Source, one_pass, pack, shared_prefix
from dual_data.evaluation.training import training_run
from dual_data.evaluation.training.forward import hidden_at, packs
from dual_data.evaluation.training.optimisation import Optimisation
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import problem

MODELS = {name: tiny(name) for name in ("llama", "gemma", "gemma2", "qwen")}


def log_probabilities(architecture: str, rows: list[Encoded], **options: Any) -> list[torch.Tensor]:
    """Log-probabilities of each row's labels, all rows packed."""
    loaded = MODELS[architecture]
    even = [1.0 / len(rows)] * len(rows)
    micro_batch = MicroBatch({"a": range(len(rows))}, {"a": even}, even[0])
    packed = pack([micro_batch], {"a": Source(rows)}, **options)
    layout, groups = packed.at(torch.zeros(1, dtype=torch.long))
    labels = groups["a"]
    with torch.no_grad():
        logits = head(loaded.model, hidden_at(loaded.model, layout, [labels])[0])[0]
    gold = logits.log_softmax(-1).gather(1, labels.targets[0][:, None])[:, 0]
    return [gold[(labels.row[0] == row) & (labels.real[0] == 1)] for row in range(len(rows))]


def padded(architecture: str, row: Encoded, side: str, pads: int) -> torch.Tensor:
    """The same for one row padded on one side, through the model's own forward pass."""
    model: Any = MODELS[architecture].model
    ids = [*row.prompt_ids, *row.answer_ids, *row.end_ids]
    fill, start = [0] * pads, pads if side == "left" else 0
    whole = torch.tensor([[*fill, *ids] if side == "left" else [*ids, *fill]])
    mask = torch.zeros_like(whole)
    mask[0, start : start + len(ids)] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = model(input_ids=whole, attention_mask=mask, position_ids=positions).logits[0].log_softmax(-1)
    labels = [*row.answer_ids, *row.end_ids]
    first = start + len(row.prompt_ids) - 1
    log_p: torch.Tensor = logits[torch.arange(first, first + len(labels)), torch.tensor(labels)]
    return log_p


@pytest.mark.parametrize("architecture", MODELS)
def test_packed_rows_equal_rows_padded_on_either_side(architecture: str) -> None:
    rows = encode(MODELS[architecture].tokenizer, cities(), "chat")
    longest = max(len(row.prompt_ids) + len(row.answer_ids) for row in rows)
    layouts: list[dict[str, Any]] = [{"plain": True}]
    if packs(MODELS[architecture], longest):
        layouts += [{}, {"rows_per_bin": 2}]
    else:
        assert architecture == "gemma2"  # its window of 64 tokens is shorter than the rows
    for options in layouts:
        for row, packed in zip(rows, log_probabilities(architecture, rows, **options), strict=True):
            for side, pads in (("left", 0), ("left", 5), ("right", 5)):
                assert torch.allclose(packed, padded(architecture, row, side, pads), atol=2e-5)


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(3, 90), min_size=1, max_size=6), st.lists(st.integers(3, 90), min_size=1, max_size=4)
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_any_rows_can_be_packed(raw: list[tuple[list[int], list[int]]], per_bin: int) -> None:
    rows = [Encoded(tuple(prompt), tuple(answer), (2,)) for prompt, answer in raw]
    for row, packed in zip(rows, log_probabilities("llama", rows, rows_per_bin=per_bin), strict=True):
        assert torch.allclose(packed, padded("llama", row, "right", 0), atol=2e-5)


def test_what_all_rows_begin_with_is_laid_out_once() -> None:
    rows = encode(MODELS["llama"].tokenizer, cities(), "chat")
    even = [1.0 / 7] * 7
    micro_batch = MicroBatch({"a": range(7)}, {"a": even}, even[0])
    source = {"a": Source(rows)}
    shared = pack([micro_batch], source).layout.ids.numel()
    apart = pack([micro_batch], source, plain=True).layout.ids.numel()
    assert shared < apart / 2
    assert shared_prefix([[1, 2, 3], [1, 2, 4]]) == [1, 2]
    assert shared_prefix([(1, 2), (1, 2)]) == (1,)


@pytest.mark.parametrize(("lengths", "width"), [((8, 40, 8, 40), 48), ((4, 60, 4, 4), 64)])
def test_sequences_are_of_similar_length_and_have_no_more_rows_than_asked(lengths: tuple[int, ...], width: int) -> None:
    rows = [Encoded((number,), (7,) * length, ()) for number, length in enumerate(lengths)]
    micro_batch = MicroBatch({"a": range(4)}, {"a": [0.25] * 4}, 0.25)
    packed = pack([micro_batch], {"a": Source(rows)}, rows_per_bin=2)
    assert packed.layout.ids.numel() == 2 * width
    assert packed.layout.segments.max() == 2


@pytest.mark.parametrize(("own", "sequences"), [(64, 1), (65, 2), (400, 7), (3000, 32)])
def test_long_rows_share_a_sequence_with_few_others(own: int, sequences: int) -> None:
    rows = [Encoded((5, 6, 7), (8 + number,) * own, ()) for number in range(32)]
    layout, _ = one_pass(Source(rows, at_label=True), range(32), plain=False)
    assert len(layout.ids) == sequences


def test_every_cell_has_all_sequences_and_labels() -> None:
    rows = encode(MODELS["llama"].tokenizer, cities(), "chat")
    micro_batch = MicroBatch({"a": range(7)}, {"a": [1.0 / 7] * 7}, 1.0 / 7)
    alone, together = (pack([micro_batch], {"a": Source(rows)}, cells=cells, rows_per_bin=4) for cells in (1, 3))
    assert torch.equal(together.layout.ids, torch.cat([alone.layout.ids] * 3, dim=1))
    for of_all, of_one in zip(together.groups["a"][:7], alone.groups["a"][:7], strict=True):
        assert torch.equal(of_all, torch.cat([of_one] * 3, dim=1))


def test_figures_of_rows_sum_over_their_labels_alone() -> None:
    rows = [Encoded((5, 6), (7,), (2,)), Encoded((5, 8), (7, 9, 10), (2,))]
    micro_batch = MicroBatch({"a": [1, 0]}, {"a": [0.25, 0.125]}, 0.25)
    labels = pack([micro_batch], {"a": Source(rows)}).at(torch.zeros(1, dtype=torch.long))[1]["a"]
    ones = torch.ones_like(labels.weight)
    assert labels.row_sum(ones).tolist() == [[4.0, 2.0]]
    assert labels.lengths().tolist() == [[4.0, 2.0]]
    assert labels.token_mean(ones).item() == pytest.approx(0.25 * 4 + 0.125 * 2)
    assert labels.row_mean(labels.lengths()).item() == 0.25 * (4 + 2)
    assert labels.targets[0, :6].tolist() == [7, 9, 10, 2, 7, 2]
    assert labels.token[0, :6].tolist() == [2, 3, 4, 5, 0, 1]


def test_where_every_token_is_a_label_only_the_first_is_none() -> None:
    source = Source([Encoded((5, 6), (7,), (2,))], everywhere=True)
    assert (source.labels(0), source.tokens(0)) == ((1, [6, 7, 2]), [5, 6, 7])


def test_rows_of_two_kinds_go_through_the_model_once_and_what_all_begin_with_is_labelled_once() -> None:
    """As the forget rows and those of the KL term over all positions."""
    rows = [Encoded((5, 6, 8, 4), (7,), (2,)), Encoded((5, 6, 8, 9), (10, 11), (2,))]
    micro_batch = MicroBatch(
        {"forget": [1, 0], "everywhere": [1, 0]},
        {"forget": [0.2, 0.2], "everywhere": [0.1, 0.125]},
        0.5,
    )
    sources = {"forget": Source(rows), "everywhere": Source(rows, everywhere=True)}
    both = pack([micro_batch], sources)
    alone = pack([micro_batch], {"forget": sources["forget"]})
    assert torch.equal(both.layout.ids, alone.layout.ids)
    forget, everywhere = (both.at(torch.zeros(1, dtype=torch.long))[1][kind] for kind in ("forget", "everywhere"))
    assert torch.equal(forget.label_positions, alone.groups["forget"].label_positions[0])
    ids = both.layout.ids[0, 0]
    assert ids[:3].tolist() == [5, 6, 8]
    real = everywhere.real[0] == 1
    # 6 and 8 once, then of each row what follows.
    assert everywhere.targets[0, real].tolist() == [6, 8, 9, 10, 11, 2, 4, 7, 2]
    assert everywhere.weight[0, real].tolist() == pytest.approx([0.225] * 2 + [0.1] * 4 + [0.125] * 3)
    assert everywhere.weight.sum().item() == pytest.approx(6 * 0.1 + 5 * 0.125)


def test_rows_longer_than_a_sliding_window_are_not_packed() -> None:
    assert packs(MODELS["gemma2"], 64)
    assert not packs(MODELS["gemma2"], 65)
    assert packs(MODELS["llama"], 500)


def test_a_run_says_that_its_rows_could_not_be_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    small = problem()
    assert small.train("NPO", Optimisation(batch=4), 1e-3)[0].notes == {}
    monkeypatch.setattr(training_run, "packs", lambda *_: False)
    assert small.train("NPO", Optimisation(batch=4), 1e-3)[0].fallbacks == ("training was not packed",)
    assert small.train("NPO", Optimisation(batch=4), 1e-3, plain=True)[0].notes == {}  # as was asked for
