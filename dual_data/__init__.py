"""Build, audit, release and evaluate the DUAL benchmark for LLM unlearning."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dual_data.released import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> object:
    """`load`, imported when it is first asked for: `import dual_data` alone stays light."""
    if name == "load":
        from dual_data.released import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names for completion, those with them that are not imported yet."""
    return sorted({*globals(), *__all__})
