"""The proxy that fault tests put between a client and the server."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.proxy import Proxy
from tests.servers import Server
from tests.support import wait_until


@pytest.fixture(params=[False, True], ids=["unix", "tcp"])
async def proxy(request: pytest.FixtureRequest, own_server: Callable[..., Server]) -> AsyncIterator[Proxy]:
    async with Proxy(own_server(tcp=request.param).url) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Redis]:
    async with Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0), socket_timeout=0.5) as client:
        await client.ping()
        yield client


@pytest.fixture
async def direct(proxy: Proxy) -> AsyncIterator[Redis]:
    async with Redis.from_url(proxy.target) as client:
        yield client


async def test_it_forwards_both_ways(client: Redis) -> None:
    value = bytes(range(256)) * 4_096
    await client.set("key", value)
    assert await client.get("key") == value


async def test_cut_drops_what_is_open_and_lets_new_connections_in(proxy: Proxy, client: Redis, direct: Redis) -> None:
    async def blocked() -> bool:
        return int((await direct.info("clients"))["blocked_clients"]) == 1

    waiting = asyncio.ensure_future(client.blpop(["list"], timeout=0))
    await wait_until(blocked, what="the client waits in the server")
    proxy.cut()
    with pytest.raises(redis.ConnectionError):
        await waiting
    assert await client.ping()


async def test_a_lost_reply_leaves_the_command_done(proxy: Proxy, client: Redis, direct: Redis) -> None:
    await client.incr("past")
    proxy.lose_next_reply(lambda request: b"INCR" in request)
    assert await client.set("other", 1)
    with pytest.raises(redis.ConnectionError):
        await client.incr("counter")
    assert proxy.lost == 1
    assert await direct.get("counter") == b"1"
    assert await client.incr("counter") == 2


async def test_refuse_closes_new_connections_only(proxy: Proxy, client: Redis) -> None:
    proxy.refuse = True
    assert await client.ping()
    async with Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0)) as newcomer:
        with pytest.raises(redis.ConnectionError):
            await newcomer.ping()
        proxy.refuse = False
        assert await newcomer.ping()


async def test_a_delay_holds_replies_back(proxy: Proxy, client: Redis, direct: Redis) -> None:
    proxy.delay(5.0, "replies")
    with pytest.raises(redis.TimeoutError):
        await client.set("key", "value")
    assert await direct.get("key") == b"value"


async def test_a_blackhole_of_requests_keeps_them_from_the_server(proxy: Proxy, client: Redis, direct: Redis) -> None:
    proxy.blackhole(direction="requests")
    with pytest.raises(redis.TimeoutError):
        await client.set("key", "value")
    assert await direct.get("key") is None
    proxy.blackhole(False)
    assert await client.set("key", "value")


async def test_a_blackhole_of_replies_lets_requests_through(proxy: Proxy, client: Redis, direct: Redis) -> None:
    proxy.blackhole(direction="replies")
    with pytest.raises(redis.TimeoutError):
        await client.set("key", "value")
    assert await direct.get("key") == b"value"


async def test_a_server_that_is_down_shows_as_a_broken_connection(own_server: Callable[..., Server]) -> None:
    server = own_server()
    async with Proxy(server.url) as proxy, Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0)) as client:
        server.kill()
        with pytest.raises(redis.ConnectionError):
            await client.ping()
        server.start()
        assert await client.ping()


async def test_a_request_that_is_kept_back_arrives_late(proxy: Proxy, client: Redis, direct: Redis) -> None:
    proxy.keep_next_request(lambda request: b"APPEND" in request)
    with pytest.raises(redis.ConnectionError):
        await client.append("letters", "a")
    await client.append("letters", "b")
    assert proxy.late == 1
    assert await direct.get("letters") == b"b"

    proxy.let_go()
    await wait_until(lambda: proxy.late_replies)
    assert proxy.late_replies == [b":2\r\n"]
    assert await direct.get("letters") == b"ba"


async def test_what_is_stalled_one_way_arrives_when_that_ends(proxy: Proxy, client: Redis, direct: Redis) -> None:
    proxy.stall(direction="replies")
    waiting = asyncio.ensure_future(client.incr("counter"))

    async def counted() -> bool:
        return await direct.get("counter") == b"1"

    await wait_until(counted)
    assert not waiting.done()
    proxy.stall(False)
    assert await waiting == 1


async def test_it_can_be_turned_to_another_server(
    proxy: Proxy, client: Redis, own_server: Callable[..., Server]
) -> None:
    await client.set("key", 1)
    proxy.target = own_server(tcp=True).url
    proxy.cut()
    with pytest.raises(redis.ConnectionError):
        await client.get("key")
    assert await client.get("key") is None
