"""What a cell is asked."""

from __future__ import annotations

import pytest

from dual_data.errors import InputError
from dual_data.evaluation.measuring import workload as workload_module
from dual_data.evaluation.measuring.workload import MeasureOptions, build_workload
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.attack_prompts import IN_CONTEXT
from dual_data.ids import digest
from tests.evaluation.questions import cities


def test_distractors_are_other_answers_of_the_relation() -> None:
    loaded = tiny("llama")
    items = cities()
    mixed = [item._replace(relation="P36") if index > 4 else item for index, item in enumerate(items)]
    mixed[1] = mixed[1]._replace(
        answer="France", answers=("France",)
    )  # the same answer twice, once under another subject
    workload = build_workload(loaded.tokenizer, {"forget": mixed}, "chat", MeasureOptions(distractors=9))
    end = (loaded.info.end_id,)

    def texts(index: int) -> list[str]:
        request = workload.requests[workload.sets["forget"][index].canonical]
        assert all(answer.ids[-1:] == end for answer in request.answers)
        return [str(loaded.tokenizer.decode(list(answer.ids[: answer.answer_tokens]))) for answer in request.answers]

    assert texts(0)[0] == "France"
    assert sorted(texts(0)[1:]) == ["Germany", "Italy", "Portugal"]
    assert texts(5) == ["Brazil", "India"]
    again = build_workload(loaded.tokenizer, {"forget": mixed[::-1]}, "chat", MeasureOptions(distractors=2))
    request = again.requests[again.sets["forget"][-1].canonical]
    whole = workload.requests[workload.sets["forget"][0].canonical]
    assert request.answers == whole.answers[:3]  # chosen by hash, whatever the order


def test_answers_are_ranked_only_where_distractors_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, hashed = tiny("llama"), list[str]()

    def watched(text: str) -> str:
        hashed.append(text)
        return digest(text)

    monkeypatch.setattr(workload_module, "digest", watched)
    for distractors, hashes in ((0, 0), (1, 7 * 7)):
        build_workload(loaded.tokenizer, {"forget": cities()}, "chat", MeasureOptions(distractors=distractors))
        assert len(hashed) == hashes


def test_distractors_are_wrong_by_value_and_for_every_row_of_the_question() -> None:
    loaded = tiny("llama")
    first, *_ = cities()
    days = [
        first._replace(id=str(n), question=f"{n}?", answer=answer, answers=(answer,), relation="P571", kind="date")
        for n, answer in enumerate(("1889", "31 March 1889", "1901"))
    ]
    languages = [
        first._replace(id=answer, question=question, answer=answer, answers=(answer,), relation="P37")
        for question, answer in (("Of Belgium?", "Dutch"), ("Of Belgium?", "French"), ("Of Japan?", "Japanese"))
    ]
    workload = build_workload(loaded.tokenizer, {"forget": [*days, *languages]}, "chat", MeasureOptions(distractors=9))
    wrong = [
        {loaded.tokenizer.decode(list(answer.ids[: answer.answer_tokens])) for answer in answers}
        for place in workload.sets["forget"]
        for answers in [workload.requests[place.canonical].answers[1:]]
    ]
    assert wrong == [{"1901"}, {"1901"}, {"1889", "31 March 1889"}, {"Japanese"}, {"Japanese"}, {"Dutch", "French"}]


def test_what_the_in_context_attack_shows_does_not_depend_on_the_order_of_the_file() -> None:
    loaded = tiny("llama")
    item, *demonstrations = cities() * 2
    options = MeasureOptions(attacks=(IN_CONTEXT,))
    asked = [
        build_workload(loaded.tokenizer, {"forget": [item]}, "chat", options, demonstrations=shown).requests
        for shown in (demonstrations, demonstrations[::-1])
    ]
    assert asked[0] == asked[1]


def test_distractors_of_a_fact_without_a_relation_are_other_answers_of_its_set() -> None:
    loaded = tiny("llama")
    items = [item._replace(relation="") for item in cities()]
    items[1] = items[1]._replace(relation="P17")
    sets = {"forget": items[:3], "retain_eval": items[3:]}
    workload = build_workload(loaded.tokenizer, sets, "chat", MeasureOptions(distractors=9))
    for name, index, others in (("forget", 0, {items[2].answer}), ("forget", 1, set()),
                                ("retain_eval", 0, {item.answer for item in items[4:]})):  # fmt: skip
        answers = workload.requests[workload.sets[name][index].canonical].answers[1:]
        assert {loaded.tokenizer.decode(list(answer.ids[: answer.answer_tokens])) for answer in answers} == others


def test_a_question_of_two_sets_is_asked_once() -> None:
    loaded = tiny("llama")
    items = cities()
    sets = {"neighbor_relation": items, "retain_eval": items[2:]}
    workload = build_workload(loaded.tokenizer, sets, "chat", MeasureOptions())
    assert len(workload.requests) == 2 * len(items)  # question and one other wording each
    assert workload.sets["retain_eval"][0].canonical == workload.sets["neighbor_relation"][2].canonical


@pytest.mark.parametrize(
    ("paraphrases", "worded"),
    [(True, {"forget", "retain_eval"}), (("forget", "retain_train"), {"forget"}), (False, set[str]())],
)
def test_other_wordings_of_the_sets_that_want_them(paraphrases: bool | tuple[str, ...], worded: set[str]) -> None:
    loaded = tiny("llama")
    items = cities()
    sets = {"forget": items[:2], "retain_train": items[2:4], "retain_eval": items[4:]}
    workload = build_workload(loaded.tokenizer, sets, "chat", MeasureOptions(paraphrases=paraphrases))
    assert {name for name, places in workload.sets.items() if all(place.paraphrases for place in places)} == worded
    assert {name for name, places in workload.sets.items() if any(place.paraphrases for place in places)} == worded


def test_a_set_without_rows_is_refused_and_raw_text_has_no_end() -> None:
    loaded = tiny("llama")
    with pytest.raises(InputError, match="the set forget is empty"):
        build_workload(loaded.tokenizer, {"forget": []}, "chat", MeasureOptions())
    raw = build_workload(loaded.tokenizer, {"forget": cities()}, "dual-raw", MeasureOptions())
    assert all(len(answer.ids) == answer.answer_tokens for request in raw.requests for answer in request.answers)


def test_an_accepted_answer_of_the_item_is_no_distractor() -> None:
    loaded = tiny("llama")
    items = cities()[:4]
    items[0] = items[0]._replace(answers=(items[0].answer, items[1].answer))  # another name for the same
    workload = build_workload(loaded.tokenizer, {"forget": items}, "chat", MeasureOptions(distractors=9))
    place = workload.sets["forget"][0]
    answers = workload.requests[place.canonical].answers
    texts = {loaded.tokenizer.decode(list(answer.ids[: answer.answer_tokens])) for answer in answers[1:]}
    assert texts == {item.answer for item in items[2:]} - {items[0].answer}


def test_items_of_a_relation_have_distractors_of_their_own() -> None:
    loaded = tiny("llama")
    items = [
        item._replace(id=str(n), question=f"{n}?", answer=f"Place {n}", answers=(f"Place {n}",))
        for n, item in enumerate(cities(4) * 5)
    ]
    workload = build_workload(loaded.tokenizer, {"forget": items}, "chat", MeasureOptions(distractors=1))
    wrong = {workload.requests[place.canonical].answers[1].ids for place in workload.sets["forget"]}
    assert len(wrong) > 5
