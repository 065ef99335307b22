"""Shapes the answers about series."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel

from server.domain.kinds import parse
from server.domain.series import SeriesInfo
from server.web.models.values import Number


class SeriesItem(BaseModel):
    """Summarises one series; `kind` is its prefix ("" = the user's own), `subject` the layer, parameter or group."""

    name: str
    kind: str
    subject: str
    count: int
    nonfinite: int
    first_step: int
    last_step: int
    last_value: Number
    min: Number
    max: Number

    @classmethod
    def of(cls, info: SeriesInfo) -> SeriesItem:
        """Makes it from a summary."""
        kind, subject = parse(info.name)
        return cls(kind=kind.value.rstrip("/"), subject=subject, **asdict(info))


class SeriesPage(BaseModel):
    """One page of series."""

    items: list[SeriesItem]
    next: str | None


class NonFinite(BaseModel):
    """Counts the values of one kind in one bucket that are no number to draw."""

    step: int
    last_step: int
    count: int
    kind: Literal["nan", "inf", "-inf"]


class SeriesBuckets(BaseModel):
    """One series, cut into buckets of neighbouring samples: the extremes of each are kept, so no spike is lost.

    `steps` and `x` are those of the first sample of each bucket; `smooth` is null unless it was asked for.
    """

    name: str
    attempt: int
    rank: int
    steps: list[int]
    x: list[Number]
    min: list[Number]
    max: list[Number]
    first: list[Number]
    last: list[Number]
    smooth: list[Number] | None
    count: list[int]
    nonfinite: list[NonFinite]


class SeriesDataPage(BaseModel):
    """The series that were asked for; those that the run does not have are left out."""

    items: list[SeriesBuckets]
    next: str | None
