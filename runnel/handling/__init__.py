"""How a processor's function gets its events, and what becomes of those that fail: from the entries in hand to user code."""
