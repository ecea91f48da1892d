import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.chat.transport.body import PART, BodyDecoder
from agentkit.errors import InvalidReply


@given(st.binary(), st.sampled_from(["gzip", "deflate", "identity", ""]), st.integers(1, 40))
def test_a_body_is_unpacked_wherever_it_is_cut(body: bytes, encoding: str, size: int) -> None:
    packed = {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}.get(encoding, body)
    decoder = BodyDecoder(encoding)
    chunks = (packed[start : start + size] for start in range(0, len(packed), size))
    assert b"".join(piece for chunk in chunks for piece in decoder.feed(chunk)) == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-gzip", "GZIP"])
def test_a_body_that_is_only_said_to_be_compressed_is_taken_as_it_is(encoding: str) -> None:
    assert b"".join(BodyDecoder(encoding).feed(b'{"choices": []}')) == b'{"choices": []}'


REFUSED = pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])


@REFUSED
def test_a_compression_that_cannot_be_bounded_here_is_refused_for_good(encoding: str) -> None:
    with pytest.raises(InvalidReply, match=rf"compressed its answer \({encoding}\).*switch that off") as caught:
        BodyDecoder(encoding)
    assert not caught.value.again


@REFUSED
def test_a_body_that_is_not_needed_is_left_out_instead(encoding: str) -> None:
    assert list(BodyDecoder(encoding, needed=False).feed(b"packed")) == []


def test_a_bomb_is_unpacked_a_little_at_a_time() -> None:
    bomb = gzip.compress(bytes(100_000_000), 9)
    assert len(bomb) < 120_000
    tracemalloc.start()
    for count, piece in enumerate(BodyDecoder("gzip").feed(bomb)):
        assert len(piece) <= PART
        if count == 100:
            break
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_000_000


def test_damage_is_told() -> None:
    packed = bytearray(gzip.compress(b"hello" * 100))
    packed[20] ^= 0xFF
    with pytest.raises(InvalidReply, match="damaged"):
        b"".join(BodyDecoder("gzip").feed(bytes(packed)))


def test_a_body_of_several_members_is_read_to_its_end() -> None:
    assert b"".join(BodyDecoder("gzip").feed(gzip.compress(b"one ") + gzip.compress(b"two"))) == b"one two"
