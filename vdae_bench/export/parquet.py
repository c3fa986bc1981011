"""Parquet by pyarrow: three tables for pandas, Polars, DuckDB or Spark, joined by `run_id`."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vdae_bench.export.content import ExportedRun
from vdae_bench.report.pages.files import curves_frame, frame
from vdae_bench.store.evidence import IMAGE_ARRAYS
from vdae_bench.system import atomic


def export(runs: Sequence[ExportedRun], out: Path) -> str:
    """Write `runs.parquet` (a row a run), `curves.parquet` (an epoch) and `images.parquet` (an image)."""
    root, own = runs[0].root, [each.run for each in runs]
    ids = {each.run.path.relative_to(root).as_posix(): each.id for each in runs}
    tables = {
        "runs": frame(own, {each.run.path: each.left_out for each in runs}, root),
        "curves": curves_frame(own, root),
        "images": pd.DataFrame([row for each in runs for row in _images(each)]),
    }
    for name, table in tables.items():
        if "record" in table:
            table.insert(0, "run_id", table["record"].map(ids))
        buffer = io.BytesIO()
        _of_one_type(table).to_parquet(buffer, engine="pyarrow", index=False)
        atomic.write(out / f"{name}.parquet", buffer.getvalue(), option="output")
    return f"read them with pandas.read_parquet({str(out / 'runs.parquet')!r})"


def _images(run: ExportedRun) -> list[dict[str, Any]]:
    """A row for each image of a run's evidence: its kind, its place among them, and its grey levels row by row."""
    if run.evidence is None:
        return []
    rows, columns = run.evidence.numbers.image_shape
    record = run.run.path.relative_to(run.root).as_posix()
    return [
        {"record": record, "kind": kind, "index": index, "rows": rows, "columns": columns, "pixels": image.tobytes()}
        for kind in IMAGE_ARRAYS
        if kind in run.evidence.arrays
        for index, image in enumerate(run.evidence.arrays[kind].reshape(-1, rows * columns))
    ]


def _of_one_type(table: pd.DataFrame) -> pd.DataFrame:
    """The table with columns of the narrowest type; what has values of several types or lists is JSON."""
    narrow = table.convert_dtypes()
    for name in narrow.columns:
        values = list(narrow[name])
        if narrow[name].dtype.name == "object" and not all(isinstance(value, bytes) for value in values):
            missing = [value is None or value is pd.NA or value != value for value in values]
            narrow[name] = [None if none else json.dumps(value) for none, value in zip(missing, values, strict=True)]
    return narrow
