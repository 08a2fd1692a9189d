"""The utility panel: what is shipped, how it is scored, and what a result keeps of it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from dual_data.errors import ConfigError, InputError
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.measure import measure, measure_panel
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.measuring.workload import MeasureOptions, build_workload
from dual_data.evaluation.metrics.panel import panel_items, panel_summary
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.results import read_results
from dual_data.evaluation.rows.panel import Choice, Panel, panel_hash, read_panel, tokenise_panel
from dual_data.evaluation.rows.request import Outcome, TokenScores
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec
from tests.evaluation.grid.small_grid import FILE, one_stage, opened
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import disturb


def test_the_shipped_panel_is_balanced() -> None:
    panel = read_panel()
    assert Counter(choice.kind for choice in panel.choices) == dict.fromkeys(
        (
            "arithmetic", "common sense", "everyday knowledge", "grammar", "life science", "physical science",
            "reasoning", "vocabulary",
        ),
        150,
    )  # fmt: skip
    assert set(Counter(choice.answer for choice in panel.choices).values()) == {300}
    assert all(len(set(choice.options)) == 4 for choice in panel.choices)
    assert len({choice.question for choice in panel.choices}) == 1200
    assert len(set(panel.texts)) == 24


def _words(text: str) -> str:
    """A text as whole words, to search for it in another."""
    return f" {' '.join(re.findall(r'[^ .,?!]+', text.lower()))} "


def test_no_rule_that_reads_no_question_answers_the_shipped_panel() -> None:
    choices = read_panel().choices
    for rule in (min, max):
        hits = sum(choice.options.index(rule(choice.options, key=len)) == choice.answer for choice in choices)
        assert hits / len(choices) == pytest.approx(0.25, abs=0.03)
    for choice in choices:
        question = _words(choice.question)
        mentioned = [option for option in choice.options if _words(option) in question]
        assert choice.kind == "reasoning" or mentioned != [choice.options[choice.answer]], choice


PAIR = Panel(
    (
        Choice(kind="a", question="What is it?", options=("Paris", "a city in Japan", "x"), answer=0),
        Choice(
            kind="b", question="And now?", options=("France", "Germany"), answer=1, context="Question: One?\nA: Two\n"
        ),
    ),
    ("Paris is a city.",),
)


def test_scores_by_hand() -> None:
    loaded = tiny("llama")
    (scores,) = measure_panel(FastEngine(loaded, rows=4), tokenise_panel(loaded.tokenizer, PAIR))

    def log_p(prompt: str, answer: list[int]) -> float:
        ids = [*loaded.tokenizer(prompt)["input_ids"], *answer]
        rows = loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        first = len(ids) - len(answer) - 1
        return math.fsum(rows[first + t, token].item() for t, token in enumerate(answer))

    for index, choice in enumerate(PAIR.choices):
        prompt = f"{choice.context}Question: {choice.question}\nAnswer:"
        sums = [log_p(prompt, loaded.tokenizer(f" {option}")["input_ids"]) for option in choice.options]
        rates = [value / len(option) for value, option in zip(sums, choice.options, strict=True)]
        assert scores.given[index] == sums.index(max(sums))
        assert scores.right[index] == (sums.index(max(sums)) == choice.answer)
        assert scores.right_by_length[index] == (rates.index(max(rates)) == choice.answer)
        shares = [math.exp(value) for value in sums]
        assert scores.probability[index] == pytest.approx(shares[choice.answer] / sum(shares), rel=1e-4)
    ids = loaded.tokenizer(PAIR.texts[0])["input_ids"]
    rows = loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = -math.fsum(rows[t, ids[t + 1]].item() for t in range(len(ids) - 1)) / (len(ids) - 1)
    assert scores.nll == pytest.approx((expected,), abs=1e-5)
    means = panel_summary(PAIR, scores)
    assert means["accuracy"] == sum(right or 0 for right in scores.right) / 2
    assert means["accuracy_by_kind"] == {"a": scores.right[0], "b": scores.right[1]}
    assert means["guessing"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert (means["text_nll"], means["questions"], means["texts"]) == (scores.nll[0], 2, 1)
    assert panel_items(PAIR, scores) == {"kinds": {"a": [0], "b": [1]}, **scores._asdict()}


def test_each_adapter_of_a_cell_has_the_scores_that_it_has_alone_and_the_plain_way() -> None:
    loaded = tiny("llama")
    panel = tokenise_panel(loaded.tokenizer, read_panel().first(40))
    workload = build_workload(loaded.tokenizer, {"forget": cities()[:2]}, "chat", MeasureOptions(), panel=panel)
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0), seeds=[0, 1, 2])
    disturb(adapters)
    together = [measurement.panel for measurement in measure(FastEngine(loaded, adapters, rows=7), workload)]
    assert len({scores.given for scores in together if scores is not None}) == 3
    plain = measure_panel(PlainEngine(loaded, adapters, rows=64), panel)
    for cell, scores in enumerate(together):
        with adapters.only(cell):
            (alone,) = measure_panel(FastEngine(loaded, adapters, rows=64), panel)
        for other in (alone, plain[cell]):
            assert scores is not None
            assert scores[:3] == other[:3]
            assert scores.probability == pytest.approx(other.probability, abs=1e-4)
            assert scores.nll == pytest.approx(other.nll, abs=1e-4)


def test_a_model_that_gives_no_number_has_no_accuracy() -> None:
    class Broken:
        def run(self, _: object) -> list[list[Outcome]]:
            def scores(log_p: float) -> TokenScores:
                return TokenScores(1, (log_p,), (1,), (True,), (0.0,), (1.0,), (), None)

            good = Outcome((scores(-1.0), scores(-2.0), scores(-3.0)), (), False)
            bad = Outcome((scores(math.nan), scores(-1.0)), (), False)
            return [[good, bad, Outcome((scores(math.nan),), (), False)]]

    (scores,) = measure_panel(Broken(), tokenise_panel(tiny("llama").tokenizer, PAIR))  # type: ignore[arg-type]
    assert scores[:3] == ((0, None), (1, None), (0, None))
    assert (scores.probability[1], scores.nll) == (None, (None,))
    means = panel_summary(PAIR, scores)
    assert (means["accuracy"], means["accuracy_by_kind"], means["text_nll"]) == (None, {"a": 1, "b": None}, None)


def test_a_part_of_a_panel_is_chosen_by_hash_and_keeps_its_order() -> None:
    panel = read_panel()
    fewer = panel.first(30)
    assert [choice for choice in panel.choices if choice in fewer.choices] == list(fewer.choices)
    assert (len(fewer.choices), fewer.texts, fewer.name) == (30, panel.texts, panel.name)
    assert set(panel.first(10).choices) < set(fewer.choices)
    reordered = panel._replace(choices=panel.choices[::-1])
    assert set(reordered.first(30).choices) == set(fewer.choices)
    assert panel.first(10**6) == panel
    assert len(panel._replace(choices=panel.choices[:1] * 3).first(2).choices) == 2
    assert len({panel_hash(variant) for variant in (panel, fewer, reordered)}) == 3


ROWS = [{"kind": "ab"[n % 2], "question": f"{n}?", "options": ["x", "yy"], "answer": n % 2} for n in range(5)]


def _write(path: Path, *rows: object) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_cell_of_a_grid_keeps_what_it_made_of_the_panel(project: Path) -> None:
    _write(project / "panel.jsonl", *ROWS, {"text": "Paris is a city."})
    without, cells = opened(project, file=one_stage())
    run(without, cells, RunOptions())
    file = one_stage(FILE).replace("[grids.one]", '[grids.one]\npanel = "panel.jsonl"\npanel_questions = 4')
    grid, more = opened(project, file=file, out="with")
    assert not {cell.id for cell in cells} & {cell.id for cell in more}
    run(grid, more, RunOptions(cells_at_once=2))
    old, new = (
        {(result["cell"]["method"], result["cell"]["lr"]): result for _, result in read_results(folder)}
        for folder in (without.folder, grid.folder)
    )
    assert set(old) == set(new)
    for coordinates, result in new.items():
        assert not {"panel", "panel_items"} & old[coordinates].keys()
        means, scores = result["panel"], result["panel_items"]
        assert (means["name"], means["questions"], means["texts"]) == ("panel.jsonl", 4, 1)
        assert means["accuracy"] == sum(scores["right"]) / 4
        assert [means["text_nll"]] == scores["nll"]
        assert sum(len(numbers) for numbers in scores["kinds"].values()) == 4
        assert means["hash"] == result["provenance"]["identity"]["panel"]
        # Nothing else of the cell is touched by it.
        assert [row["generation"] for row in result["items"]["forget"]] == [
            row["generation"] for row in old[coordinates]["items"]["forget"]
        ]
    assert len({tuple(result["panel_items"]["probability"]) for result in new.values()}) == len(new)
    _write(project / "panel.jsonl", *(row | {"answer": 0} for row in ROWS))
    assert not {cell.id for cell in more} & {cell.id for cell in opened(project, file=file)[1]}
    for setting, questions in (("limit = 2", 2), ("limit = 2\npanel_questions = 3", 3), ("", 5)):
        limited, _ = opened(project, file=file.replace("panel_questions = 4", setting))
        assert limited.panel is not None
        assert len(limited.panel.choices) == questions
    with pytest.raises(ConfigError, match=r"grids.one.panel_questions: needs a panel"):
        opened(project, file=file.replace('panel = "panel.jsonl"', ""))


def test_a_panel_that_is_not_there_or_too_long_is_said(project: Path) -> None:
    file = one_stage(FILE).replace("[grids.one]", '[grids.one]\npanel = "lost.jsonl"')
    with pytest.raises(ConfigError, match=r"^grids.one.panel: \S+lost.jsonl: no such file; name .*, or 'shipped'$"):
        opened(project, file=file)
    _write(project / "lost.jsonl", ROWS[0], ROWS[1] | {"question": "Why? " * 2100})
    grid, cells = opened(project, file=file)
    assert run(grid, cells, RunOptions()) == (0, 0, 5, 0)
    for _, result in read_results(grid.folder):
        assert "the utility panel lost.jsonl: 'Why? Why? " in result["reason"]
        assert "takes 2048: shorten the row or remove it" in result["reason"]
    with pytest.raises(InputError, match=r"text '.' is too short"):
        tokenise_panel(tiny("llama").tokenizer, Panel(PAIR.choices, (".",)))


def test_a_panel_may_begin_with_a_byte_order_mark_and_hold_any_character(tmp_path: Path) -> None:
    separators = "\u2028\u2029\x85"  # str.splitlines splits at them; JSON allows them in a text
    rows = [ROWS[0], {"text": f"One{separators}line."}]
    path = tmp_path / "panel.jsonl"
    path.write_bytes("\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("utf-8-sig"))
    assert read_panel(path).texts == (f"One{separators}line.",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON in UTF-8: Expecting property name"),
        (b'{"text": "caf\xe9"}', "line 1: not JSON in UTF-8: 'utf-8' codec can't decode byte 0xe9"),
        ('{"text": ' + "[" * 100_000, "line 1: not JSON: too many brackets inside each other"),
        ("[]", "line 1: must be a table of keys and values; a line holds"),
        ('{"kind": "a", "question": "?"}', "line 1: options: is missing; a line holds kind, question"),
        ('{"kind": "a", "question": "?", "options": ["x", "y"], "answer": 2}', "answer is 2, and there are 2 options"),
        (
            '{"kind": "a", "question": "?", "options": ["x", ""], "answer": 0}',
            "options: 1: is empty; a line holds",
        ),
        ('{"kind": "a", "question": "?", "options": ["x"], "answer": 0}', "options: name at least 2; a line"),
        (
            '{"kind": "a", "question": "?", "options": ["x", "y", "x"], "answer": 2}',
            "options: x is listed 2 times; list it once; a line",
        ),
        ('{"kind": "a", "question": "?", "options": "xyz", "answer": 0}', "options: must be a list: .* not 'xyz';"),
        (
            '{"kind": "a", "question": "?", "options": [3, 4], "answer": 0}',
            "options: 0: must be a text, not 3;",
        ),
        (
            '{"kind": "a", "question": "?", "options": ["x", "y"], "answer": true}',
            "answer: must be a whole number, not True;",
        ),
        (
            '{"kind": ["a"], "question": "?", "options": ["x", "y"], "answer": 0}',
            "kind: must be a text;",
        ),
        ('{"kind": "a", "question": "?", "options": ["x", "y"], "answr": 0}', "line 1: answer: is missing;"),
        ('{"text": ""}', "text: is empty; a line"),
        ('{"text": "Words."}', "holds no question"),
    ],
)
def test_broken_panels_are_refused(tmp_path: Path, line: str | bytes, message: str) -> None:
    path = tmp_path / "panel.jsonl"
    path.write_bytes((line if isinstance(line, bytes) else line.encode()) + b"\n")
    with pytest.raises(InputError, match=message):
        read_panel(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_panel(tmp_path / "absent.jsonl")
