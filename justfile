# `just` comes with `pip install -e '.[dev]'` (the wheel is called rust-just).

set shell := ["bash", "-euc"]
bin := if path_exists(".venv/bin") == "true" { ".venv/bin/" } else { "" }

# what there is to run
default:
    @just --list

# style, types and tests, as they must be before a commit
check: lint types test

# the tests, or some: just test tests/unit -k record
test *words:
    {{bin}}pytest -q {{words}}

# style
lint:
    {{bin}}ruff check

# types
types:
    {{bin}}mypy

# the protocol's model, in all its worlds (some minutes, and up to 1 GB of memory)
model *words:
    {{bin}}pytest -q tests/model -m '' --timeout 1200 --durations 0 {{words}}

# the benchmarks, as ratios to raw loops in the same run
bench *words:
    {{bin}}python -m benchmarks {{words}}

# real workers and servers under random faults: just chaos --minutes 30
chaos *words:
    {{bin}}python -m tests.chaos {{words}}

# tests that take a minute or more each
long *words:
    {{bin}}pytest -q tests -m long --durations 0 {{words}}

# the snippets of README and docs/
docs:
    {{bin}}pytest -q tests/docs

# an example that feeds itself, in the live view, on the embedded server
demo:
    {{bin}}runnel run examples.shop:app

# the pictures of the live view in docs/pictures, from a small real run
pictures:
    {{bin}}python docs/pictures/draw.py
