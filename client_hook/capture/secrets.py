"""Puts `***` where a command line or a config holds a secret.

Not for: what a user logs on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "***"
# texts: re compiles them when the first config is looked at, not at import
_NAME = (
    r"(?i)(^|[_\-.])(token|passw(or)?d|pwd|secret|(api|access|private)[_\-]?key|credentials?|auth)($|[_\-.])|"
    r"(api|access)key|(auth|access)token"
)  # fmt: skip
_VALUE = (
    r"\b(sk-[A-Za-z0-9_\-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|"
    r"xox[abp]-[A-Za-z0-9\-]{10,}|AKIA[A-Z0-9]{16})"
)  # fmt: skip
_IN_URL = r"(://[^/\s:@]*:)[^@\s/]+@"
_COUNTS = r"(?i)(^|[_\-.])(num|max|n|min|total|count|len|per)[_\-].*token|tokens"


def is_secret_name(name: str) -> bool:
    """Says whether a key or option names a secret (`max_tokens` and `tokenizer` do not)."""
    return re.search(_NAME, name) is not None and re.search(_COUNTS, name) is None


def mask_text(text: str) -> str:
    """Masks passwords in addresses and well-known kinds of keys."""
    return re.sub(_VALUE, MASK, re.sub(_IN_URL, rf"\1{MASK}@", text))


def mask_command(arguments: Sequence[str]) -> list[str]:
    """Masks `--token X`, `--token=X`, `TOKEN=X` and `key=X`."""
    masked: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hide_next and not argument.startswith("--"):
            masked.append(MASK)
        elif equals and is_secret_name(name.lstrip("-")):
            masked.append(f"{name}={MASK}")
        else:
            masked.append(mask_text(argument))
        hide_next = not equals and argument.startswith("-") and is_secret_name(argument.lstrip("-"))
    return masked


def mask(value: Any, depth: int = 0) -> Any:
    """Masks the values of secret keys in nested dicts and lists; everything else stays as it is."""
    if isinstance(value, str):
        return mask_text(value)
    if depth > 8:
        return value
    if isinstance(value, Mapping):
        return {
            key: MASK
            if isinstance(key, str) and is_secret_name(key) and item not in (None, "", False)
            else mask(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [mask(item, depth + 1) for item in value]
    return value
