"""What the harness itself writes down: JSON lines that are on the disk before anything follows from them."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def host_us() -> int:
    """The machine's clock, by which every log of the harness is stamped. PostgreSQL reads the same one."""
    return time.time_ns() // 1000


class Log:
    """An append-only file. A write returns once it is synced; writes that wait together share a sync."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._syncing = asyncio.Lock()
        self._written = 0
        self._synced = 0

    async def write(self, entry: dict[str, Any]) -> None:
        self.append(entry)
        await self.sync()

    def append(self, entry: dict[str, Any]) -> None:
        """Write without waiting for the disk; `sync` does."""
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")
        self._written += 1

    async def sync(self) -> None:
        wanted = self._written
        while self._synced < wanted:
            async with self._syncing:
                if self._synced < wanted:
                    covered = self._written
                    await asyncio.to_thread(os.fsync, self._descriptor)
                    self._synced = covered

    def write_now(self, entry: dict[str, Any]) -> None:
        """The same where there is no event loop."""
        self.append(entry)
        os.fsync(self._descriptor)


def read_logs(folder: Path, pattern: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(pattern)):
        with path.open() as lines:
            yield from map(json.loads, lines)
