"""Lanes: queues whose commands are settled together, one transaction a chunk.

Coalescing is what makes a durable answer cheap: commands that arrive while a commit is on its way share the next one.
A customer's commands always meet in the same lane. What always holds: nothing is answered before its commit has
returned; a waiter that goes away cancels itself, never its chunk; every command has a deadline, after which it is
dropped undecided; queues are bounded, and refuse at once what exceeds them.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from zlib import crc32

from engine.core.errors import DeadlineExceeded, Overloaded, TaktError, Unavailable
from engine.operations.batch import Command
from engine.operations.moved import MOVES_MAX, Moved, sent_on
from engine.operations.settle import CONTENDED, Settler

CHUNK = 256
HALF = CHUNK // 2
_CONTENDED_AT_ONCE = 4
# Customers whom somebody holds take turns at waiting: each has one about every second, of at most a fifth of it.
_ROUND_S = 1.0
_TURN_S = 0.2
_TURN_S_MIN = 0.005

log = logging.getLogger("takt.lanes")


class Waiter:
    """Somebody who waits for one or many answers. An answer is a value, or the error that command met."""

    __slots__ = ("_left", "answers", "future")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.answers: list[object] = [None] * count
        self._left = count
        self.future: asyncio.Future[None] = loop.create_future()

    @property
    def is_short(self) -> bool:
        """Whether answers are missing."""
        return self._left > 0

    def give_up(self) -> None:
        """Wait no longer; what is still in a queue is dropped undecided."""
        if not self.future.done():
            self.future.set_result(None)

    def answer(self, index: int, answer: object) -> None:
        self.answers[index] = answer
        self._left -= 1
        if not self._left and not self.future.done():
            self.future.set_result(None)


class Ticket:
    """One command in a queue."""

    __slots__ = ("command", "deadline", "index", "moves", "waiter")

    def __init__(self, command: Command, waiter: Waiter, index: int, deadline: float) -> None:
        self.command = command
        self.waiter = waiter
        self.index = index
        self.deadline = deadline
        self.moves = 0  # how often it was sent on to another customer

    @property
    def is_abandoned(self) -> bool:
        return self.waiter.future.done()

    def answer(self, answer: object) -> None:
        self.waiter.answer(self.index, answer)


class Lanes:
    """All queues of a process, and the tasks that empty them."""

    def __init__(self, settler: Settler, *, lanes: int, queue_asks: int, queue_bulk: int) -> None:
        self._settler = settler
        self._lanes = [_Lane(self, settler) for _ in range(lanes)]
        self._queue_asks = queue_asks
        self._queue_bulk = queue_bulk
        self._contended: dict[str, deque[Ticket]] = {}
        self._contended_tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_CONTENDED_AT_ONCE)
        self._closing = False

    def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    async def stop(self) -> None:
        """Settle what is queued, then stop."""
        self._closing = True
        for lane in self._lanes:
            await lane.stop()
        if self._contended_tasks:
            await asyncio.wait(self._contended_tasks, timeout=5.0)

    @property
    def dead(self) -> int:
        return sum(lane.is_dead for lane in self._lanes)

    @property
    def queued(self) -> tuple[int, int]:
        """How many single commands wait, and how many of batches."""
        return sum(len(lane.asks) for lane in self._lanes), sum(len(lane.bulk) for lane in self._lanes)

    async def settle(self, command: Command, wait_s: float) -> object:
        """The answer to one command. Raises what it met, `Unavailable` if it was not decided in time."""
        if self.queued[0] >= self._queue_asks:
            raise Overloaded("too many asks are waiting")
        (answer,) = await self._wait([command], wait_s, is_bulk=False)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def settle_all(self, commands: Sequence[Command], wait_s: float) -> list[object]:
        """The answers to many commands in order, each a value or the `TaktError` that it alone met."""
        if self.queued[1] + len(commands) > self._queue_bulk:
            raise Overloaded("too many batches are waiting", retry_after_s=2)
        return await self._wait(commands, wait_s, is_bulk=True) if commands else []

    async def _wait(self, commands: Sequence[Command], wait_s: float, *, is_bulk: bool) -> list[object]:
        if self._closing:
            raise Unavailable("the service is stopping")
        if self.dead:
            raise Unavailable("a lane of this process has died: it must be restarted", retry_after_s=5)
        loop = asyncio.get_running_loop()
        waiter = Waiter(len(commands), loop)
        deadline = loop.time() + wait_s
        for index, command in enumerate(commands):
            lane = self._lane(command.customer_id)
            (lane.bulk if is_bulk else lane.asks).append(Ticket(command, waiter, index, deadline))
        for lane in self._lanes:
            lane.wake()
        timer = loop.call_at(deadline, waiter.give_up)  # a tenth of the price of asyncio.timeout, which every ask paid
        try:
            await waiter.future
        finally:
            timer.cancel()
        if waiter.is_short:
            late = DeadlineExceeded("there was no answer in time: ask again, with the same message id")
            return [late if each is None else each for each in waiter.answers]
        return waiter.answers

    def defer_contended(self, tickets: Sequence[Ticket]) -> None:
        """Settle the commands of customers whose lock somebody holds apart, one customer at a time."""
        for ticket in tickets:
            customer_id = ticket.command.customer_id
            queue = self._contended.get(customer_id)
            if queue is not None:
                queue.append(ticket)
                continue
            self._contended[customer_id] = deque([ticket])
            task = asyncio.create_task(self._settle_contended(customer_id))
            self._contended_tasks.add(task)
            task.add_done_callback(self._contended_tasks.discard)

    @property
    def has_contended(self) -> bool:
        return bool(self._contended)

    def answer(self, tickets: Sequence[Ticket], answers: Sequence[object]) -> None:
        """Answer those that were settled; what is to be asked of another customer goes to the lane of that one."""
        for ticket, answer in zip(tickets, answers, strict=True):
            if isinstance(answer, Moved):
                self._send_on(ticket, answer.customer_id)
            elif answer is not CONTENDED:
                ticket.answer(answer)

    def _send_on(self, ticket: Ticket, to: str) -> None:
        if ticket.moves >= MOVES_MAX:
            ticket.answer(Unavailable(f"customer {ticket.command.customer_id!r} was merged too often"))
            return
        ticket.moves += 1
        ticket.command = sent_on(ticket.command, to)
        lane = self._lane(to)
        lane.asks.append(ticket)
        lane.wake()

    def _lane(self, customer_id: str) -> "_Lane":
        count = len(self._lanes)
        return self._lanes[crc32(customer_id.encode()) % count if count > 1 else 0]

    def is_contended(self, customer_id: str) -> bool:
        return customer_id in self._contended

    async def _settle_contended(self, customer_id: str) -> None:
        queue = self._contended[customer_id]
        try:
            while queue:
                async with self._turns:
                    tickets = _current([queue.popleft() for _ in range(min(CHUNK, len(queue)))])
                    if tickets:
                        turn_s = max(_TURN_S_MIN, min(_TURN_S, _ROUND_S * _CONTENDED_AT_ONCE / len(self._contended)))
                        queue.extendleft(reversed(await self._settle_alone(tickets, turn_s)))
        finally:
            del self._contended[customer_id]
            for ticket in queue:
                ticket.answer(Unavailable("this ask was dropped undecided"))

    async def _settle_alone(self, tickets: Sequence[Ticket], wait_s: float) -> list[Ticket]:
        """One customer's commands, waiting for the lock a while. Returns those that are still to be settled."""
        left_s = max(each.deadline for each in tickets) - asyncio.get_running_loop().time()
        commands = [each.command for each in tickets]
        try:
            answers: Sequence[object] = await self._settler.settle(commands, lock_wait_s=min(wait_s, left_s))
        except TaktError as error:
            answers = [error] * len(tickets)
        except Exception:
            if len(tickets) > 1:
                return [left for each in tickets for left in await self._settle_alone([each], wait_s)]
            log.exception("a command failed")
            answers = [TaktError("the ask could not be decided: this is a fault of Takt, and is logged")]
        self.answer(tickets, answers)
        return [each for each, answer in zip(tickets, answers, strict=True) if answer is CONTENDED]


class _Lane:
    def __init__(self, lanes: Lanes, settler: Settler) -> None:
        self.asks: deque[Ticket] = deque()
        self.bulk: deque[Ticket] = deque()
        self._lanes = lanes
        self._settler = settler
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._in_hand: list[Ticket] = []  # taken from the queues, and not answered yet

    @property
    def is_dead(self) -> bool:
        return self._task is not None and self._task.done() and not self._stopping

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._died)

    async def stop(self) -> None:
        self._stopping = True
        self.wake()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=10.0)

    def wake(self) -> None:
        if self.asks or self.bulk or self._stopping:
            self._awake.set()

    async def _run(self) -> None:
        while True:
            while self.asks or self.bulk:
                tickets = _current(self._take())
                if self._lanes.has_contended:
                    contended = [each for each in tickets if self._lanes.is_contended(each.command.customer_id)]
                    tickets = [each for each in tickets if not self._lanes.is_contended(each.command.customer_id)]
                    self._lanes.defer_contended(contended)
                if tickets:
                    self._in_hand = tickets
                    await self._settle(tickets)
                    self._in_hand = []
            if self._stopping:
                return
            self._awake.clear()
            await self._awake.wait()

    def _take(self) -> list[Ticket]:
        """The next chunk: half of it is kept for single asks while any wait, and half for batches."""
        asks = min(len(self.asks), CHUNK - min(len(self.bulk), HALF))
        bulk = min(len(self.bulk), CHUNK - asks)
        return [self.asks.popleft() for _ in range(asks)] + [self.bulk.popleft() for _ in range(bulk)]

    async def _settle(self, tickets: list[Ticket]) -> None:
        try:
            answers = await self._settler.settle([each.command for each in tickets])
        except TaktError as error:
            self._lanes.answer(tickets, [error] * len(tickets))
        except Exception:
            log.exception("a chunk of %d commands failed; each is settled alone", len(tickets))
            self._lanes.defer_contended(tickets)
        else:
            held = [each for each, answer in zip(tickets, answers, strict=True) if answer is CONTENDED]
            self._lanes.defer_contended(held)
            self._lanes.answer(tickets, answers)

    def _died(self, task: asyncio.Task[None]) -> None:
        if self._stopping and not task.cancelled() and task.exception() is None:
            return
        log.critical("a lane died", exc_info=None if task.cancelled() else task.exception())
        for ticket in (*self._in_hand, *self.asks, *self.bulk):
            ticket.answer(Unavailable("a lane of this process has died: it must be restarted", retry_after_s=5))
        self._in_hand = []
        self.asks.clear()
        self.bulk.clear()


def _current(tickets: Sequence[Ticket]) -> list[Ticket]:
    """Those whose waiters still wait; the others are dropped undecided."""
    now = asyncio.get_running_loop().time()
    current: list[Ticket] = []
    for ticket in tickets:
        if ticket.is_abandoned:
            continue
        if ticket.deadline <= now:
            ticket.answer(DeadlineExceeded("the ask waited too long and was dropped undecided"))
        else:
            current.append(ticket)
    return current
