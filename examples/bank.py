"""A bank: an actor for each account, and money that is never lost on its way, nor there twice. `python -m examples.bank`

Or, with a terminal for the worker and one for you:

    runnel run examples.bank:app --redis-url embedded://
    runnel send examples.bank:postings '{"account": "ada", "pence": 10000}' --redis-url embedded://
    runnel actor ask examples.bank:Account ada Hold '{"who": "hotel", "pence": 8000}' --redis-url embedded://
    runnel actor show examples.bank:Account ada --redis-url embedded://

An account is a class with a state. Its events come one at a time, in order, so there is no lock and no transaction to think of.
What it changes of its state, what it emits, and the mark that the event is done are one commit: kill a worker at any moment,
and all balances are what the postings say.
"""

import asyncio
import random
from datetime import timedelta

from runnel import Actor, App, Record, handles
from runnel.testing import TestApp

app = App("bank")


class Posting(Record):
    """Money that comes into an account; or, with `to`, that goes from there to another one."""

    account: str
    pence: int
    to: str | None = None


class Refused(Record):
    """A posting out of an account that had not enough money."""

    account: str
    pence: int
    to: str


postings = app.stream("postings", record=Posting, partition_by="account")
refusals = app.stream("refusals", record=Refused, partition_by="account")


class Money(Record):
    """What an account remembers."""

    balance: int = 0
    held: dict[str, int] = {}  # each account gets a copy

    @property
    def free(self) -> int:
        """What may be spent."""
        return self.balance - sum(self.held.values())


class Free(Record):
    """Ask: how much may be spent?"""


class Hold(Record):
    """Ask: may somebody, a hotel say, set so much aside? It does, for a week at most."""

    who: str
    pence: int


class Charge(Record):
    """Ask: may who has set money aside have it now?"""

    who: str


@app.actor(postings)
class Account(Actor[Posting, Money]):
    async def receive(self, posting: Posting) -> None:
        if posting.to is None:
            self.state.balance += posting.pence
        elif 0 < posting.pence <= self.state.free:
            self.pay(posting.pence, posting.to)
        else:
            self.emit(refusals, Refused(account=self.key, pence=posting.pence, to=posting.to))

    def pay(self, pence: int, to: str) -> None:
        self.state.balance -= pence
        self.emit(postings, Posting(account=to, pence=pence))  # arrives if, and only if, this debit is committed

    @handles(Free)
    async def free(self, question: Free) -> int:
        return self.state.free

    @handles(Hold)
    async def hold(self, hold: Hold) -> bool:
        if hold.pence > self.state.free:
            return False
        self.state.held[hold.who] = hold.pence
        self.remind(hold.who, after=timedelta(days=7))
        return True

    @handles(Charge)
    async def charge(self, charge: Charge) -> bool:
        if charge.who not in self.state.held:
            return False
        self.pay(self.state.held.pop(charge.who), charge.who)
        self.cancel_reminder(charge.who)
        return True

    async def on_reminder(self, name: str) -> None:
        self.state.held.pop(name, None)  # nobody has come for it


async def main() -> None:
    """Ada checks in at a hotel while a hundred customers pay each other; but the hotel never asks for its money."""
    customers = ["ada", *(f"customer {n}" for n in range(2, 101))]
    async with TestApp(app) as t:  # a server and a worker, for as long as this takes
        await postings.send(*(Posting(account=name, pence=100_00) for name in customers))
        print("may a hotel hold 80.00 of ada's 100.00?", await Account.ask("ada", Hold(who="hotel", pence=80_00)))
        print("and an inn another 80.00?              ", await Account.ask("ada", Hold(who="inn", pence=80_00)))

        pairs = [random.sample(customers[1:], 2) for _ in range(5_000)]
        await postings.send(*(Posting(account=a, pence=random.randint(1, 50_00), to=b) for a, b in pairs))
        await t.drained()
        accounts = [await Account.state_of(name) or Money() for name in customers]
        print(f"5,000 transfers later there is {sum(each.balance for each in accounts) / 100:,.2f} in the accounts,")
        print(f"the poorest has {min(each.balance for each in accounts) / 100:.2f}")

        print(f"ada may spend {await Account.ask('ada', Free()) / 100:.2f},")
        await t.advance(timedelta(days=7))
        print(f"and a week later {await Account.ask('ada', Free()) / 100:.2f}")


if __name__ == "__main__":
    asyncio.run(main())
