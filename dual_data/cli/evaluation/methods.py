"""`dual-data eval methods`: what the presets of a grid file can name."""

from __future__ import annotations

import inspect

from dual_data.cli.options import HERE, ProjectFolder
from dual_data.cli.text import printable


def methods(project: ProjectFolder = HERE) -> None:
    """Print every unlearning method.

    Shows the formulas of its loss, of what it makes of gradients and weights, of what the loss reads by row and of what
    changes between epochs, its options with their defaults, and its source. Those of the project's pipeline/methods/
    are among them; outside a project, only the shipped ones are.

    Example: dual-data eval methods
    """
    from dual_data.evaluation.models.cache import need_torch

    need_torch()
    from dual_data.evaluation.methods import METHODS, load_methods
    from dual_data.project.loading import project_or_shipped

    load_methods(project_or_shipped(project))
    for name, method in METHODS.items():
        named = (method.loss, method.gradient, method.noise, method.factor, method.constants, method.controller)
        parts = [part for part in named if part is not None]
        formulas = [" ".join((inspect.getdoc(part) or "").partition("\n\n")[0].split()) for part in parts]
        options = ", ".join(f"{option} = {value!r}" for option, value in method.defaults.items())
        print(printable(name))
        for line in (*formulas, f"options: {options or 'none'}", f"source: {method.source}"):
            if line:
                print(f"    {printable(line)}")
