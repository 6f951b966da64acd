"""A process that uses an embedded server until its standard input ends: `python -m ... PATH [fork]`.

Says the server's process id on its standard output; with `fork`, also that of a child that outlives it.
"""

import os
import signal
import sys
from pathlib import Path

import redis

from runnel.store.embedded import start_embedded


def main() -> None:
    server = start_embedded(Path(sys.argv[1]))
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        words = [str(client.info("server")["process_id"])]
    if "fork" in sys.argv:
        child = os.fork()
        if not child:
            signal.pause()
        words.append(str(child))
    print(*words, flush=True)
    sys.stdin.read()
    server.close()


if __name__ == "__main__":
    main()
