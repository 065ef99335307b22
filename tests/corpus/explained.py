"""Says of each miss and each false alarm of the corpus why it is one; the catalogue page shows the sentence.

Not for: the held-out sets, whose folders hold a README each.
"""

from __future__ import annotations

EXPLAINED: dict[str, str] = {
    "class-ids-as-amounts": (
        "To fit the ids of ordered classes as amounts is usual, and counts look the same; preflight, which sees that "
        "the ids are exactly 0 to K-1, asks about it."
    ),
    "keeps-every-graph": (
        "No backward goes through the losses whose graphs are kept, so nobody marks them, and in so short a run they "
        "are a few megabytes, no more than an allocator keeps by itself; the rule speaks when memory has grown longer."
    ),
}
