# The benchmarks' figures: docs/performance.md. `just bench --quick --only process`
bench *args:
    python -m benchmarks {{ args }}
