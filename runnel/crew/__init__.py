"""A crew: several worker processes of one app under a parent, which starts again what crashes.

    decision.py     what the parent does next: a pure function over what happened
    parent.py       carries it out: starts processes, passes signals on, waits for all
    tether.py       a worker's side: it says when it is up, and stops in order when its parent is gone

Between the parent and each worker lies a socket pair. The worker writes one message on it, that it is up. Its end is
how a worker learns that its parent has died, however that died: nothing needs polling, and it is the same on all systems.

It stands above the worker and below the command line, which tells it how a worker is started. No event passes through
here: which worker has which partition is settled among the workers, on the server, as if each had been started by hand.
"""
