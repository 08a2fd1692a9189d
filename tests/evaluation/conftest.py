"""The project of the small grid, which tests of many modules run."""

from tests.evaluation.grid.small_grid import project

__all__ = ["project"]
