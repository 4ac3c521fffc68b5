"""Which bodies are read, and which keys are refused because they came twice."""

import json

import pytest

from engine.api.bodies import parsed
from engine.api.problems import RepeatedKey

DEEP = b'{"a":' * 300 + b"1" + b"}" * 300


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a" :1,"a":2}',
        b'{"b":[{"a":1},{"c":{"a":1,"a":2}}]}',
        b'{"a":"x:y","a":2}',
        b'{"a":1,"a":"\\u003a"}',  # written anew it brings the colon that the first key took along
        b'{"a":1,"\\u0061":"\\"\\u003A"}',
        b'{"\\u0061":"\\u0022:","a":1}',
    ],
)
def test_a_key_that_comes_twice_is_found_however_it_is_written(body: bytes):
    assert repr(parsed(body)).count(RepeatedKey.__name__) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"b":{"a":"1:2"},"c":["\\u003a",":"]}',
        b'{ "a" : "x\\":y" }',
        '{"ä:":"\\u00e4 :","b":1e400}'.encode(),
        DEEP,
    ],
)
def test_other_bodies_are_read_as_they_are(body: bytes):
    assert parsed(body) == json.loads(body)
