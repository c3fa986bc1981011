"""A user's own images, which a spec names: put into the cache as the four files that their checksums are of."""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

from vdae_bench.data.files import SourceError, copy_checked
from vdae_bench.data.idx import idx_content
from vdae_bench.data.own import own_arrays
from vdae_bench.data.registry import ImageFiles
from vdae_bench.data.sources import Report, Source
from vdae_bench.errors import UserError


def sources(dataset: ImageFiles) -> Iterator[Source]:
    """Yield the place of a user's own images."""
    if dataset.own:
        yield Source(str(dataset.own.train), partial(_take, dataset))


def _take(dataset: ImageFiles, folder: Path, report: Report) -> None:
    assert dataset.own
    for file, array in zip(dataset.files, own_arrays(dataset.own).values(), strict=True):
        content = cast(io.BufferedReader, io.BufferedReader(io.BytesIO(idx_content(array, file.name))))
        try:
            copy_checked(content, file, folder, file.name)
        except SourceError:
            raise UserError(
                f"the images of {dataset.name} were changed while this command ran; give the same command again"
            ) from None
