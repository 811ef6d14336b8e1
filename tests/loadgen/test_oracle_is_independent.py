"""The oracle shares nothing with the product but its contract, through however many of its own modules."""

import ast
import sys
from pathlib import Path

import ingest.loadgen

LOADGEN = Path(ingest.loadgen.__file__).parent
MODULES = [LOADGEN / "expected.py", *sorted((LOADGEN / "oracle").glob("*.py"))]
ALLOWED = {"flowpb", "pyarrow"}


def imports_of(path: Path) -> set[str]:
    """Absolute modules that a file imports; relative imports are resolved."""
    package = list(path.relative_to(LOADGEN.parents[1]).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            found.add(".".join([*above, *([node.module] if node.module else [])]))
    return found


def test_the_oracle_imports_only_the_contract_and_itself() -> None:
    own = {"ingest.loadgen.oracle." + path.stem for path in MODULES[1:]}
    assert len(own) == 5
    for path in MODULES:
        outside = {name for name in imports_of(path) - own if name.partition(".")[0] not in sys.stdlib_module_names}
        assert {name.partition(".")[0] for name in outside} <= ALLOWED, path


def test_it_computes_no_columns() -> None:
    assert not any("numpy" in imports_of(path) or "polars" in imports_of(path) for path in MODULES)
