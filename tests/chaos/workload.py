"""The load, a process of its own: senders who ask and send, and an office that changes what holds for all of them."""

import asyncio
import json
import sys

from tests.chaos.office import Office
from tests.chaos.policy import SECOND_US
from tests.chaos.records import host_us
from tests.chaos.senders import Config, Sender, Town


async def main(config: Config) -> None:
    town = Town(config)
    until_us = host_us() + int(config.seconds * SECOND_US)
    senders = [Sender(number, config, town, until_us) for number in range(config.senders)]
    await asyncio.gather(*[sender.run() for sender in senders], Office(config, town, until_us).run())


if __name__ == "__main__":
    asyncio.run(main(Config(**json.loads(sys.argv[1]))))
