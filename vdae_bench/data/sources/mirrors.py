"""The public mirrors: folders on the web with each file as a .gz."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import requests

from vdae_bench.data.files import copy_checked, missing_files
from vdae_bench.data.registry import IdxFile, ImageFiles
from vdae_bench.data.sources import Report, Source
from vdae_bench.data.sources.web import Download, new_session, open_body, require_reachable, transfer


def sources(dataset: ImageFiles) -> Iterator[Source]:
    """Yield each mirror of `dataset`."""
    for mirror in dataset.mirrors:
        yield Source(mirror, partial(_take, dataset, mirror))


def _take(dataset: ImageFiles, mirror: str, folder: Path, report: Report) -> None:
    with new_session() as session:
        require_reachable(session, mirror)
        # The first fault ends it: a host that failed for one file is not waited for again.
        for file in missing_files(folder, dataset):
            report(f"downloading {file.name} from {urlsplit(mirror).hostname}")
            transfer(partial(_take_file, session, f"{mirror.rstrip('/')}/{file.name}.gz", file, folder))


def _take_file(session: requests.Session, url: str, file: IdxFile, folder: Path) -> None:
    progress = Download(file.name, total=None, content_size=file.size)
    with open_body(session, url, progress) as body:
        copy_checked(body, file, folder, url)
