"""A side of a comparison that costs nothing, for the test of the comparison itself."""

from __future__ import annotations

from benchmarks.common import Turn


def counted(rows: int) -> Turn:
    """A turn that claims ``rows`` rows."""
    return lambda: {"rows": rows}
