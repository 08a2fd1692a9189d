"""The stages themselves, in labels mode, without the engine: python -m benchmarks.pipeline.ours PROJECT FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.pipeline.outcome import PERCENTS, RECIPES, SMALLEST, Outcome


def main() -> None:
    """Run and print the outcome."""
    outcome = Outcome()
    project, folder = Path(sys.argv[1]), Path(sys.argv[2])
    with outcome.part("imports"):
        import polars as pl

        from dual_data.calls.fetching import Calls
        from dual_data.config import Services
        from dual_data.engine.stage import Tools
        from dual_data.engine.tables import settle
        from dual_data.project.loading import open_embedding, open_model
        from dual_data.schema import Facts, Knowledge, Links, Questions, Salience
        from pipeline import facts, questions, splits
        from pipeline.recipes import examples

        calls = Calls(project / "no-calls.sqlite", read_only=True)
        tools = Tools(project, Services(), calls, open_model, open_embedding)
    with outcome.part("facts"):
        triplets = facts.run(facts.FactsParams(source="labels", folder=str(folder)), tools)
        fact_table = settle(triplets, Facts, "facts")
    with outcome.part("questions"):
        question_rows = questions.run(questions.QuestionsParams(), tools, facts=fact_table.rows)
        question_table = settle(question_rows, Questions, "questions")
    params = splits.SplitsParams.model_validate(
        {
            "recipes": RECIPES,
            "percents": PERCENTS,
            "smallest": SMALLEST,
            "matched": {"signal": "mentions"},
            "paper": {"signal": "mentions"},
        }
    )
    no_knowledge = Knowledge.create_empty()
    with outcome.part("splits"):
        pool = examples.pooled(
            fact_table.rows, Links.create_empty(), question_table.rows, no_knowledge, Salience.create_empty()
        )
        selection = splits.select(params, tools, pool)
        splits.joined_examples(params, selection, no_knowledge)
    with outcome.part("measures"):
        splits.measures(params, selection)
    outcome.rows, outcome.facts, outcome.questions = triplets.height, fact_table.rows.height, question_table.rows.height
    rejected = pl.concat([fact_table.rejected.select("reason"), question_table.rejected.select("reason")])
    counts = rejected.group_by("reason", maintain_order=True).len().sort("len", descending=True)
    outcome.removed = dict(counts.iter_rows())
    outcome.splits = {
        recipe.recipe: {split.name: (len(split.facts), split.holds) for split in recipe.splits}
        for recipe in selection.outcomes
    }
    members = pl.concat(selection.members.values())
    outcome.keep(members.select("recipe", "split", "position", "fact_id").iter_rows())
    outcome.print()


if __name__ == "__main__":
    main()
