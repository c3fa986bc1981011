"""Folders of the test's own."""

from tests.support.folders import blank_pictures, reports, store

__all__ = ["blank_pictures", "reports", "store"]
