"""A proxy of its own: admits as often as it is told, and prints how often it might.

Arguments: the database, the key, how many requests at once, and what to do with them: `settle`, or `hold` until killed.
"""

import asyncio
import sys

from auth.keys.budgets import Admission, Budgets, OverBudgetError
from auth.keys.clients import Clients
from storage.database import Database


async def main(where: str, secret: str, requests: int, then: str) -> None:
    with Database.open(where) as database:
        client = await Clients(database).check(secret)
        assert client
        print("ready", flush=True)
        sys.stdin.readline()
        async with Budgets(database) as budgets:
            tried = await asyncio.gather(*(budgets.admit(client) for _ in range(requests)), return_exceptions=True)
            admitted = [one for one in tried if isinstance(one, Admission)]
            assert all(isinstance(one, Admission | OverBudgetError) for one in tried), tried
            if then == "settle":
                await asyncio.gather(*(budgets.settle(one, tokens=3, usd=0.1) for one in admitted))
            print(len(admitted), flush=True)
            if then == "hold":
                await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
