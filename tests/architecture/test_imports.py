"""The layers of Runnel, read from its imports: what may know of what, and what every module and public name has."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import runnel

ROOT = Path(runnel.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

LAYERS: list[set[str]] = [
    {"errors", "clock", "version", "signals"},
    {"actors", "records", "store"},
    {
        *("app", "connected", "discovery", "stream", "producer", "fitness", "processor", "middleware", "interfaces"),
        *("handling", "entity", "timing", "operations", "assignment", "settings", "logs", "heap", "telemetry", "tracing"),
        *("constants", "exceptions", "serialization", "compression", "types", "record", "hashing"),
    },
    {"roles"},
    {"worker"},
    {"__init__"},
    {"view", "reload", "crew", "testing", "replaying", "monitoring"},
    {"cli", "__main__"},
]
"""From the bottom up: a module imports from its own layer (without cycles) and from those below."""

ISLANDS = ("actors", "records", "store")
"""Of one layer, but strangers to each other."""

LONGEST = 320
LONGER = {"actors/cell.py": 370, "store/guardian.py": 350}
"""Files that are too long, and by how much: to be split, not to grow."""

OWN_TIME = {"clock.py", "store/guardian.py", "store/embedded.py"}
"""The guardian is a process of its own, and the embedded server is started in a thread: no event loop, no clock."""


CLOCKS = {f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep")}


def part(file: Path) -> str:
    """What a file belongs to: `roles` for roles/reader.py, `app` for app.py."""
    first = file.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def layer(of: str) -> int:
    found = [height for height, parts in enumerate(LAYERS) if of in parts]
    assert len(found) == 1, f"runnel/{of} has no place in LAYERS yet: give it one"
    return found[0]


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports(file: Path) -> Iterator[str]:
    """All modules that a file imports, also inside functions, as dotted names."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name(file)} imports relatively"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if source(submodule) else f"{node.module}"


def source(dotted: str) -> Path | None:
    """The file of a module of Runnel's."""
    package, *rest = dotted.split(".")
    path = ROOT.joinpath(*rest)
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((found for found in candidates if found.exists()), None) if package == "runnel" else None


def modules_of_ours(file: Path) -> set[Path]:
    """The files of Runnel's that a file imports."""
    return {found for dotted in imports(file) if (found := source(dotted))}


every_file = pytest.mark.parametrize("file", FILES, ids=name)


@every_file
def test_imports_run_one_way(file: Path) -> None:
    height = layer(part(file))
    above = {name(other) for other in modules_of_ours(file) if layer(part(other)) > height}
    assert not above, f"{name(file)} imports what stands above it"


def test_no_two_modules_import_each_other() -> None:
    tuple(TopologicalSorter({file: modules_of_ours(file) - {file} for file in FILES}).static_order())


@pytest.mark.parametrize("island", ISLANDS)
def test_actors_records_and_store_do_not_know_each_other(island: str) -> None:
    for file in FILES:
        if part(file) == island:
            strangers = {part(other) for other in modules_of_ours(file)} - {island, *LAYERS[0]}
            assert not strangers, f"{name(file)} imports {strangers}"


@every_file
def test_only_the_store_imports_redis(file: Path) -> None:
    if part(file) != "store":
        assert not [dotted for dotted in imports(file) if dotted.split(".")[0] in ("redis", "hiredis")]


@every_file
def test_there_is_no_type_checking(file: Path) -> None:
    assert "TYPE_CHECKING" not in file.read_text(), "a cycle is a design error"


@every_file
def test_time_comes_from_the_clock_alone(file: Path) -> None:
    if name(file) in OWN_TIME:
        return
    for node in ast.walk(tree(file)):
        assert not (isinstance(node, ast.ImportFrom) and node.module == "time")
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("asyncio.timeout", "asyncio.wait_for"), f"line {node.lineno}: use clock.io_timeout"
            assert called not in CLOCKS, f"line {node.lineno}: use the app's clock"
            assert called not in ("datetime.now", "datetime.utcnow"), f"line {node.lineno}: use the app's clock"
            if called == "asyncio.sleep":
                assert ast.unparse(node.args[0]) == "0", f"line {node.lineno}: only as a yield; use clock.sleep"


@every_file
def test_a_file_fits_in_the_head(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGER.get(name(file), LONGEST)


@every_file
def test_a_module_says_what_it_is_for(file: Path) -> None:
    assert ast.get_docstring(tree(file)), f"{name(file)} has no docstring"


# ── the public names ──

PUBLIC = """
    __version__ Actor ActorFailed App CircuitBreaker Compressor ConfigurationError Context Delayed Event Events
    ExceptionPolicy Gzip HandlerFailed handles JSONSerializer KeyParked LeaseLost LZ4 Middleware NoAnswer ParkRetry
    Processor Record RecordError Reject Retry RetryLater RunnelError Serializer StoreError StoreRefused StoreUnavailable
    Stream StreamFull SyncEvents TimedOut Worker Zstd
"""


def test_the_public_names_are_these() -> None:
    assert sorted(runnel.__all__) == sorted(PUBLIC.split())


def test_the_stub_names_what_the_package_has() -> None:
    stub = ast.parse((ROOT / "__init__.pyi").read_text())
    named = {alias.name for node in ast.walk(stub) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert named == set(runnel.__all__)


@pytest.mark.parametrize("public", sorted(set(PUBLIC.split()) - {"__version__"}))
def test_a_public_name_says_what_it_is(public: str) -> None:
    thing = getattr(runnel, public)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        for method, function in vars(thing).items():
            if not method.startswith("_") and (inspect.isfunction(function) or isinstance(function, property)):
                assert inspect.getdoc(function), f"{public}.{method} has no docstring"


@pytest.mark.parametrize("module", sorted({part(file) for file in FILES} - {"__init__", "__main__"}))
def test_every_part_can_be_imported_first(module: str) -> None:
    """A cycle that only the order of imports hides shows when another order is taken."""
    assert importlib.import_module(f"runnel.{module}")


def test_the_kernel_loads_without_the_rest() -> None:
    code = "import sys, runnel.actors; print([m for m in sys.modules if m.startswith(('redis', 'cattrs'))])"
    # `import runnel.actors` imports `runnel` first, which brings everything: so the package is given an empty shell.
    shell = (
        f"import sys, types; p = types.ModuleType('runnel'); p.__path__ = [{str(ROOT)!r}]; sys.modules['runnel'] = p; "
    )
    out = subprocess.run([sys.executable, "-c", shell + code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
