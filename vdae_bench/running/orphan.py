"""How a worker process ends when its parent has died.

This module imports nothing heavy, so that it is in force before a worker has imported torch.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait

orphaned = threading.Event()
"""Set in a worker process whose parent has died: it stops after a checkpoint."""
working = threading.Lock()
"""Held by a worker while it works."""


def begin(threads: int) -> None:
    """Set a worker up; it needs seconds to import torch, and its parent may die meanwhile."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import vdae_bench.running.cost  # noqa: F401 - the models and all that a task needs, while the parent goes on
    from vdae_bench.store.provenance import code_state
    from vdae_bench.system import devices

    devices.prepare(threads)
    code_state()  # that of what it has imported by now


def _end_with_parent() -> None:
    """End a worker whose parent has died, after a checkpoint; nobody else would, as it holds both ends of its pipes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    orphaned.set()
    with working:
        os._exit(1)
