"""What an ask or an evaluation made of a customer's memberships, as a journal entry and as rows of exposures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from engine.core.customer import Membership, Stage
from engine.core.treatments import Step
from engine.operations.batch import Batch, Held
from engine.store.customers import variants_data
from engine.store.exposures import Exposure, ExposureFlag
from engine.store.journal import Change


def enter(batch: Batch, held: Held, memberships: Mapping[int, Membership], steps: Sequence[Step]) -> None:
    """Write them down, as of now. The entry stands right before that of the ask that made it."""
    if not steps:
        return
    customer = replace(held.customer, variants=memberships)
    batch.change(held, Change.VARIANTS, customer, variants_data(memberships))
    for step in steps:
        key = held.customer_id, step.experiment.number
        batch.exposures[key] = _exposure(held, step, batch.exposures.get(key))


def _exposure(held: Held, step: Step, before: Exposure | None) -> Exposure:
    """The row, or what is new in it; `before` is what an earlier ask of the same transaction made of it."""
    found = before or Exposure(held.customer_id, step.experiment.number, step.membership.variant)
    if step.place is not None:
        segments = step.experiment.segments
        found = found._replace(
            assigned_us=held.now_us,
            phase=step.place.phase,
            flags=ExposureFlag.TESTER if step.place.is_tester else ExposureFlag(0),
            segments={name: held.customer.attribute(name, held.now_us) for name in segments} if segments else None,
        )
    if step.membership.stage >= Stage.ELIGIBLE and found.eligible_us is None:
        found = found._replace(eligible_us=held.now_us)
    if step.membership.stage is Stage.DIVERGED and found.diverged_us is None:
        found = found._replace(diverged_us=held.now_us)
    return found
