"""Takes in what hooks send: frames of series and records, and the opening of runs."""

from server.ingest.intake import MAX_BODIES_BYTES, Ingest

__all__ = ["MAX_BODIES_BYTES", "Ingest"]
