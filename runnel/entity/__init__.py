"""Handler actors: one a key, with state. actor.py and context.py are what users see, performing.py handles an event."""
