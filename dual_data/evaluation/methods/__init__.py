"""Unlearning methods, one small file each. A method needs no more than its file in this folder to be known by name."""

import ast
import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules

from dual_data.errors import UsageError
from dual_data.evaluation.methods.base import Method
from dual_data.ids import digest


def _discover() -> Iterator[tuple[Method, str]]:
    """Every method, and the code of its module."""
    for info in sorted(iter_modules(__path__)):
        module = import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, Method):
                yield value, code_hash(inspect.getsource(module))


def code_hash(source: str) -> str:
    """Hash of what the source of a module does; comments, docstrings and layout do not change it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return digest(ast.unparse(tree))


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, of an attribute too, or another constant alone."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


_DISCOVERED = {method.name: (method, code) for method, code in _discover()}

METHODS: Mapping[str, Method] = {name: method for name, (method, _) in _DISCOVERED.items()}
"""All methods that modules of this package define, by name."""
CODES: Mapping[str, str] = {name: code for name, (_, code) in _DISCOVERED.items()}
"""`code_hash` of the file of each method, by the method's name."""


def method_named(name: str) -> Method:
    """The method called `name`. Raises UsageError that lists the known ones."""
    if name not in METHODS:
        raise UsageError(f"{name}: unknown method; known here: {', '.join(METHODS)}")
    return METHODS[name]
