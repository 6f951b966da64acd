"""The live terminal view of a worker."""
