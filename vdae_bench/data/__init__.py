"""The data: which sets there are (`registry`), how they are obtained (`fetch`), and loaded (`images`).

Importing this package imports none of torch, numpy or requests.
"""

from vdae_bench.data.registry import (
    DATASETS,
    IdxFile,
    ImageFiles,
    IndexPackage,
    dataset_ids,
    find_dataset,
    parse_dataset_id,
    register_dataset,
)

__all__ = [
    "DATASETS",
    "IdxFile",
    "ImageFiles",
    "IndexPackage",
    "dataset_ids",
    "find_dataset",
    "parse_dataset_id",
    "register_dataset",
]
