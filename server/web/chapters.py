"""The chapters of the checklist: five that every training goes through, and those that were added to them.

A rule belongs to a chapter and a section by its code alone. Not for: what became of a rule (checklist.py).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChapterInfo:
    """One chapter: what to make sure of, in a sentence."""

    digit: str
    title: str
    lead: str


CHAPTERS = (
    ChapterInfo(
        "1", "Start simple", "A small model on a handful of samples first: it must be able to learn them by heart."
    ),
    ChapterInfo(
        "2",
        "Confirm your loss",
        "The loss fits the task, its parts are of one scale, and its first value is what guessing gives.",
    ),
    ChapterInfo(
        "3",
        "Intermediate outputs and connections",
        "Every layer is connected: outputs flow forward, gradients flow back, and the weights move.",
    ),
    ChapterInfo(
        "4",
        "Diagnose parameters",
        "Batch size, learning rate, clipping, normalisation, regularisation and dropout work together.",
    ),
    ChapterInfo(
        "5",
        "Track your work",
        "What was run, with which settings, and what came of it can be found again and repeated.",
    ),
    ChapterInfo("6", "Numerics and mixed precision", "No number leaves what its type can hold."),
    ChapterInfo("7", "Throughput and memory", "The machine computes instead of waiting, and memory does not grow."),
    ChapterInfo("8", "Generalisation", "What is learned holds for data that was not seen."),
    ChapterInfo(
        "9",
        "Distributed training and transformers",
        "All ranks do the same work on different data; attention and logits stay in bounds.",
    ),
)
FURTHER = ChapterInfo("", "Further checks", "Checks that other packages added.")
FIRST_FIVE = CHAPTERS[:5]

_SECTIONS = {
    "40": "Batch size",
    "41": "Learning rate",
    "42": "Gradient clipping",
    "43": "Batch normalisation",
    "44": "Optimizer",
    "45": "Regularisation",
    "46": "Dropout",
    "47": "Initialisation",
}
_BY_DIGIT = {chapter.digit: chapter for chapter in CHAPTERS}


def chapter_of(code: str) -> ChapterInfo:
    """Gives the chapter to which a rule's code belongs."""
    return _BY_DIGIT.get(code[2:3], FURTHER)


def section_of(code: str) -> str:
    """Gives the section of a chapter that has any, else an empty text."""
    return _SECTIONS.get(code[2:4], "")
