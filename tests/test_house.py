"""Imports between rooms point down one written order, that of CONTRIBUTING.md; a room is a part of `sfi_zoo` such as `layers` or `hub`.

Read from the syntax trees: imports at the head, inside functions and under TYPE_CHECKING, what is reached through an imported name
(`sfi_zoo.hub.load` after `import sfi_zoo`), and module names in strings, whole or put together, which `import_module` and the
tables of what is imported on first use take.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "sfi_zoo"
FOLDERS = {
    PACKAGE: PACKAGE,
    "models": f"{PACKAGE}.models",
    "metrics": f"{PACKAGE}.metrics",
}  # where files are
EXCEPTIONS = {
    (
        "sfi_zoo.models.on_hub",
        "sfi_zoo.hub",
    ): "a model's from_pretrained and push_to_hub read and write the Hub",
    (
        "sfi_zoo.filters",
        "sfi_zoo.layers.plot",
    ): "filters.plot is the name in use; it draws the layers' designs",
}


class Arrow(NamedTuple):
    """One import: of a module, by a module, and where it stands."""

    source: str
    target: str
    place: str


def modules_of(root: Path) -> dict[str, Path]:
    """Module name -> its file."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in (root / folder).rglob("*.py"):
            parts = path.relative_to(root / folder).with_suffix("").parts
            if (
                folder != PACKAGE or parts[0] not in FOLDERS
            ):  # else reached by the link, and found by its own folder
                found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


@cache
def arrows_of(root: Path) -> list[Arrow]:
    """Every import of one module of the package by another."""
    modules = modules_of(root)
    arrows = []
    for source, path in modules.items():
        tree = ast.parse(path.read_text("utf-8"))
        package = source if path.name == "__init__.py" else source.rpartition(".")[0]
        for line, name in names_in(tree, package):
            if target := longest_module(name, modules):
                arrows.append(Arrow(source, target, f"{path.relative_to(root)}:{line}"))
    return arrows


def names_in(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of whatever is imported, reached through an import, or named in a string."""
    bound = names_bound(tree, package)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (above(package, node.level), node.module)))
            yield from ((node.lineno, f"{base}.{name.name}") for name in node.names)
        elif isinstance(node, ast.Attribute) and (name := attribute_name(node)):
            root, _, rest = name.partition(".")
            for whole in bound.get(root, ()):
                yield node.lineno, f"{whole}.{rest}"
        elif isinstance(node, ast.expr) and re.fullmatch(r"\.*\w+(\.\w*)*", text := put_together(node) or ""):
            name = text.lstrip(".")  # f"sfi_zoo.metrics.{name}" ends with a dot here
            dots = len(text) - len(name)
            yield node.lineno, f"{above(package, dots)}.{name}" if dots else name


def names_bound(tree: ast.AST, package: str) -> dict[str, set[str]]:
    """What names in a module stand for: `import sfi_zoo.hub as h` binds h to that, without `as` the name is that of the package."""
    bound: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                whole = name.name if name.asname else name.name.partition(".")[0]
                bound.setdefault(name.asname or whole, set()).add(whole)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (above(package, node.level), node.module)))
            for name in node.names:
                bound.setdefault(name.asname or name.name, set()).add(f"{base}.{name.name}")
    return bound


def attribute_name(node: ast.expr) -> str | None:
    """`a.b.c` of the expression a.b.c; None of others."""
    if isinstance(node, ast.Attribute):
        owner = attribute_name(node.value)
        return owner and f"{owner}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


def put_together(node: ast.expr) -> str | None:
    """The text of a string that is written as it is, or as a sum, or as "".join of such ones."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = put_together(node.left), put_together(node.right)
        return None if left is None or right is None else left + right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join":
        between, parts = put_together(node.func.value), node.args[0] if len(node.args) == 1 else None
        if between is not None and isinstance(parts, (ast.Tuple, ast.List)):
            texts = [put_together(part) for part in parts.elts]
            return None if None in texts else between.join(text or "" for text in texts)
    return None


def above(package: str, dots: int) -> str:
    """What so many dots stand for: nothing of none, the package of one, what holds it of two."""
    return package.rsplit(".", dots - 1)[0] if dots else ""


def longest_module(name: str, modules: dict[str, Path]) -> str | None:
    """The module that a dotted name is, or is in; None for other packages, and for a name in the package itself."""
    while name not in modules and "." in name:
        name = name.rpartition(".")[0]
    return name if name in modules else None


def room(module: str) -> str:
    """`layers` of `sfi_zoo.layers.stft`; the package's own `__init__` is `sfi_zoo`, the front door."""
    return module.split(".")[1] if "." in module else module


def order_of(text: str) -> dict[str, int]:
    """Room -> its floor, of the block in CONTRIBUTING.md whose lines are `room, room: what they are`, the lowest first."""
    (block,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    lines = [line.partition(":")[0].split(",") for line in block.strip().splitlines()]
    return {name.strip(): floor for floor, names in enumerate(lines) for name in names}


def wrong(root: Path, order: dict[str, int]) -> list[str]:
    """A line for each import that does not point down."""
    lines = []
    for arrow in arrows_of(root):
        source, target = room(arrow.source), room(arrow.target)
        allowed = any(
            arrow.source == who and (arrow.target == whom or arrow.target.startswith(f"{whom}."))
            for who, whom in EXCEPTIONS
        )
        inside = source == target
        version = (
            target == PACKAGE
        )  # `from sfi_zoo import __version__`; names of the front door are found below
        if not (inside or version or allowed or order[source] > order[target]):
            lines.append(f"{arrow.place}: {arrow.source} imports {arrow.target}, which is not below it")
    return lines


@pytest.fixture(scope="module")
def order() -> dict[str, int]:
    return order_of((ROOT / "CONTRIBUTING.md").read_text("utf-8"))


def test_every_room_has_its_place_in_the_written_order(order: dict[str, int]) -> None:
    assert sorted({room(module) for module in modules_of(ROOT)}) == sorted(order)


def test_imports_point_down(order: dict[str, int]) -> None:
    assert not (found := wrong(ROOT, order)), "\n".join(["the order is in CONTRIBUTING.md", *found])


def test_every_exception_is_needed() -> None:
    found = {(a.source, whom) for a in arrows_of(ROOT) for _, whom in EXCEPTIONS if a.target.startswith(whom)}
    assert found >= set(EXCEPTIONS)


def test_inside_the_house_only_the_version_comes_from_the_front_door() -> None:
    modules = modules_of(ROOT)
    for path in modules.values():
        for line, name in names_in(ast.parse(path.read_text("utf-8")), ""):
            own = longest_module(name, modules) == PACKAGE and path != modules[PACKAGE]
            allowed = name == PACKAGE or name.startswith(f"{PACKAGE}.__version__")
            assert not own or allowed, f"{path}:{line} takes {name}"


UPWARD = {
    "at the head": "import sfi_zoo.hub",
    "one of many names": "from sfi_zoo import errors, hub",
    "relative": "from ..hub import load",
    "relative, a name": "from .. import hub",
    "inside a function": "def load():\n    from sfi_zoo.hub import load\n    return load",
    "for types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sfi_zoo.hub import load",
    "by its name": "from importlib import import_module\nload = import_module('sfi_zoo.hub').load",
    "by a relative name": "from importlib import import_module\nload = import_module('..hub', __package__)",
    "under another name": "import sfi_zoo.hub as h",
    "through the front door": "import sfi_zoo\nload = sfi_zoo.hub.load",
    "through the front door's other name": "import sfi_zoo as zoo\nload = zoo.hub.load",
    "through a neighbour": "import sfi_zoo.errors\nload = sfi_zoo.hub.load",
    "by dunder import": "load = __import__('sfi_zoo.hub').hub.load",
    "by a sum": "from importlib import import_module\nload = import_module('sfi_zoo' + '.hub').load",
    "by joined parts": "from importlib import import_module\nload = import_module('.'.join(('sfi_zoo', 'hub'))).load",
    "in a table": "_HOME = {'load': 'sfi_zoo.hub.load'}",
    "in a formatted name": "from importlib import import_module\nload = lambda name: import_module(f'sfi_zoo.hub.{name}')",
}


@pytest.mark.parametrize("text", UPWARD.values(), ids=UPWARD)
def test_an_arrow_up_is_found(tmp_path: Path, text: str) -> None:
    for folder in ("models", "metrics", "sfi_zoo/hub", "sfi_zoo/layers"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "sfi_zoo" / "__init__.py").touch()
    (tmp_path / "sfi_zoo" / "errors.py").touch()
    (tmp_path / "sfi_zoo" / "layers" / "conv.py").write_text(f"import torch\n\n{text}\n")
    lines = wrong(tmp_path, {"errors": 0, "layers": 1, "hub": 2})
    assert lines
    for line in lines:
        assert re.match(r"sfi_zoo/layers/conv\.py:[3-6]: sfi_zoo\.layers\.conv imports sfi_zoo\.hub", line)


def test_an_arrow_down_is_none(tmp_path: Path) -> None:
    for folder in ("models", "metrics", "sfi_zoo/hub", "sfi_zoo/layers"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "sfi_zoo" / "__init__.py").touch()
    (tmp_path / "sfi_zoo" / "hub" / "load.py").write_text(
        '"""Not sfi_zoo.cli."""\nfrom sfi_zoo.layers import x\n'
    )
    assert not wrong(tmp_path, {"layers": 1, "hub": 2})
    assert wrong(tmp_path, {"layers": 2, "hub": 1})
