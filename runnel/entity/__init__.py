"""Handler actors: one a key, with state. actor.py and context.py are what users see, performing.py is how an event is handled."""
