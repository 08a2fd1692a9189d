"""The report as files."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from dual_data.audit.baselines import NAMES
from dual_data.evaluation.report.analysis.runs import Key
from dual_data.evaluation.report.document import Table, to_html, to_markdown
from dual_data.evaluation.report.places import title_of
from dual_data.evaluation.report.write import Written, _latex, write_report
from dual_data.evaluation.results import cell_path, read_result
from tests.evaluation.report.made_up import write_cell
from tests.evaluation.report.page import TEXTS, Page


def test_the_page_is_whole_and_needs_nothing_else(written: Written) -> None:
    page = Page(written.html.read_text())
    assert page.open == []
    assert page.counts["svg"] >= 4 * 6
    text = page.text
    for words in (
        "A <grid>", "popular facts lose less", "trivial rule", "Relearning", "Quantisation", "Utility panel",
        "loss not finite at step 3", "Forgetting by popularity", "posterior-difference audit", "halved",
        "this describes the curves and tests nothing", "Tasks of lm-eval", "mmlu/acc", "hard.jsonl",
        "hard.jsonl, 40 questions, of which guessing answers 25%, and 3 texts",
    ):  # fmt: skip
        assert words in text
    rules = text[text.index("The trivial rule is the best of 5 short rules") :]
    assert all(f"{name} " in rules for name in NAMES)
    assert "Which <country> is" in text  # escaped, not markup
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    outside = [link for link in page.links if not link.startswith("#")]
    assert {link.split("/")[1] for link in outside} == {"cells", "attacks"}
    assert all((written.html.parent / link).exists() for link in outside)
    source = written.html.read_text()
    assert "://" not in source
    assert "prefers-color-scheme:dark" in source
    assert "@media print" in source
    assert "NaN" not in source
    assert "nan" not in re.sub(r"[a-z]+nan|nan[a-z]+", "", text)


def test_what_a_model_says_steers_neither_the_page_nor_the_table() -> None:
    table = Table(("after",), (("a\x07\u202e\r\nb | <c>",),), "c.")
    assert "<td>a\ufffd\ufffd  b | &lt;c&gt;</td>" in to_html("t", [table], Path())
    assert "| a\ufffd\ufffd  b \\| &lt;c> |" in to_markdown("t", [table], Path())


def test_links_lead_to_folders_with_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "my #1 grid (a%20b)"
    for method, lr in (("none", 0.0), ("NPO", 1e-4)):
        write_cell(folder, method=method, lr=lr, forget=0.5, retain=0.9)
    written = write_report([folder], tmp_path / "report", figures=folder / "figures")
    links = [link for link in Page(written.html.read_text()).links if not link.startswith("#")]
    images = re.findall(r"!\[.*?\]\(<(.*?)>\)\n", written.markdown.read_text())
    assert links
    assert images
    for link in (*links, *images, *next(csv.DictReader(written.table.read_text().splitlines()))["items"].split(" ")):
        assert (written.html.parent / unquote(link)).is_file()
        assert not set(link) & set(" #()")


def test_a_grid_that_has_measured_only_the_models_before_unlearning(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=0.5, retain=0.9)
    written = write_report([tmp_path], tmp_path / "report")
    text = written.markdown.read_text()
    assert "1 result of the grid g: m on d, 1 seed." in text
    assert "After unlearning" not in text
    assert "| preset and profile | p / chat |" in text
    assert "| note | halved |" in text
    page = Page(written.html.read_text())
    assert page.counts["figcaption"] == page.counts["svg"] + page.counts["table"]
    headings = re.findall("^#.*", text, re.MULTILINE)
    for empty in (
        "Stability over learning rates",
        "Ranks and log-probabilities",
        "Other wordings and prompts",
        "Examples",
    ):
        assert f"## {empty}" not in headings
        assert empty not in page.text
    assert "## Forgetting against retention" in headings  # which has a chart of the model before
    assert [row["method"] for row in csv.DictReader(written.table.read_text().splitlines())] == ["before"]


@pytest.mark.parametrize(
    ("seeds", "status", "said"),
    [
        ({"NPO": (0,), "WGA": (1,)}, "done", "2 seeds. ... All cells have only one seed: "),
        ({"NPO": (0, 1), "WGA": (1,)}, "done", "2 seeds. ... Some cells have only one seed: "),
        ({"NPO": (0, 1), "WGA": (0, 1)}, "done", "2 seeds. ... "),
        ({"NPO": (0, 1)}, "failed", "1 seed. ... All cells have only one seed: "),
    ],
)
def test_seeds_are_those_of_measured_cells(
    tmp_path: Path, seeds: dict[str, tuple[int, ...]], status: str, said: str
) -> None:
    """`status` is that of the second seed."""
    write_cell(tmp_path, forget=1.0, retain=1.0)
    for method, of_method in seeds.items():
        for seed in of_method:
            status_of = status if seed else "done"
            write_cell(tmp_path, method=method, lr=1e-4, seed=seed, forget=0.3, retain=0.9, status=status_of)
    scope = write_report([tmp_path], tmp_path / "report", items=False).markdown.read_text().split("\n\n")[3]
    start, end = said.split(" ... ")
    assert f"m on d, {start}" in scope
    assert scope.partition(" left out.")[2].strip().startswith(end)
    assert ("only one seed" in scope) == bool(end)


def test_models_before_unlearning_stand_in_the_order_of_seeds_and_beside_the_cell_of_their_own(tmp_path: Path) -> None:
    for seed in range(6):
        write_cell(tmp_path, stage="sft", seed=seed, forget=float(seed == 4), retain=1.0)
    write_cell(tmp_path, stage="sft", method="NPO", lr=1e-4, seed=4, forget=0.0, retain=1.0)
    text = write_report([tmp_path], tmp_path / "report").markdown.read_text()
    row = next(line for line in text.splitlines() if "| rare | before |" in line)
    assert re.findall(r"\[seed (\d)\]", row) == list("012345")
    examples = text[text.index("First forget items of seed 4") - 1500 : text.index("First forget items of seed 4")]
    assert "| It is France \\| sure. | No idea |" in examples


def test_titles_say_what_differs() -> None:
    here = Key("d", "m", "sft", "rare", "NPO", "paper", "chat")
    assert title_of(here, [here, here._replace(method="GradDiff")]) == "sft, rare"
    assert title_of(here, [here, here._replace(model="n")]) == "m, sft, rare"
    assert title_of(here, [here, here._replace(preset="early", profile="dual-raw")]) == "sft, rare, paper, chat"


def test_markdown_and_table(written: Written) -> None:
    text = written.markdown.read_text()
    assert text.startswith("# A &lt;grid>\n")
    assert "- d, all facts: popular facts lose less than rare ones in" in text
    assert "interval of n subjects: 1 - (1/40)^(1/n) for 0, and (1/40)^(1/n) for 1." in text
    title = "Loss of ROUGE-L recall on popular and on rare facts"
    assert f"**{title} (2)**" in text
    assert (
        f"\n{title}. Difference: popular minus rare. retain_eval: the score of the held-out facts in the same " in text
    )
    assert f"**{title}, paired on the confidence before unlearning (2)**" in text
    assert "It is France \\| sure." in text
    assert "<svg" not in text
    assert "\nCharts are on the HTML page. Each point is a learning rate;" in text
    for line in text.splitlines():
        if line.startswith("| data | model | stage | set | method | lr | seeds | forget"):
            assert line.count("|") == 19
    rows = list(csv.DictReader(written.table.read_text().splitlines()))
    assert len(rows) == 5 * 2  # before and one method, by stage and set
    before = next(row for row in rows if row["method"] == "before")
    assert [float(before[f"forget{end}"]) for end in ("", "_low", "_high")] == [1.0, 0.884297, 1.0]
    assert [float(before[f"corrected{end}"]) for end in ("", "_low", "_high")] == [1.0, 0.837523, 1.0]
    for row in rows:
        for name in ("answers_held", "baseline", "corrected"):
            assert float(row[f"{name}_low"]) <= float(row[name]) <= float(row[f"{name}_high"])
    assert written.rows[0]["forget"] == "1.000 [0.884, 1.000]"  # what the terminal shows
    assert len(before["items"].split()) == 3  # one link a seed
    assert all((written.table.parent / link).exists() for row in rows for link in row["items"].split())
    assert "\n51 results of the grid g: m on d, 3 seeds. " in text
    assert "| git | 0123456789ab |" in text


def test_the_opening_says_how_many_facts_there_are_and_that_they_are_a_sample(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0, more=["neighbours"])
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.2, retain=0.9, more=["neighbours"])
    facts = "- d: rare (to forget) 60, retain_train 60, retain_eval 60, neighbours 60"
    whole = write_report([tmp_path], tmp_path / "report")
    assert f"{facts}." in whole.markdown.read_text()
    (row,) = (row for row in csv.DictReader(whole.table.read_text().splitlines()) if row["method"] == "NPO")
    low, kept, high = (float(row[f"neighbours_rougeL_recall{end}"]) for end in ("_low", "", "_high"))
    assert 0.8 < low <= kept <= high
    write_cell(tmp_path, forget=1.0, retain=1.0, more=["neighbours"], limit=60)
    text = write_report([tmp_path], tmp_path / "report").markdown.read_text()
    assert f"{facts}, a sample: the grid takes at most 60 of a set." in text
    assert "the best of 5 short rules that know no fact, on the forget facts measured" in text


def test_the_opening_counts_the_facts_of_grids_that_take_others(tmp_path: Path) -> None:
    for name, facts, limit in (("few", 8, 8), ("more", 16, 16), ("some", 12, 16)):
        for forget_set in ("popular", "rare"):
            place: dict[str, Any] = {"model": f"m of {name}", "forget_set": forget_set, "facts": facts, "limit": limit}
            write_cell(tmp_path / name, **place, forget=1.0, retain=1.0)
            write_cell(tmp_path / name, **place, method="NPO", lr=1e-4, forget=0.2, retain=0.9)
    report = write_report([tmp_path / name for name in ("few", "more", "some")], tmp_path / "report")
    counts = [
        f"d: popular (to forget) {facts}, retain_train 60, retain_eval 60, rare (to forget) {facts}, a sample: "
        f"the grid takes at most {limit} of a set."
        for facts, limit in (("8", 8), ("12 or 16", 16))
    ]
    markdown = report.markdown.read_text()
    assert [count for count in counts if count not in markdown] == []


def test_models_that_could_not_be_measured_before_unlearning_are_listed_with_their_cells(tmp_path: Path) -> None:
    for stage in ("pretrained", "sft"):
        write_cell(tmp_path, stage=stage, forget=0, retain=0, status="failed")
        write_cell(tmp_path, stage=stage, method="NPO", lr=1e-4, forget=0, retain=0, status="failed")
    empty = write_report([tmp_path], tmp_path / "report")
    assert empty.rows == []
    lines = [
        line for line in empty.markdown.read_text().splitlines() if "| failed | loss not finite at step 3 |" in line
    ]
    # Where links are left out, their places are all that tells the cells apart.
    places = [f"d | m | {stage} | rare | " for stage in ("pretrained", "sft")]
    expected = [place + rest for place in places for rest in ("NPO | 0.0001 | 0", "before |  | 0")]
    assert sorted(line.split(" | ", 1)[1].split(" | failed")[0] for line in lines) == expected
    # What was not measured has no chart, no other table, and nothing that could be compared.
    assert "<svg" not in empty.html.read_text()
    assert "no result before unlearning" not in empty.markdown.read_text()
    assert "### " not in empty.markdown.read_text().split("## Every learning rate")[1]
    write_cell(tmp_path, forget=1.0, retain=1.0)
    before_alone = write_report([tmp_path], tmp_path / "report").html.read_text()
    assert "<svg" in before_alone
    assert ">learning rate</text>" not in before_alone
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    report = write_report([tmp_path], tmp_path / "report")
    assert [(row["stage"], row["method"]) for row in report.rows] == [("pretrained", "before"), ("pretrained", "NPO")]
    assert report.markdown.read_text().count("| failed | loss not finite at step 3 |") == 2


def test_the_page_first_says_what_it_answers_and_how_to_read_it(written: Written, tmp_path: Path) -> None:
    about, reading, scope, findings, question, *_ = written.markdown.read_text().split("\n\n")[1:]
    assert about.startswith("This page shows what unlearning removed and what it kept, method by method, ")
    assert reading.startswith("Brackets after a score hold its 95 % interval. ")
    assert scope.startswith("51 results of the grid g: ")
    assert max(map(len, (about, reading, scope))) < 400
    assert (findings, question) == ("## Findings", "### Are popular facts harder to forget?")
    source = written.html.read_text()
    assert source.index("<details>") < source.index("Student&#x27;s t distribution") < source.index("</details>")
    for name in ("g", "h"):
        # The pretrained model is that of all seeds, and has 0 as its own.
        write_cell(tmp_path / name, forget=1.0, retain=1.0)
        write_cell(tmp_path / name, method="NPO", lr=1e-4, seed=ord(name), forget=0.2, retain=0.9)
    for path in (tmp_path / "h" / "cells").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"grid": "h"}))
    report = write_report([tmp_path / "g", tmp_path / "h"], tmp_path / "report")
    assert "3 results of the grids g, h: m on d, 2 seeds. " in report.markdown.read_text()


def test_a_report_without_items_has_the_same_numbers_and_nothing_that_was_asked_or_said(
    written: Written, tmp_path: Path
) -> None:
    folder = written.html.parent.parent
    bare = write_report([folder], tmp_path, title="A <grid>", items=False)
    whole, page = Page(written.html.read_text()), Page(bare.html.read_text())
    texts = {
        item[field]
        for path in (folder / "cells").glob("*.json")
        for items in read_result(path)["items"].values()
        for item in items
        for field in ("question", "generation", "subject")
    }
    assert "It is France | sure." in texts
    for text in (page.text, *(path.read_text() for path in (bare.markdown, bare.table))):
        assert not any(item_text in text for item_text in texts)
        assert "cells/" not in text
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    tables = [table for table in whole.tables if table.header[0] != TEXTS[0]]
    assert [table.header for table in page.tables] == [
        tuple(name for name in table.header if name != "items") for table in tables
    ]
    for table, whole_table in zip(page.tables, tables, strict=True):
        columns = [column for column, name in enumerate(whole_table.header) if name in table.header]
        figures = [[row.texts[column] for column in columns] for row in whole_table.rows]
        if "cell" not in table.header:  # a link there
            assert [list(row.texts) for row in table.rows] == figures
    rows, whole_rows = (list(csv.DictReader(path.read_text().splitlines())) for path in (bare.table, written.table))
    assert rows == [{name: value for name, value in row.items() if name != "items"} for row in whole_rows]


def test_every_model_is_identified(tmp_path: Path) -> None:
    for name in ("m", "n"):
        path = tmp_path / "cells" / f"{write_cell(tmp_path, model=name, forget=1.0, retain=1.0)}.json"
        result = json.loads(path.read_text())
        result["provenance"]["model"] = {"spec": f"owner/{name}", "weights": f"{name}1", "revision": ""}
        path.write_text(json.dumps(result))
    table = write_report([tmp_path], tmp_path / "report").markdown.read_text().split("## How it was run")[1]
    assert [line for line in table.splitlines() if " of m | " in line or " of n | " in line] == [
        "| spec of m | owner/m |", "| weights of m | m1 |", "| spec of n | owner/n |", "| weights of n | n1 |",
    ]  # fmt: skip
    assert "Columns without intervals" not in table


def test_a_report_without_items_names_a_model_of_a_folder_without_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "grid"
    for name in ("/home/me/a/gemma", "/home/me/b/gemma", "gemma"):
        for status in ("done", "failed"):
            method: dict[str, Any] = {"method": "NPO", "lr": 1e-4} if status == "failed" else {}
            path = (
                folder / "cells" / f"{write_cell(folder, model=name, forget=1, retain=1, status=status, **method)}.json"
            )
            result = json.loads(path.read_text())
            result["provenance"]["model"] = {"spec": name} if status == "done" else {}
            result["reason"] = f"{name}: no such model" if status == "failed" else ""
            path.write_text(json.dumps(result))
    for items in (True, False):
        report = write_report([folder], tmp_path / "report", items=items)
        for path in (report.html, report.markdown, report.table):
            text = path.read_text()
            assert ("/home/me" in text) == items, path
            assert items or all(name in text for name in ("gemma", "gemma (2)", "gemma (3)"))
    assert "| gemma (2): no such model |" in report.markdown.read_text()


def test_a_report_without_items_gives_reasons_up_to_their_first_path(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1, retain=1)
    path = cell_path(tmp_path, write_cell(tmp_path, method="NPO", lr=1e-4, forget=0, retain=0, status="failed"))
    reasons = {
        "OSError: '/home/me/My Cache/x.bin': no such file": "OSError: '...",
        "no such folder: /home/me": "no such folder: ...",
        "reading file:///home/me/x or private/x failed": "reading ...",
        "loss or gradient not finite at step 3": "loss or gradient not finite at step 3",
    }
    for reason, bare in reasons.items():
        path.write_text(json.dumps(json.loads(path.read_text()) | {"reason": reason}))
        for items, expected in ((True, reason), (False, bare)):
            page = Page(write_report([tmp_path], tmp_path / "report", items=items).html.read_text())
            (table,) = (table for table in page.tables if "reason" in table.header)
            assert table.rows[0].texts[-1] == expected


def test_every_chart_is_a_file_that_markdown_shows_where_a_folder_is_given(written: Written) -> None:
    folder = written.html.parent.parent
    report = write_report([folder], folder / "drawn", title="A <grid>", figures=folder / "the figures")
    assert sorted((folder / "the figures").iterdir()) == sorted(report.figures)
    drawn = re.findall(r"<svg.*?</svg>", report.html.read_text(), re.DOTALL)
    assert len(report.figures) == len(set(drawn)) == len(drawn) > 10
    # The same shapes in the same order, with links as groups.
    shapes = [re.findall(r' d="([^"]*)"', text) for text in (*drawn, *(path.read_text() for path in report.figures))]
    assert shapes[: len(drawn)] == shapes[len(drawn) :]
    text = report.markdown.read_text()
    shown = re.findall(r"!\[(.*?)\]\(<(.*?)>\)\n", text)
    assert [(folder / "drawn" / unquote(address)).resolve() for _, address in shown] == report.figures
    names = [path.stem for path in report.figures]
    assert all(name.startswith(("forgetting-against-retention", "stability")) for name in names[:4])
    assert [name for name in names if name.startswith("ranks-and-log-probabilities-sft-rare")] == [
        "ranks-and-log-probabilities-sft-rare-change-of-log-p-a-token-nats",
        "ranks-and-log-probabilities-sft-rare-median-rank-of-the-first-answer-token",
    ]
    assert "other-wordings-and-prompts-sft-rare" in names, "a title of one chart says enough"
    bare = re.sub(r"(!\[.*?\]\(<.*?>\)\n)+\n", "Charts are on the HTML page. ", text)
    assert bare == written.markdown.read_text()


def test_markdown_finds_its_charts_from_a_folder_behind_a_link(tmp_path: Path) -> None:
    for method, lr in (("none", 0.0), ("NPO", 1e-4)):
        write_cell(tmp_path, method=method, lr=lr, forget=1.0, retain=1.0)
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "drawn").symlink_to(tmp_path / "disk" / "deep")
    report = write_report([tmp_path], tmp_path / "drawn", figures=tmp_path / "figures")
    shown = re.findall(r"!\[.*?\]\(<(.*?)>\)\n", report.markdown.read_text())
    assert [(tmp_path / "drawn" / unquote(address)).resolve() for address in shown] == report.figures != []


def test_every_table_is_a_file_with_the_texts_and_numbers_of_the_page_where_a_folder_is_given(written: Written) -> None:
    folder = written.html.parent.parent
    report = write_report([folder], folder / "told", title="A <grid>", tables=folder / "the tables")
    assert sorted((folder / "the tables").iterdir()) == sorted(report.tables)
    assert report.markdown.read_text() == written.markdown.read_text()
    named = {
        path.stem: list(csv.reader(path.read_text().splitlines())) for path in report.tables if path.suffix == ".csv"
    }
    page = report.html.read_text()
    assert len(named) == page.count("<table")
    cells = {html.unescape(re.sub("<.*?>", "", cell)) for cell in re.findall(r"<t[dh].*?</t[dh]>", page, re.DOTALL)}
    in_latex = {path.stem: _rows_of(path.read_text()) for path in report.tables if path.suffix == ".tex"}
    assert {text for rows in in_latex.values() for row in rows for text in row} - {""} <= cells
    assert {stem: _with_intervals(rows) for stem, rows in named.items()} == in_latex
    main = named["chosen-learning-rates"]
    assert "items" not in main[0]
    assert [len(row) for row in main] == [len(main[0])] * (1 + len(report.rows))
    loss = "findings-loss-of-rouge-l-recall-on-popular-and-on-rare-facts"
    assert named[loss][0][:5] == ["comparison", "popular", "popular, low", "popular, high", "rare"]
    assert all(float(low) <= float(value) <= float(high) for _, value, low, high, *_ in named[loss][1:])
    assert f"{loss}-paired-on-the-confidence-before" in named
    assert {f"every-learning-rate-{stage}-rare" for stage in ("pretrained", "sft")} <= named.keys()


def _with_intervals(rows: list[list[str]]) -> list[list[str]]:
    """A table with estimates and their ends as texts again, as a dash where there is none."""
    head, *body = rows
    columns = []
    for index, name in enumerate(head):
        if f"{name}, low" in head:
            texts = [f"{row[index]} [{row[index + 1]}, {row[index + 2]}]" if row[index] else "-" for row in body]
            columns.append([name, *texts])
        elif not name.endswith((", low", ", high")):
            columns.append([name, *(row[index] for row in body)])
    return [list(row) for row in zip(*columns, strict=True)]


_OF_LATEX = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    "$-$": "-",
    "-{}": "-",
    r"\`{}": "`",
    "{''}": '"',
    "{[}": "[",
    "{*}": "*",
    **{f"\\{sign}": sign for sign in "&%$#_{}"},
}


def _rows_of(latex: str) -> list[list[str]]:
    """The texts of a table in LaTeX, as LaTeX reads them."""
    rows = [line.removesuffix(r" \\").split(" & ") for line in latex.splitlines() if line.endswith(r" \\")]
    special = "|".join(map(re.escape, _OF_LATEX))
    return [[re.sub(special, lambda found: _OF_LATEX[found[0]], cell) for cell in row] for row in rows]


def test_a_table_for_latex_has_its_caption_as_a_comment_and_no_row_that_begins_with_an_argument() -> None:
    texts = ["[Paris]", "50 % & {more}_$# --x --- -1 --2", r"C:\~^ `x`", 'p < 0.001 | "a" > b']
    table = Table(tuple(texts), (tuple(texts), ("*", "2", "3", "4")), "What\nit is.", exact=("n",))
    first, start, *rows, end = _latex(table).splitlines()
    assert first == "% What it is. Columns without intervals (counts, settings, results of tests): n."
    assert (start, end) == (r"\begin{tabular}{llll}", r"\end{tabular}")
    assert [row[:4] for row in rows] == [r"\top", "{[}P", r"\mid", "{[}P", "{*} ", r"\bot"]
    assert _rows_of("\n".join(rows)) == [texts, texts, ["*", "2", "3", "4"]]
    assert "--" not in "".join(rows), "which LaTeX would make a dash"
    assert r"p \textless{} 0.001 \textbar{} {''}a{''} \textgreater{} b" in rows[1]


def test_a_table_for_latex_says_where_it_has_letters_that_not_every_latex_can_set() -> None:
    for text, number in (("Kyiv", 0), ("Київ", 1)):
        lines = _latex(Table((text,), (), "Of Київ.")).splitlines()
        assert sum("use lualatex or xelatex" in line for line in lines) == number
        assert lines[number + 1].startswith(r"\begin")


def test_a_method_has_one_colour_in_all_charts_though_some_lack_others(tmp_path: Path) -> None:
    for stage, methods in (("pretrained", ("GradDiff", "NPO")), ("sft", ("NPO",))):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0, panel=0.8)
        for method in methods:
            write_cell(tmp_path, stage=stage, method=method, lr=1e-4, forget=0.2, retain=0.9, panel=0.7)
    source = write_report([tmp_path], tmp_path / "report").html.read_text()
    colours: dict[str, set[str]] = {}
    for colour, name in re.findall(r'class="legend"><path class="dot (c\d)"[^>]*/><text[^>]*>([^<]*)<', source):
        colours.setdefault(name, set()).add(colour)
    assert [colours[name] for name in ("GradDiff", "NPO", "before")] == [{"c0"}, {"c1"}, {"c2"}]


def test_same_results_same_report(written: Written, tmp_path: Path) -> None:
    again = write_report([written.html.parent.parent], written.html.parent.parent / "again", title="A <grid>")
    assert again.html.read_text() == written.html.read_text()
    assert again.markdown.read_text() == written.markdown.read_text()


def test_points_of_one_seed_are_hollow_and_the_model_before_is_not(tmp_path: Path) -> None:
    for method, lr, forget, seeds in (("none", 0.0, 1.0, 1), ("NPO", 1e-4, 0.3, 1), ("WGA", 1e-4, 0.4, 2)):
        for seed in range(seeds):
            write_cell(tmp_path, method=method, lr=lr, seed=seed, forget=forget, retain=0.9)
    page = write_report([tmp_path], tmp_path / "report").html.read_text()
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    frontier = next(svg for svg in charts if "forget, ROUGE-L recall" in svg and "retain_eval" in svg)
    marks = {
        match[1]: "hole" in link
        for link in re.findall(r"<a .*?</a>", frontier, re.DOTALL)
        if (match := re.search(r"<title>(\w+)", link))
    }
    assert {name: marks[name] for name in ("NPO", "WGA", "before")} == {"NPO": True, "WGA": False, "before": False}


def test_results_without_the_model_before_unlearning_are_told_where_they_are_missing(tmp_path: Path) -> None:
    for method, lr in (("none", 0.0), ("NPO", 1e-4), ("NPO", 1e-3)):
        for forget in ("rare", "popular"):
            if (method, forget) != ("none", "rare"):
                write_cell(tmp_path, method=method, lr=lr, forget=0.5, retain=0.9, forget_set=forget)
    write_cell(tmp_path, method="NPO", lr=1e-2, forget=0, retain=0, forget_set="rare", status="failed")
    text = write_report([tmp_path], tmp_path / "report").markdown.read_text()
    (line,) = [line for line in text.splitlines() if "no result before unlearning (method none)" in line]
    assert "rare: there is" in line
    assert "to compare 2 results with, so they are in the table of every cell alone" in line


def test_a_baseline_of_zero_and_an_area_above_one_are_explained(tmp_path: Path) -> None:
    for method, lr, forget, retain in (("none", 0.0, 1.0, 0.5), ("NPO", 1e-4, 0.5, 0.7), ("NPO", 1e-3, 0.0, 0.9)):
        name = write_cell(tmp_path, method=method, lr=lr, forget=forget, retain=retain)
        path = tmp_path / "cells" / f"{name}.json"
        result = json.loads(path.read_text())
        for number, row in enumerate(result["items"]["forget"]):
            row["ground_truth"] = f"answer{number}"
        path.write_text(json.dumps(result))
    report = write_report([tmp_path], tmp_path / "report")
    text = report.markdown.read_text()
    assert {row["baseline"] for row in report.rows} == {"0.000 [0.000, 0.116]"}
    assert "such as giving every question the most frequent answer, which scores 0 if none repeats; it" in text
    # Where all is forgotten, nearly twice as much is kept as before.
    assert re.search(r"\| NPO \| \S+ \[\S+ \S+ \| 1\.[5-9]\d\d \[", text)
    assert "loses nothing, more where retain_eval rises above its score before unlearning." in text
