"""The server: the only place that imports redis, and that spells keys. It knows nothing of streams, processors or actors.

An event passes here twice: producer.py appends it (scripts.py, lua/append.lua) over a `Link`; the committer moves the cursor
behind it (lua/commit.lua).
"""
