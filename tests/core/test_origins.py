"""What a token says: the same back, within the length of a header, whatever names there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.origins import PACKED_MAX, Origin, pack, unpack
from engine.core.policy import DAY_US, Channel
from engine.core.suppression import Scope

names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=200)
origins = st.builds(
    Origin,
    names,
    st.sampled_from([each.value for each in Channel]),
    names,
    st.none() | names,
    st.none() | names,
    st.integers(0, 2**33).map(lambda seconds: seconds * 1_000_000),
)


@given(origins)
def test_an_origin_comes_back_and_only_the_least_is_left_out(origin: Origin) -> None:
    packed = pack(origin)
    whole = sum(len((each or "").encode()) for each in (origin[0], *origin[2:5]))
    if packed is None:
        assert len(origin.customer_id.encode()) > 450
        return
    assert len(packed) <= PACKED_MAX
    back = unpack(packed)
    assert (back.customer_id, back.channel, back.issued_us) == (origin.customer_id, origin.channel, origin.issued_us)
    left_out = [was is not None and now is None for was, now in zip(origin[2:5], back[2:5], strict=True)]
    assert left_out in ([False] * 3, [False, False, True], [False, origin.campaign is not None, left_out[2]], left_out)
    if whole <= 450:
        assert back == origin
    if back.topic is None:
        assert (back.campaign, back.message_id, back.scope) == (None, None, Scope(origin.channel))


def test_what_gives_way_gives_way_in_order() -> None:
    long = "x" * 200
    origin = Origin("ada", "email", "news", long, long, 0)
    assert unpack(pack(origin) or b"").message_id is not None
    wide = "ü" * 200
    assert unpack(pack(origin._replace(campaign=wide)) or b"")[2:5] == ("news", wide, None)
    assert unpack(pack(origin._replace(topic=wide, campaign=wide)) or b"")[2:5] == (wide, None, None)
    assert unpack(pack(origin._replace(customer_id="a" * 200, topic=wide)) or b"")[2:5] == (None, None, None)
    assert pack(origin._replace(customer_id="🦊" * 200)) is None


@given(st.binary(max_size=60))
def test_other_bytes_are_an_origin_or_refused(data: bytes) -> None:
    try:
        origin = unpack(data)
    except ValueError:
        return
    assert origin.customer_id


@pytest.mark.parametrize(("days", "at_us", "over"), [(400, 400 * DAY_US - 1, False), (400, 400 * DAY_US, True)])
def test_an_origin_is_over_to_the_instant(days: int, at_us: int, over: bool) -> None:
    assert Origin("ada", "email", None, None, None, 0).has_expired(at_us, days) is over
