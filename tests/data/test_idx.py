"""The IDX format: what is written is read back, and nothing else is taken for IDX."""

import gzip
import math
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vdae_bench.data.idx import read_idx, write_idx
from vdae_bench.errors import UserError


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_any_array_comes_back_equal_and_writable(tmp_path: Path, seed: int, suffix: str) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(0, 9, size=1 + seed % 4))
    array = random.integers(0, 256, shape, dtype=np.uint8)
    write_idx(tmp_path / f"data{suffix}", array)
    found = read_idx(tmp_path / f"data{suffix}")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)
    found[...] = 0


def test_the_bytes_are_those_of_the_published_format(tmp_path: Path) -> None:
    write_idx(tmp_path / "data", np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    expected = "00000803 00000001 00000002 00000003 000102030405"
    assert (tmp_path / "data").read_bytes() == bytes.fromhex(expected)


def test_an_array_that_is_not_contiguous_is_written_row_by_row(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4).T[::2]
    write_idx(tmp_path / "data", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "data"), array)


def test_equal_arrays_give_equal_gzip_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "one.gz", np.zeros(5, np.uint8))
    monkeypatch.setattr(time, "time", lambda: 1e9)
    write_idx(tmp_path / "two.gz", np.zeros(5, np.uint8))
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


def test_the_content_decides_what_is_gzip_not_the_name(tmp_path: Path) -> None:
    array = np.arange(50, dtype=np.uint8)
    write_idx(tmp_path / "data.gz", array)
    write_idx(tmp_path / "data", array)
    (tmp_path / "data.gz").rename(tmp_path / "packed")
    (tmp_path / "data").rename(tmp_path / "plain.gz")
    for name in ("packed", "plain.gz"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)


GOOD = struct.pack(">HBBII", 0, 8, 2, 3, 4) + bytes(12)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "not an IDX file"),
        (struct.pack(">HBB", 0, 8, 0), "not an IDX file"),
        (b"\0\0\x0d\x01" + GOOD[4:], "type 0x0d"),
        (GOOD[:9], "inside its header"),
        (GOOD[:-1], "is truncated"),
        (GOOD + b"x", "after its end"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_no_such_file_is_refused_by_name(
    tmp_path: Path, content: bytes, words: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "some-file"
    path.write_bytes(pack(content))
    with pytest.raises(UserError, match=words) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("harm", [lambda packed: packed[:-9], lambda packed: packed[:15] + b"\xff\xff" + packed[17:]])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    (tmp_path / "data.gz").write_bytes(harm(gzip.compress(GOOD)))
    with pytest.raises(UserError, match=r"data\.gz"):
        read_idx(tmp_path / "data.gz")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_promises_terabytes_costs_nothing(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "liar").write_bytes(pack(struct.pack(">HBBIII", 0, 8, 3, 2**32 - 1, 1000, 1000) + bytes(9)))
    start = time.perf_counter()
    with pytest.raises(UserError, match="is truncated"):
        read_idx(tmp_path / "liar")
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2), np.int8), np.uint8(3)])
def test_only_arrays_of_bytes_are_written(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(UserError, match="uint8"):
        write_idx(tmp_path / "data", np.asarray(array))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("shape", [(2**32 - 1, 0, 2**32 - 1), (1,) * 65])
def test_a_shape_that_no_array_has_is_a_sentence(tmp_path, shape):
    path = tmp_path / "file"
    path.write_bytes(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + b"x" * math.prod(shape))
    with pytest.raises(UserError, match="a shape that images cannot have"):
        read_idx(path)
