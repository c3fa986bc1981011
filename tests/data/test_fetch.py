"""The order of places, the user's folder, and a cache that holds nothing but the genuine files."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

import vdae_bench
from tests.support.images import TinySet
from tests.support.web import Server
from vdae_bench.data import fetch as fetch_module
from vdae_bench.data.fetch import cache_path, fetch, verify
from vdae_bench.errors import EnvironmentFault, UserError


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def dotted(name: str) -> str:
    return name.replace("-idx", ".idx")


# ---------------------------------------------------------------- the user's folder


@pytest.mark.parametrize("rename", [str, dotted], ids=["dash", "dot"])
@pytest.mark.parametrize("pack", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("inner", ["", "tiny"], ids=["here", "subfolder"])
@pytest.mark.parametrize("how", ["argument", "variable"])
def test_a_folder_of_the_users_is_used_however_its_files_are_named(
    tiny: TinySet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rename: Callable[[str], str],
    pack: bool,
    inner: str,
    how: str,
) -> None:
    folder = tmp_path / "mine"
    (folder / inner).mkdir(parents=True)
    for file in tiny.files.files:
        name = rename(file.name) + (".gz" if pack else "")
        (folder / inner / name).write_bytes(tiny.zipped(file) if pack else tiny.plain(file))
    before = content(folder / inner)
    if how == "variable":
        monkeypatch.setenv("VDAE_BENCH_DATA", str(folder))
    named = folder if how == "argument" else None
    assert content(fetch("tiny", named)) == content(tiny.folder)
    assert content(folder / inner) == before
    assert all(check.ok for check in verify("tiny", named))


def test_plain_files_are_used_where_they_are(tiny: TinySet) -> None:
    assert fetch("tiny", tiny.folder) == tiny.folder
    assert not cache_path("tiny").parent.exists()


def test_gzip_under_a_plain_name_is_unpacked_all_the_same(tiny: TinySet, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for file in tiny.files.files:
        (tmp_path / "mine" / file.name).write_bytes(tiny.zipped(file))
    assert content(fetch("tiny", tmp_path / "mine")) == content(tiny.folder)


def test_the_argument_has_precedence_over_the_variable(tiny: TinySet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDAE_BENCH_DATA", "/nowhere")
    assert fetch("tiny", tiny.folder) == tiny.folder


def test_an_empty_variable_names_no_folder(tiny: TinySet, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDAE_BENCH_DATA", "")
    tiny.use(mirrors=(server.offer_files(tiny),))
    assert fetch("tiny") == cache_path("tiny")


def test_another_set_in_the_same_folder_does_not_hide_the_subfolder(tiny: TinySet, tmp_path: Path) -> None:
    # As for MNIST and Fashion-MNIST, whose files have the same names.
    shutil.copytree(tiny.folder, tmp_path / "both" / "tiny")
    for file in tiny.files.files:
        (tmp_path / "both" / file.name).write_bytes(b"the other set")
    assert fetch("tiny", tmp_path / "both") == tmp_path / "both" / "tiny"


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_a_wrong_file_is_refused_with_both_digests_and_a_remedy(
    tiny: TinySet, index: int, pack: Callable[[bytes], bytes]
) -> None:
    file = tiny.files.files[index]
    path = tiny.folder / file.name
    wrong = bytes([*path.read_bytes()[:-1], path.read_bytes()[-1] ^ 1])
    path.write_bytes(pack(wrong))
    with pytest.raises(UserError) as caught:
        fetch("tiny", tiny.folder)
    found = verify("tiny", tiny.folder)[index]
    assert found.file == path and not found.ok and found.digest is not None
    for word in (str(path), file.sha256, found.digest, "--data"):
        assert word in str(caught.value)
    assert not cache_path("tiny").exists()


@pytest.mark.parametrize("cached", [True, False])
def test_a_refused_folder_is_not_replaced_by_the_cache_or_the_network(
    tiny: TinySet, server: Server, cached: bool
) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    if cached:
        fetch("tiny")
    asked = len(server.asked)
    (tiny.folder / tiny.files.test_labels.name).unlink()
    with pytest.raises(UserError, match=f"has no {tiny.files.test_labels.name}"):
        fetch("tiny", tiny.folder)
    with pytest.raises(UserError, match="does not exist"):
        fetch("tiny", tiny.folder / "elsewhere")
    assert len(server.asked) == asked


def test_a_gzip_bomb_is_refused_before_it_goes_off(tiny: TinySet) -> None:
    file = tiny.files.train_images
    path = tiny.folder / file.name
    # Two gigabytes of zeros after a genuine beginning.
    bomb = gzip.compress(path.read_bytes()) + 200 * gzip.compress(bytes(10_000_000))
    path.unlink()
    path.with_suffix(".gz").write_bytes(bomb)
    start = time.perf_counter()
    with pytest.raises(UserError, match=f"longer than the {file.size} bytes"):
        fetch("tiny", tiny.folder)
    assert time.perf_counter() - start < 1
    check = verify("tiny", tiny.folder)[0]
    assert (check.ok, check.digest) == (False, None)


def test_a_damaged_gz_is_refused(tiny: TinySet) -> None:
    file = tiny.files.train_images
    (tiny.folder / file.name).unlink()
    (tiny.folder / f"{file.name}.gz").write_bytes(tiny_gz := gzip.compress(b"x" * 99)[:-5])
    assert tiny_gz.startswith(b"\x1f\x8b")
    with pytest.raises(UserError, match="is damaged"):
        fetch("tiny", tiny.folder)


# ---------------------------------------------------------------- the cache


def test_what_is_cached_is_used_without_any_network(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    first = fetch("tiny")
    asked = list(server.asked)
    assert first == cache_path("tiny")
    assert content(first) == content(tiny.folder)
    assert sorted(asked) == sorted(f"/{file.name}.gz" for file in tiny.files.files)
    assert fetch("tiny") == first
    assert server.asked == asked


@pytest.mark.parametrize("harm", ["byte", "short", "long", "gone"])
def test_a_damaged_cache_is_noticed_and_fetched_again(tiny: TinySet, server: Server, harm: str) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    path = fetch("tiny") / tiny.files.train_images.name
    whole = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes({"byte": whole[:-1] + b"\0", "short": whole[:-1], "long": whole + b"\0"}[harm])
    assert not verify("tiny")[0].ok
    lines: list[str] = []
    assert content(fetch("tiny", report=lines.append)) == content(tiny.folder)
    assert "incomplete or damaged" in lines[0]


def test_verify_of_an_empty_cache_names_what_is_missing(tiny: TinySet) -> None:
    checks = verify("tiny")
    assert [check.file for check in checks] == [cache_path("tiny") / file.name for file in tiny.files.files]
    assert not any(check.ok or check.digest for check in checks)


def test_nothing_but_the_four_files_stays_in_the_cache(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    folder = fetch("tiny")
    assert sorted(content(folder)) == sorted(tiny.arrays)
    assert {path.name for path in folder.parent.iterdir()} <= {"tiny", ".tiny.lock"}


def test_a_set_without_sources_says_so(tiny: TinySet) -> None:
    with pytest.raises(EnvironmentFault, match="no source"):
        fetch("tiny")


def test_when_all_fails_one_message_has_every_place_its_reason_and_what_to_do(
    tiny: TinySet, server: Server, other_server: Server
) -> None:
    for file in tiny.files.files:
        other_server.offer(f"/{file.name}.gz", gzip.compress(b"something else"))
    mirrors = (f"{server.url}/", f"{other_server.url}/", "http://no-such-host.invalid/")
    tiny.use(mirrors=mirrors)
    with pytest.raises(EnvironmentFault) as caught:
        fetch("tiny")
    message = str(caught.value)
    for word in (*mirrors, "404", "is not the published", "cannot be resolved", "--data", *tiny.arrays):
        assert word in message
    assert len(message.splitlines()) == 1 + len(mirrors)
    assert not cache_path("tiny").exists()


@pytest.mark.skipif(os.name != "posix", reason="a file where the cache should be")
def test_a_cache_that_cannot_be_written_is_a_fault_of_the_surroundings(
    tiny: TinySet, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFault, match=r"cannot read or write .*file.*a data folder"):
        fetch("tiny")


def test_a_full_disk_ends_it_instead_of_trying_the_next_place(
    tiny: TinySet, server: Server, other_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.use(mirrors=(server.offer_files(tiny), other_server.offer_files(tiny)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        fetch("tiny")
    assert other_server.asked == []


# ---------------------------------------------------------------- other processes

SCRIPT = """
import sys
from vdae_bench.data.fetch import fetch
from vdae_bench.data.registry import IdxFile, ImageFiles, IndexPackage, register_dataset
register_dataset({dataset!r})
print("ready", flush=True)
print(fetch("tiny"))
"""


def start_fetch(tiny: TinySet) -> subprocess.Popen[str]:
    root = Path(vdae_bench.__file__).parents[1]
    code = SCRIPT.format(dataset=tiny.files)
    return subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_processes_at_once_fetch_once_and_agree(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    path = f"/{tiny.files.train_images.name}.gz"
    answer = server.answers[path]

    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.5)
        answer(handler)

    server.answers[path] = slow
    processes = [start_fetch(tiny) for _ in range(2)]
    outputs = [process.communicate(timeout=20)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == [f"ready\n{cache_path('tiny')}\n"] * 2
    assert content(cache_path("tiny")) == content(tiny.folder)
    assert len(server.asked) == 4


def test_a_process_killed_half_way_leaves_nothing_that_is_used_or_waited_for(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    last = f"/{tiny.files.test_labels.name}.gz"
    answer = server.answers[last]
    server.answers[last] = server.stall
    process = start_fetch(tiny)
    wait_until(lambda: last in server.asked)
    process.send_signal(signal.SIGKILL)
    process.wait()
    leftovers = list(cache_path("tiny").parent.glob(".tiny.partial-*"))
    assert len(leftovers) == 1 and not cache_path("tiny").exists()

    server.answers[last] = answer
    start = time.perf_counter()
    lines: list[str] = []
    assert content(fetch("tiny", report=lines.append)) == content(tiny.folder)
    assert time.perf_counter() - start < 2
    assert not any("waiting" in line for line in lines)


def test_leftovers_of_another_day_are_removed_and_those_of_today_kept(tiny: TinySet, server: Server) -> None:
    tiny.use(mirrors=(server.offer_files(tiny),))
    parent = cache_path("tiny").parent
    old, new = parent / ".tiny.partial-old", parent / ".tiny.partial-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "train-images-idx3-ubyte").write_bytes(b"half")
    long_ago = time.time() - 2 * fetch_module.LEFTOVER_SECONDS
    os.utime(old, (long_ago, long_ago))
    fetch("tiny")
    assert not old.exists() and new.exists()


def test_a_holder_of_the_lock_that_never_ends_is_not_waited_for_for_ever(
    tiny: TinySet, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    filelock = pytest.importorskip("filelock")
    monkeypatch.setattr(fetch_module, "LOCK_SECONDS", 0.2)
    tiny.use(mirrors=(server.offer_files(tiny),))
    cache_path("tiny").parent.mkdir(parents=True)
    holder = filelock.FileLock(cache_path("tiny").with_name(".tiny.lock"), thread_local=False)
    lines: list[str] = []
    with holder:
        assert content(fetch("tiny", report=lines.append)) == content(tiny.folder)
        assert holder.is_locked
    assert "waiting" in lines[0] and "without waiting longer" in lines[1]


@pytest.mark.parametrize("harm", ["cut", "flipped", "longer", "empty", "gone"])
def test_a_packed_file_that_is_there_is_not_called_missing(
    tiny: TinySet, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    from vdae_bench.cli import doctor
    from vdae_bench.cli.tools import verify_data

    folder = tmp_path / "packed"
    folder.mkdir()
    for name, plain in content(tiny.folder).items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(plain))
    first = folder / f"{tiny.files.files[0].name}.gz"
    whole = first.read_bytes()
    harmed = {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:-8] + bytes(each ^ 255 for each in whole[-8:]),
        "longer": gzip.compress(bytes(10**6)),
        "empty": b"",
    }
    first.unlink()
    if harm in harmed:
        first.write_bytes(harmed[harm])
    assert verify_data("tiny", folder) == 2
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG"))
    assert ("missing" in line) == (harm == "gone") and tiny.files.files[0].name in line
    if harm in ("cut", "flipped", "longer"):
        assert "cut off, damaged or too long" in line
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "verify", lambda _, folder: verify("tiny", folder))
        found = doctor._data(folder)
    assert found.state == "wrong" and ("lacks" in found.found) == (harm == "gone")
