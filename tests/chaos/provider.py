"""The fake mail provider: what it wrote down was really sent, and nothing else was.

The write is the send: there is no instant at which a message is sent and not yet in the log, or the other way round.
Like some real providers it takes a time after which a message is not to be sent any more, and judges it by its own
clock, which is the machine's.
"""

from pathlib import Path

from tests.chaos.records import Log, host_us


class Provider:
    def __init__(self, path: Path) -> None:
        self._log = Log(path)

    async def send(
        self, customer: str, message: str, attempt: int, channel: str, campaign: str, not_after_us: int
    ) -> bool:
        """Send unless it is too late; returns whether it was sent, once that is on the disk."""
        at_us = host_us()
        if at_us >= not_after_us:
            return False
        self._log.append(
            {
                "t": at_us,
                "customer": customer,
                "message": message,
                "attempt": attempt,
                "channel": channel,
                "campaign": campaign,
            }
        )
        await self._log.sync()
        return True
