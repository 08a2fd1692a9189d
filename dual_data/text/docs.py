"""What the code of a class says of its attributes: the text below each (PEP 257), for readers who do not have it."""

from __future__ import annotations

import ast
from itertools import pairwise


def attribute_docs(definition: ast.ClassDef) -> dict[str, str]:
    """The text below each attribute of a class, in one line."""
    docs = {}
    for attribute_and_doc in pairwise(definition.body):
        match attribute_and_doc:
            case (
                ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=text)),
            ):
                docs[name] = " ".join(str(text).split())
    return docs
