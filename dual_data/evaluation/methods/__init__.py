"""Unlearning methods, one small file each. A method needs no more than its file to be known by name: in this folder, or
in pipeline/methods of a project.
"""

import ast
import inspect
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from pydantic import TypeAdapter, ValidationError

from dual_data.errors import UsageError
from dual_data.evaluation.methods.base import Method
from dual_data.evaluation.results import BASE
from dual_data.ids import digest

METHODS: dict[str, Method] = {}
"""All methods by name: those that modules of this package define, and those of the project that was loaded last."""

_FIELDS = TypeAdapter(Method)

_PACKAGE = "project_methods"
"""Name under which the files of a project are imported."""


def code_hash(source: str | bytes) -> str:
    """Hash of what the source of a module does; comments, docstrings and layout do not change it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
        elif isinstance(node, ast.JoinedStr):
            node.values = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
    return digest(str(_plain(tree)))


def _plain(node: object) -> object:
    """A syntax tree as lists of names and values.

    Releases of Python differ in the quotes that `ast.unparse` writes, in the fields without a value that nodes have,
    which are left out here, and in the empty parts of f-strings.
    """
    if isinstance(node, ast.AST):
        fields = [(name, _plain(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *fields]
    return [_plain(part) for part in node] if isinstance(node, list) else repr(node)


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, of an attribute too, or another constant alone."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def load_methods(project: Path) -> None:
    """Make known what the Python files in pipeline/methods of a project define, in place of another project's methods.

    Files whose names begin with _ are helpers, which the others may import. Raises UsageError for a file that cannot be
    loaded, and for one without a method, with a wrong one or with a name that is taken; for all such files at once.
    """
    for name in METHODS.keys() - _OWN:
        del METHODS[name]
    folder = project / "pipeline" / "methods"
    _begin_package(folder)
    helpers = _helpers_hash(folder)
    faults = []
    for path in sorted(folder.glob("[!_]*.py")):
        try:
            _make_known(path, helpers)
        except UsageError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("\n".join(faults))


def _make_known(path: Path, helpers: str) -> None:
    source = path.read_bytes()
    methods = _methods_in(_load(path, source), source)
    if helpers:
        methods = [method._replace(code=digest(f"{method.code}|{helpers}")) for method in methods]
    if not methods:
        raise UsageError(f'{path}: defines no method, such as: METHOD = Method("Name", loss, "its source")')
    for method in methods:
        if method.name in METHODS or method.name == BASE:
            raise UsageError(f"{path}: there is a method {method.name!r} already; choose another name")
        METHODS[method.name] = method


def _begin_package(folder: Path) -> None:
    """Let the files of a folder import each other as `from ._name import ...`, anew for every project."""
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[_PACKAGE] = package


def _helpers_hash(folder: Path) -> str:
    """Hash of the code of a folder's helpers; empty where there is none, such as beside an empty __init__.py.

    Of all of them, as what a method imports, and what that imports, shows only when it runs.
    """
    hashes = {path.name: _hash_of(path) for path in sorted(folder.glob("_*.py"))}
    with_code = {name: value for name, value in hashes.items() if value != code_hash("")}
    return digest(str(with_code)) if with_code else ""


def _hash_of(path: Path) -> str:
    try:
        return code_hash(path.read_bytes())
    except SyntaxError as error:
        raise _not_loaded(path, error) from error


def _not_loaded(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path}: cannot be loaded: {type(error).__name__}: {error}")


def _load(path: Path, source: bytes) -> ModuleType:
    """The module of this very source, whose hash its results carry.

    An import may take cached bytecode of a file that has the same size and was changed in the same second.
    """
    module = ModuleType(f"{_PACKAGE}.{path.stem}")
    module.__file__, module.__package__ = str(path), _PACKAGE
    sys.modules[module.__name__] = module  # as dataclasses need it
    try:
        exec(compile(source, path, "exec"), vars(module))  # noqa: S102 - as an import would
    except Exception as error:
        raise _not_loaded(path, error) from error
    return module


def _methods_in(module: ModuleType, source: str | bytes) -> list[Method]:
    """The methods of a module, without those that it imports, and with the hash of its code."""
    methods = [value for value in vars(module).values() if isinstance(value, Method)]
    imported = [method._replace(code="") for method in METHODS.values()]
    code = code_hash(source)
    return [_valid(method, module)._replace(code=code) for method in methods if method not in imported]


def _valid(method: Method, module: ModuleType) -> Method:
    """The method with fields of the right types. Raises UsageError with its file where this is impossible."""
    try:
        valid = _FIELDS.validate_python(method._asdict())
        valid.expect_valid()
    except ValidationError as error:
        fault = error.errors()[0]
        message = f"{fault['loc'][0]}: {fault['input']!r} is wrong: {fault['msg']}"
    except ValueError as error:
        message = str(error)
    else:
        return valid
    raise UsageError(f"{module.__file__}: Method({method.name!r}): {message}")


def method_named(name: str) -> Method:
    """The method called `name`. Raises UsageError that lists the known ones."""
    if name not in METHODS:
        raise UsageError(f"{name}: unknown method; known here: {', '.join(METHODS)}")
    return METHODS[name]


for _info in sorted(iter_modules(__path__)):
    _module = import_module(f"{__name__}.{_info.name}")
    METHODS |= {_method.name: _method for _method in _methods_in(_module, inspect.getsource(_module))}
_OWN = frozenset(METHODS)
