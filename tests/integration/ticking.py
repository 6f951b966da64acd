"""A worker whose leader's timer notes each due time in a stream: `python -m tests.integration.ticking URL`."""

import sys
from datetime import datetime

from runnel import App
from runnel.worker import Worker

INTERVAL, LEASE = 0.1, 1.0


def make_app(url: str) -> App:
    app = App("shop", redis_url=url, default_lock_expiry=LEASE)

    @app.timer(INTERVAL, on_leader=True, misfire="all")
    async def tick(due: datetime) -> None:
        await app.redis.xadd("ran", {"due": str(round(due.timestamp() * 1000))})

    return app


if __name__ == "__main__":
    Worker(make_app(sys.argv[1])).start()
