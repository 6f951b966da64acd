"""Handler actors in real workers, on a real server."""
