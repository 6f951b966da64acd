"""Handler actors: one for each key, with state. What users define (actor.py, context.py) and what Runnel knows of it (declaration.py)."""
