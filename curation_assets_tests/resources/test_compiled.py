"""Compiled functions follow the sources that they are made from."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import curation_assets
import curation_resources

KERNEL = """
from curation_resources.compiled import compiled
from shape import WIDTH, Box, area

@compiled
def total(boxes):
    found = 0
    for box in boxes:
        found += area(box) * WIDTH
    return found

if __name__ == "__main__":
    print(total((Box(2, 3), Box(4, 5))))
"""
SHAPE = """
from typing import NamedTuple
from curation_resources.compiled import compiled

WIDTH = {width}

class Box(NamedTuple):
    a: int
    b: int

@compiled
def area(box):
    return box.a {operator} box.b
"""


def test_what_is_kept_is_used_again_until_a_module_beside_it_changes(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)

    def total(width: int, operator: str) -> tuple[int, dict[Path, int]]:
        written = SHAPE.format(width=width, operator=operator)
        if not (tmp_path / "shape.py").exists() or (tmp_path / "shape.py").read_text() != written:
            (tmp_path / "shape.py").write_text(written)
        done = subprocess.run([sys.executable, "kernel.py"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout), {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nb?")}

    first, kept = total(1, "*")
    assert first == 26
    assert kept
    assert total(1, "*") == (26, kept)
    assert total(1, "+")[0] == 14
    assert total(3, "+")[0] == 42


def test_compiled_functions_use_their_own_folder_alone() -> None:
    """Other modules may change without their noticing it."""
    strangers = []
    for package in (curation_assets, curation_resources):
        for path in Path(str(package.__path__[0])).rglob("*.py"):
            tree = ast.parse(path.read_text())
            inner = [n for n in tree.body if isinstance(n, ast.FunctionDef) and _is_compiled(n)]
            used = {n.id for f in inner for b in f.body for n in ast.walk(b) if isinstance(n, ast.Name)}
            own = f"{package.__name__}.{'.'.join(path.relative_to(Path(str(package.__path__[0]))).parts[:-1])}".rstrip(
                "."
            )
            for line in tree.body:
                if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("curation_"):
                    names = sorted(used & {a.asname or a.name for a in line.names})
                    if names and (line.module or "").rsplit(".", 1)[0] != own:
                        strangers.append((str(path), line.module, names))
    assert strangers == []


def _is_compiled(function: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "compiled" for d in function.decorator_list)
