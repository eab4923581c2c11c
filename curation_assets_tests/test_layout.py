"""The direction of imports, what loading the code location may cost, and the shape of the graph."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "numba",
    "torch",
    "cv2",
    "transformers",
    "av",
    "scenedetect",
    "onnxruntime",
    "open_clip",
    "duckdb",
    "numba",
    "yt_dlp",
    "PIL",
    "sklearn",
    "skimage",
    "faiss",
)


def modules(package: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files]
    return [n.removesuffix(".__init__") for n in names]


def first_offender(names: list[str], forbidden: tuple[str, ...]) -> str | None:
    """Imports the modules one after the other in a fresh process; the first after which a forbidden package is loaded."""
    code = f"""
import importlib, json, sys
for name in {names!r}:
    importlib.import_module(name)
    bad = sorted(m for m in sys.modules if m.startswith({forbidden!r}) or m in {tuple(f.rstrip(".") for f in forbidden)!r})
    if bad:
        print(json.dumps(f"{{name}} pulls in {{bad[0]}}"))
        break
else:
    print("null")
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_resources_know_nothing_of_the_graph() -> None:
    assert first_offender(modules("curation_resources"), ("curation_assets.",)) is None


ROOMS = ("showing", "ingest", "decode", "scores", "dedup", "concepts", "captions", "tracks", "publish", "rules")


def test_the_work_knows_nothing_of_dagster() -> None:
    rooms = [m for room in ROOMS for m in modules(f"curation_assets/{room}")]
    assert first_offender(rooms, ("dagster.", "curation_assets.orchestration.")) is None


ADDRESSES = ("definitions.py", "run_launcher.py")
"""Addresses that workspaces and instance files of users name."""
ABOVE = ("cli", "reference", "renaming", "runner", *(a.removesuffix(".py") for a in ADDRESSES))
"""What is above Dagster and reaches it through `orchestration`: commands, and those addresses."""
COMMANDS = ("commands", "demo", "on_call", "takedown", "starter")


def test_tables_are_declared_planned_and_made_without_dagster() -> None:
    below = [
        m
        for m in modules("curation_assets")
        if m.split(".")[1:2] and m.split(".")[1] not in ("orchestration", *ABOVE, *COMMANDS)
    ]
    assert {"curation_assets.engine.plan", "curation_assets.publish.export_makers", "curation_assets.report"} <= set(
        below
    )
    assert first_offender(below, ("dagster.", "curation_assets.orchestration.")) is None


def test_dagster_is_imported_in_one_folder_and_its_private_names_in_one_module() -> None:
    for file in sorted([*(ROOT / "curation_assets").rglob("*.py"), *(ROOT / "resources").rglob("*.py")]):
        own = file.relative_to(ROOT).as_posix()
        for name in imported(file):
            if name.split(".")[0].startswith("dagster"):
                assert own.startswith("curation_assets/orchestration/"), f"{own} imports {name}"
                private = any(part.startswith("_") for part in name.split("."))
                assert not private or own == "curation_assets/orchestration/compat.py", f"{own} imports {name}"


def imported(file: Path) -> set[str]:
    """All modules and names that a file imports, those inside functions and behind TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_private_name_of_dagster_says_why_and_which_test_pins_it() -> None:
    """A comment stands before each import, with the file of a test that there is."""
    lines = (ROOT / "curation_assets/orchestration/compat.py").read_text(encoding="utf-8").splitlines()
    said = ""
    for line in map(str.strip, lines):
        if line.startswith("# "):
            said = said + line if said.startswith("# ") else line
        elif line.startswith("from dagster"):
            named = re.findall(r"[\w/]*test_\w+\.py", said)
            assert named, f"nothing is said of {line}"
            assert all((ROOT / "curation_assets_tests" / n).exists() for n in named), named
        elif not line:
            said = ""


def test_the_package_and_the_command_line_load_without_dagster() -> None:
    names = ["curation_assets", "curation_assets.cli"]
    assert first_offender(names, ("dagster.", *(f"{h}." for h in HEAVY))) is None


def test_the_code_location_loads_without_heavy_libraries(tmp_path: Path) -> None:
    names = ["curation_assets.definitions"]
    assert first_offender(names, tuple(f"{h}." for h in HEAVY)) is None


PARTS = {
    "rules/language rules/tokens rules/measured": "language",
    "registry plugins": "registry",
    "recipes recipe_yaml recipe_schema schemas selection checks stores rules showing/columns": "derived",
    "makers installed failures outcome report explain finding listing recipe_diff verify source_watch estimate estimate_size estimate_text projection projection_text remarks": "looking",
    "api exported_clips": "api",
    "commands cli reference runner renaming takedown/command": "commands",
    "definitions run_launcher": "addresses",
}
"""Where a part of the package is not a folder of its own: the files that it has, and its name."""
ARROWS = {
    "contracts": "language",
    "showing": "contracts",
    "ingest": "contracts settings showing derived engine",
    "decode": "contracts showing ingest derived engine",
    "scores": "contracts showing decode derived engine",
    "dedup": "contracts settings showing decode derived engine",
    "concepts": "contracts dedup settings showing scores derived engine",
    "captions": "contracts showing ingest scores derived engine",
    "tracks": "contracts showing decode scores derived engine",
    "publish": "contracts language settings showing ingest decode scores tracks registry derived engine",
    "registry": "contracts language publish",
    "derived": "contracts language settings showing ingest publish registry",
    "engine": "contracts settings showing ingest captions publish registry derived",
    "looking": "contracts language settings showing ingest decode dedup concepts publish registry derived engine",
    "takedown": "contracts settings showing ingest dedup concepts publish registry derived engine",
    "orchestration": "contracts settings showing ingest publish registry derived engine looking takedown",
    "api": "settings showing decode publish registry derived",
    "addresses": "settings derived orchestration",
    "starter": "settings",
    "demo": "settings registry derived starter",
    "on_call": "settings registry derived engine looking takedown orchestration",
    "components": "contracts scores engine",
    "comparing": "contracts showing decode publish registry derived",
    "look": "language showing decode scores tracks publish registry derived looking",
    "commands": "contracts language settings ingest publish registry derived engine looking takedown orchestration starter demo",
}
"""What each part imports when it is loaded, besides the resources. A new arrow is a decision: docs/explanation/architecture.md draws them."""
LATE = {
    "contracts": "settings publish derived engine",
    "dedup": "scores",
    "api": "engine commands",
    "demo": "commands",
    "commands": "captions showing on_call look comparing",
    "package": "derived api",
}
"""What each part imports besides only when it is called, or for its types."""
DECLARED = {"contracts", "language", "registry", "showing", *ROOMS} - {"rules"}
"""All that is loaded with the registry, besides a word on pods."""


def part_of(module: str) -> str:
    """The part of the package that a module belongs to."""
    path = module.split(".")[1:]
    for files, part in PARTS.items():
        if any(path[: len(own)] == own for own in (name.split("/") for name in files.split())):
            return part
    return path[0] if path else "package"


def arrows() -> Iterator[tuple[str, str, bool]]:
    """(module, module or name that it imports, whether that is when it is loaded) of the package."""
    known = set(modules("curation_assets"))
    for module in known:
        file = ROOT.joinpath(*module.split("."))
        tree = ast.parse(
            (file / "__init__.py" if file.is_dir() else file.with_suffix(".py")).read_text(encoding="utf-8")
        )
        late = {id(n) for f in ast.walk(tree) if _is_late(f) for n in ast.walk(f)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                if name.split(".")[0] == "curation_assets":
                    yield module, name if name in known else name.rpartition(".")[0], id(node) not in late


def _is_late(node: ast.AST) -> bool:
    """Whether what stands in a node is not run when its module is loaded."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def test_each_part_imports_what_the_table_says_and_nothing_else() -> None:
    loaded: dict[str, set[str]] = {}
    called: dict[str, set[str]] = {}
    for module, other, at_once in arrows():
        part, below = part_of(module), part_of(other)
        if part != below:
            (loaded if at_once else called).setdefault(part, set()).add(below)
    late = {part: found for part, own in called.items() if (found := own - loaded.get(part, set()))}
    assert loaded == {part: set(text.split()) for part, text in ARROWS.items()}
    assert late == {part: set(text.split()) for part, text in LATE.items()}


def loading() -> dict[str, set[str]]:
    """Module -> all that is loaded before it is, which the registry finds by name included."""
    direct: dict[str, set[str]] = {m: set() for m in modules("curation_assets")}
    for module, other, at_once in arrows():
        if at_once and other != module:
            direct[module].add(other)
    direct["curation_assets.registry"] |= {m for m in direct if m.endswith(".components") and m.count(".") == 2}

    def closed(module: str) -> set[str]:
        seen: set[str] = set()
        left = [module]
        while left:
            for other in direct.get(left.pop(), set()) - seen:
                seen.add(other)
                left.append(other)
        return seen

    return {module: closed(module) for module in direct}


def test_no_module_is_loaded_for_one_that_it_loads() -> None:
    assert [module for module, before in loading().items() if module in before] == []


def test_the_registry_loads_declarations_and_nothing_that_is_derived_from_it() -> None:
    before = loading()["curation_assets.registry"]
    assert {part_of(m) for m in before} <= DECLARED | {"engine"}
    assert {m for m in before if part_of(m) == "engine"} == {"curation_assets.engine.pods"}


LINES, PARAMETERS = 400, 7
"""Lines of a file, and parameters of a function: one that grows beyond is divided by what it speaks of."""


def sources() -> dict[str, str]:
    """Path -> text of every module of the package and its resources."""
    files = sorted(f for folder in ("curation_assets", "resources") for f in (ROOT / folder).rglob("*.py"))
    return {str(f.relative_to(ROOT)): f.read_text(encoding="utf-8") for f in files}


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    long = {name for name, text in sources().items() if text.count("\n") > LINES}
    assert long == set(), "divide it by what it speaks of"


def test_no_function_has_endless_parameters() -> None:
    wide = set()
    for name, text in sources().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
                if sum(a.arg not in ("self", "cls") for a in every) > PARAMETERS:
                    wide.add(f"{name}: {node.name}")
    assert wide == set(), "give it an object of what belongs together"


def test_no_two_classes_have_one_name() -> None:
    named: dict[str, list[str]] = {}
    for name, text in sources().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                named.setdefault(node.name, []).append(name)
    assert {n: f for n, f in named.items() if len(f) > 1} == {}


@pytest.fixture(scope="module")
def graph() -> dict[str, tuple[str | None, list[str]]]:
    from curation_assets.definitions import build_definitions
    from curation_assets.settings import Settings

    definitions = build_definitions(Settings(recipes=str(ROOT / "recipes"), storage="memory://layout"))
    assets = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): (
            assets.get(key).group_name,
            sorted(p.to_user_string() for p in assets.get(key).parent_keys),
        )
        for key in assets.get_all_asset_keys()
    }


def test_every_table_of_the_registry_is_an_asset_and_the_other_way_round(
    graph: dict[str, tuple[str | None, list[str]]],
) -> None:
    from curation_assets.schemas import SCHEMAS

    assert sorted(graph) == sorted(SCHEMAS)


def test_settings_are_named_in_errors() -> None:
    from curation_assets.settings import Settings, SettingsError

    assert Settings.load({}).storage == "./data"
    assert Settings.load({"CURATION_WORKERS": "3"}).workers == 3
    with pytest.raises(SettingsError, match=r"CURATION_WORKERS: .*greater than or equal to 1.*got '0'"):
        Settings.load({"CURATION_WORKERS": "0"})


def test_dotenv_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curation_assets.settings import Settings

    (tmp_path / ".env").write_text("CURATION_STORAGE=s3://from-file\nCURATION_WORKERS=2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CURATION_STORAGE", raising=False)
    monkeypatch.setenv("CURATION_WORKERS", "5")
    assert (Settings.load().storage, Settings.load().workers) == ("s3://from-file", 5)
    assert "CURATION_STORAGE" not in os.environ


def test_generated_references_are_up_to_date() -> None:
    from curation_assets.reference import PAGES

    for name, page in PAGES.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page(), (
            f"docs/{name} is out of date: run `make docs`"
        )
