"""The SQL that every frame runs, built once: building and hashing a statement takes longer than SQLite needs for it.

Not for: what is done with the rows (frames.py).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, insert, null, select, tuple_, update

from server.store import schema
from server.store.engine import upsert
from server.store.progress import PROGRESS_COLUMNS

_f, _b, _a, _s = schema.frames.c, schema.blocks.c, schema.attempts.c, schema.streams.c

FIND = (
    select(
        *(schema.runs.c[name] for name in PROGRESS_COLUMNS),
        schema.runs.c.findings_version,
        _a.number,
        _a.state.label("attempt_state"),
        _a.last_step.label("attempt_last_step"),
        _f.crc,
        _s.contiguous,
        _s.highest,
    )
    .select_from(schema.runs)
    .join(schema.attempts, and_(_a.run_id == schema.runs.c.id, _a.key == bindparam("b_key")))
    .outerjoin(
        schema.frames,
        and_(
            _f.run_id == schema.runs.c.id,
            _f.attempt == _a.number,
            _f.rank == bindparam("b_rank"),
            _f.seq == bindparam("b_seq"),
        ),
    )
    .outerjoin(
        schema.streams,
        and_(_s.run_id == schema.runs.c.id, _s.attempt == _a.number, _s.rank == bindparam("b_rank")),
    )
    .where(schema.runs.c.id == bindparam("b_run"))
    # where several processes write: the frames of one run come one after another
    .with_for_update(of=schema.runs)
)

# many frames at once, each the next of its stream, or the first of an attempt: a frame that is not further than
# `highest` is looked for with FIND
FIND_MANY = (
    select(
        schema.runs.c.id,
        *(schema.runs.c[name] for name in PROGRESS_COLUMNS),
        schema.runs.c.findings_version,
        _a.number,
        _a.key,
        _a.state.label("attempt_state"),
        _a.last_step.label("attempt_last_step"),
        null().label("crc"),
        _s.rank,
        _s.contiguous,
        _s.highest,
    )
    .select_from(schema.attempts)
    .join(schema.runs, schema.runs.c.id == _a.run_id)
    .outerjoin(
        schema.streams,
        and_(_s.run_id == _a.run_id, _s.attempt == _a.number, _s.rank.in_(bindparam("b_ranks", expanding=True))),
    )
    .where(
        _a.run_id.in_(bindparam("b_runs", expanding=True)),  # SQLite finds no index for the pairs
        tuple_(_a.run_id, _a.key).in_(bindparam("b_keys", expanding=True)),
    )
    .order_by(schema.runs.c.id)  # so that two processes lock them in one order
    .with_for_update(of=schema.runs)
)


def _of_stream(columns: Any) -> Any:
    return and_(
        columns.run_id == bindparam("b_run"),
        columns.attempt == bindparam("b_attempt"),
        columns.rank == bindparam("b_rank"),
        columns.seq > bindparam("b_after"),
    )


RANKS = select(_s.rank).where(_s.run_id == bindparam("b_run"), _s.attempt == bindparam("b_attempt")).order_by(_s.rank)
LATER = select(_f.seq).where(_of_stream(_f)).order_by(_f.seq)
SINCE = select(_f.seq, _f.complete).where(_of_stream(_f)).order_by(_f.seq).limit(bindparam("b_limit"))
SINCE_BLOCKS = (
    select(_b.seq, _b.group, _b["count"].label("samples"), _b.data)
    .where(_of_stream(_b), _b.seq <= bindparam("b_last"))
    .order_by(_b.seq, _b.part)
)
_l = schema.seals.c
SINCE_SEALS = (
    select(_l.group, _l.number, _l["count"].label("samples"), _l.first_piece, _l.axis, _l.directory)
    .where(
        _l.run_id == bindparam("b_run"),
        _l.attempt == bindparam("b_attempt"),
        _l.rank == bindparam("b_rank"),
        _l.last_seq > bindparam("b_after"),
        _l.first_seq <= bindparam("b_last"),
    )
    .order_by(_l.group, _l.number)
)
PIECES = select(schema.pieces.c.number, schema.pieces.c.data).where(
    schema.pieces.c.run_id == bindparam("b_run"), schema.pieces.c.number.in_(bindparam("b_numbers", expanding=True))
)
SINCE_FACTS = (
    select(schema.facts.c.seq, schema.facts.c.name, schema.facts.c.step, schema.facts.c.value)
    .where(_of_stream(schema.facts.c), schema.facts.c.seq <= bindparam("b_last"))
    .order_by(schema.facts.c.seq, schema.facts.c.part)
)
INSERT_SERIES = insert(schema.series)
INSERT_GROUP = insert(schema.groups)
INSERT_MEMBERS = insert(schema.group_members)
INSERT_FRAME = insert(schema.frames)
INSERT_BLOCKS = insert(schema.blocks)
INSERT_FACTS = insert(schema.facts)
INSERT_EVENTS = insert(schema.events)
UPDATE_RUN = update(schema.runs).where(schema.runs.c.id == bindparam("b_id"))
UPDATE_ATTEMPT = update(schema.attempts).where(_a.run_id == bindparam("b_run"), _a.number == bindparam("b_number"))
SUMMARY = select(schema.summaries.c.data).where(
    schema.summaries.c.run_id == bindparam("b_run_id"),
    schema.summaries.c.attempt == bindparam("b_attempt"),
    schema.summaries.c.rank == bindparam("b_rank"),
    schema.summaries.c.group == bindparam("b_group"),
)
SUMMARIES = select(schema.summaries).where(
    schema.summaries.c.run_id.in_(bindparam("b_runs", expanding=True)),
    tuple_(
        schema.summaries.c.run_id, schema.summaries.c.attempt, schema.summaries.c.rank, schema.summaries.c.group
    ).in_(bindparam("b_keys", expanding=True)),
)
_put_summary = upsert(schema.summaries)
PUT_SUMMARY = _put_summary.on_conflict_do_update(
    index_elements=["run_id", "attempt", "rank", "group"], set_={"data": _put_summary.excluded.data}
)
_put_stream = upsert(schema.streams)
PUT_STREAM = _put_stream.on_conflict_do_update(
    index_elements=["run_id", "attempt", "rank"],
    set_={"contiguous": _put_stream.excluded.contiguous, "highest": _put_stream.excluded.highest},
)
