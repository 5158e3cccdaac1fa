"""The architecture, held: imports go down only, and heavy libraries are imported where they are used."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rasa_ft"

# A part may import what has a lower number, itself, and the parts that stand on the same line with it.
LAYERS = (
    ("__init__", "errors"),
    ("files", "yaml_nodes", "yaml_source"),
    ("calm",),
    ("e2e", "evaluation"),
    ("llm",),
    ("understanding",),
    ("engine", "training", "serving"),
    ("recipe",),
    ("cli", "plugin", "__main__"),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# Test cases are set up in terms of the engine's interface, which is pure.
EXCEPTIONS = {("e2e", "rasa_ft.engine.base")}

_TRAINING = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "safetensors",
    "unsloth",
    "gguf",
    "numpy",
)
HEAVY = frozenset((*_TRAINING, "vllm", "litellm", "openai", "deepeval", "matplotlib", "numpy", "rasa_sdk", "rasa"))
# Neither network nor command line nor tensors, not even inside a function.
_NETWORK = ("openai", "litellm", "httpx", "requests", "aiohttp", "socket", "http", "urllib3", "vllm", "rasa_sdk")
IMPURE = frozenset((*_TRAINING, *_NETWORK, "click"))
PURE_PARTS = ("calm", "e2e", "evaluation")


@dataclass(frozen=True)
class Import:
    file: Path
    line: int
    module: str
    at_import: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"

    @property
    def part(self) -> str:
        """The part of the package that the importing file belongs to."""
        return self.file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(file: Path, text: str) -> list[Import]:
    """Every import in ``text``; ``at_import`` if it runs when the module is imported."""
    return [
        Import(file, node.lineno, module, at_import)
        for node, at_import in _import_nodes(ast.parse(text), True)
        for module in _modules(node, file)
    ]


def _import_nodes(tree: ast.AST, at_import: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, at_import
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types_only(node)
        yield from _import_nodes(node, at_import and not deferred)


def _is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _modules(node: ast.Import | ast.ImportFrom, file: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = ("rasa_ft", *file.relative_to(PACKAGE).parts[:-1])
    prefix = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
    module = ".".join(filter(None, (prefix, node.module)))
    if module.split(".")[0] == "rasa_ft":  # the names may be modules: `from rasa_ft import calm`
        return [f"{module}.{alias.name}" for alias in node.names]
    return [module]


def breaks_layers(found: Import) -> bool:
    name = found.module.split(".")
    if name[0] != "rasa_ft" or len(name) == 1 or name[1] not in LEVEL:
        return False
    exempt = any(found.part == part and f"{found.module}.".startswith(f"{module}.") for part, module in EXCEPTIONS)
    return not exempt and LEVEL[name[1]] > LEVEL[found.part]


ALL = [found for file in sorted(PACKAGE.rglob("*.py")) for found in imports_of(file, file.read_text())]


def test_imports_go_down_only():
    assert [str(found) for found in ALL if breaks_layers(found)] == []


def test_every_part_has_its_layer():
    parts = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__pycache__"} <= set(LEVEL)


def heavy_modules(imports: list[Import]) -> set[str]:
    """Our modules whose import brings in a heavy library, directly or through each other."""
    eager = [(module_name(found.file), found.module) for found in imports if found.at_import]
    heavy = {importer for importer, module in eager if module.split(".")[0] in HEAVY}
    while more := {importer for importer, module in eager if brings_in(module, heavy)} - heavy:
        heavy |= more
    return heavy


def brings_in(module: str, heavy: set[str]) -> bool:
    """Importing a module also imports the packages around it."""
    names = module.split(".")
    return any(".".join(names[:length]) in heavy for length in range(1, len(names) + 1))


def module_name(file: Path) -> str:
    names = ("rasa_ft", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def test_heavy_libraries_are_imported_where_they_are_used():
    heavy = heavy_modules(ALL)
    # Only modules that are made of tensors, and nothing that others import when they start.
    assert {name for name in heavy if not name.startswith("rasa_ft.training.")} == set()
    assert heavy.isdisjoint({"rasa_ft.training", "rasa_ft.training.config", "rasa_ft.training.trainer"})


def test_heaviness_is_passed_on():
    files = {
        "training/tensors.py": "import torch",
        "training/uses.py": "from rasa_ft.training import tensors",
        "training/defers.py": "def f():\n    from rasa_ft.training.tensors import x",
        "cli/main.py": "import rasa_ft.training.uses",
    }
    imports = [found for file, text in files.items() for found in imports_of(PACKAGE / file, text)]
    assert heavy_modules(imports) == {"rasa_ft.training.tensors", "rasa_ft.training.uses", "rasa_ft.cli.main"}


def test_the_inner_layers_are_pure():
    assert [str(found) for found in ALL if found.part in PURE_PARTS and found.module.split(".")[0] in IMPURE] == []


@pytest.mark.parametrize(
    ("file", "text", "modules"),
    [
        ("calm/x.py", "import rasa_ft.engine.base", ["rasa_ft.engine.base"]),
        ("calm/x.py", "from rasa_ft import llm", ["rasa_ft.llm"]),
        ("calm/x.py", "def f():\n    from ..cli import main", ["rasa_ft.cli.main"]),
        ("calm/flows/x.py", "if True:\n    from ...recipe.split import y", ["rasa_ft.recipe.split.y"]),
        ("evaluation/x.py", "from rasa_ft.engine.base import Turn", ["rasa_ft.engine.base.Turn"]),
        ("errors.py", "from rasa_ft.files import write_text", ["rasa_ft.files.write_text"]),
    ],
)
def test_the_walk_finds_what_breaks_the_layers(file, text, modules):
    found = imports_of(PACKAGE / file, text)
    assert [item.module for item in found] == modules
    assert all(map(breaks_layers, found))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("e2e/x.py", "from rasa_ft.engine.base import Turn"),
        ("understanding/x.py", "from rasa_ft.llm.client import LLM"),
        ("calm/x.py", "from . import slots\nimport json"),
        ("cli/x.py", "import rasa_ft\nfrom rasa_ft import __version__"),
        ("engine/x.py", "from rasa_ft.serving.vllm import serve"),
    ],
)
def test_the_walk_lets_the_rest_pass(file, text):
    assert not any(map(breaks_layers, imports_of(PACKAGE / file, text)))


def test_imports_in_functions_and_for_types_are_deferred():
    text = (
        "import a\nclass C:\n    import b\ndef f():\n    import c\n"
        "if TYPE_CHECKING:\n    import d\ntry:\n    import e\nfinally:\n    pass"
    )
    found = imports_of(PACKAGE / "calm" / "x.py", text)
    assert {item.module: item.at_import for item in found} == {"a": True, "b": True, "c": False, "d": False, "e": True}
