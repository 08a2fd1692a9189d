"""The figures as text for the README, so that nobody copies them by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.rebuild.report import STAGES
from dual_data.text.markdown import table

Figures = Mapping[str, Any]


def rendered(figures: Figures) -> str:
    """The figures as Markdown; commands that were not run are left out."""
    parts = [_world(figures), _stages(figures), _facts(figures), _recipes(figures), _confounds(figures)]
    parts += [render(figures[name]) for name, render in (("kills", _kills), ("real_model", _real)) if name in figures]
    return "\n\n".join(parts) + "\n"


def _world(figures: Figures) -> str:
    world = figures["world"]
    links = world["links"]
    return (
        f"{world['topics']} topics, {world['items']:,} items, {world['statements']:,} statements; links of an item: "
        f"median {links['median']}, 99 % have up to {links['p99']:,}, at most {links['most']:,}; traps set: "
        f"{', '.join(f'{name} {count:,}' for name, count in figures['traps'].items())}."
    )


def _stages(figures: Figures) -> str:
    rows = list[list[str]]()
    for stage, source in STAGES.items():
        calls, minutes = figures["calls"][source], figures["minutes"][stage]
        faults = sum(calls["faults"][name] for name in ("429", "500", "cut"))
        floors = (minutes["least_by_the_limits"], minutes["least_by_our_pace"])
        shown = ["no limit" if floor is None else f"{floor:,}" for floor in floors]
        counts = [calls["least"], calls["answers"], calls["requests_sent"], faults, minutes["simulated"]]
        rows.append([stage, *(f"{count:,}" for count in counts), *shown])
    every_source = figures["calls"].values()
    over = sum(calls["over_a_limit"] for calls in every_source)
    paused = [(calls["sent_during_a_pause"], calls["under_way_at_a_pause_at_most"]) for calls in every_source]
    memory, real = figures["memory"], sum(figures["real_minutes"].values())
    header = (
        "stage", "least calls", "answered", "requests sent", "faults met", "simulated min", "least by the limits",
        "least by our pace",
    )  # fmt: skip
    return table(header, rows) + (
        f"\n\nRequests beyond a limit: {over}. During a pause that a service had asked for: "
        f"{sum(sent for sent, _ in paused):,}, of at most {sum(most for _, most in paused):,} that could be under way. "
        f"Memory: {memory['peak_mb']:,} MB, {memory['of_which_services_mb']:,} MB of them before the build began, for "
        f"the world and what answers from it. Real time: {real:.0f} minutes, pieces: {figures['pieces']}."
    )


def _facts(figures: Figures) -> str:
    facts = figures["facts"]
    rows = [(name, f"{counts['expected']:,}", f"{counts['got']:,}") for name, counts in figures["rejects"].items()]
    return (
        f"Facts: {facts['expected']:,} expected, {facts['got']:,} there, {facts['kept_from_the_other_side']:,} kept "
        f"from the other side. Lost {facts['lost']}, invented {facts['invented']}, duplicates {facts['duplicates']}, "
        f"asked from both sides {facts['mirrored_twice']}.\n\n{table(('rejected as', 'expected', 'got'), rows)}"
    )


def _recipes(figures: Figures) -> str:
    recipes = figures["recipes"]
    names = {"askable": "one object, asked fairly", "paper": "`paper`, in `full_`", "matched": "`matched`, eligible"}
    counted = {"askable": "got", "paper": "in_full", "matched": "eligible"}
    rows = list[list[str]]()
    for recipe, name in names.items():
        columns = ("expected", "expected_if_worded_so", counted[recipe], "lost", "invented")
        rows.append([name, *(f"{recipes[recipe][column]:,}" for column in columns)])
    paper, shared = recipes["paper"], recipes["askable"]["namesakes"]
    rule = "known by the published rule" if paper["validated"] else "which nothing validated"
    return table(("facts", "expected", "and if worded so", "there", "lost", "invented"), rows) + (
        f"\n\n`paper` is made of {paper['candidates']:,} candidates with links on both sides, {rule}. "
        f"Topics of which the stage `splits` counts other eligible facts for `matched` than the truth: "
        f"{len(recipes['matched']['topics_off'])}. Facts of namesakes: {shared.get('kept', 0):,} to be asked with a "
        f"hint, {shared.get('refused', 0):,} refused, {shared.get('doubtful', 0):,} by wording. Known by an alias "
        f"alone: {figures['known_by_alias']:,}."
    )


def _confounds(figures: Figures) -> str:
    rows, others = list[list[str]](), []
    for name, sides in figures["confounds"].items():
        if "auc" in sides:
            rows.append([name, *_both(sides), *map(_area, sides["auc"].values())])
        if (middle := sides.get("others", {"topics": 0}))["topics"]:
            relation, answer = (_pair(middle, figure) for figure in ("commonest_relation", "commonest_answer"))
            others.append(
                f"`{name}` ({middle['topics']} topics): commonest relation {relation}, AUC of relation "
                f"{_area(middle['auc'])}, commonest answer {answer}, at most {_pair(middle, 'largest_answer')}"
            )
    header = (
        "city, 5 %: rare / popular", "rows", "commonest relation", "commonest answer", "distinct answers", "countries",
        "AUC of relation", "AUC of answer",
    )  # fmt: skip
    rendered = table(header, rows)
    return f"{rendered}\n\nThe other topics' 5 %, medians: {'; '.join(others)}." if others else rendered


def _both(sides: Figures) -> Iterator[str]:
    for figure in ("rows", "commonest_relation", "commonest_answer", "distinct_answers", "countries"):
        counted = figure in ("rows", "distinct_answers")
        yield f"{sides['rare'][figure]} / {sides['popular'][figure]}" if counted else _pair(sides, figure)


def _pair(sides: Figures, figure: str) -> str:
    return f"{100 * sides['rare'][figure]:.1f} / {100 * sides['popular'][figure]:.1f} %"


def _area(area: float | None) -> str:
    return "none" if area is None else f"{area:.3f}"


def _kills(result: Figures) -> str:
    same = "every table equal to that" if result["same"] else "NOT every table equal to that"
    return (
        f"A small world killed {result['kills']} times: {result['answers']:,} calls in the log, {result['repeated']} "
        f"asked again, {same} of a build that nobody killed, {result['leftovers']} temporary files left."
    )


def _real(result: Figures) -> str:
    mass, failures = result["label_mass"], result["parse_failures"]
    low, middle, high = mass["quartiles"]
    return (
        f"{result['model']} on {result['facts']:,} facts: knows {100 * result['known_share']:.1f} % "
        f"({result['control_known']} more answers that it gives of any subject). As a judge its labels have "
        f"{mass['mean']} of the probability (quartiles {low}, {middle}, {high}), less than half for {mass['low']:,} "
        f"facts; {failures['unread']:,} of {failures['sampled_answers']:,} sampled answers could not be read, and "
        f"{failures['facts_without_score']} facts have no score. Lost {result['lost']}, answered calls asked again "
        f"{result['answered_calls_asked_again']}; {sum(result['minutes'].values()):.0f} minutes in {result['pieces']} "
        f"pieces."
    )
