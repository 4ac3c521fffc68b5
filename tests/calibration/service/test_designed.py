"""Experiments whose customers are counted out are read right; each wrong test or sum that is planted shows in them."""

import asyncio
from collections.abc import Generator

import pytest

from engine.store import embedded
from tests.calibration.service.designed import DESIGNED, faults, put
from tests.calibration.service.playing import own_database, read_again, readout_in
from tests.calibration.service.wrong_readouts import OF_DESIGNED, Substitution


@pytest.fixture(scope="module")
def url(server: embedded.Server) -> Generator[str]:
    with own_database(server) as url:
        asyncio.run(put(url))
        yield url


def found(url: str, key: str) -> list[str]:
    return list(faults(key, readout_in(asyncio.run(read_again(url, key)))))


@pytest.mark.parametrize("key", DESIGNED)
def test_what_was_counted_out_is_read(url: str, key: str):
    assert found(url, key) == []


@pytest.mark.parametrize(("substitute", "key"), OF_DESIGNED, ids=lambda each: getattr(each, "__name__", each))
def test_a_wrong_readout_is_caught(url: str, substitute: Substitution, key: str, monkeypatch: pytest.MonkeyPatch):
    substitute(monkeypatch)
    assert found(url, key)
