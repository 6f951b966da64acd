"""stub, replaced by the relay branch"""

from attrs import define, frozen

from runnel.actors import Actor
from runnel.store.keys import PartitionKeys
from runnel.store.link import Link


@frozen
class Deliver:
    keys: PartitionKeys


@define(eq=False)
class Relay(Actor[Deliver]):
    processor: str
    link: Link

    async def receive(self, message: Deliver) -> None:
        pass

    async def on_stop(self) -> None:
        await self.link.close()
