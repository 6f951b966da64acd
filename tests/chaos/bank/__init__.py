"""A bank under faults: what actors remember and emit is the fold of the log, exactly. See ../README.md."""
