"""Which passwords are taken, how they are kept, and that a wrong name costs as much as a wrong password."""

from __future__ import annotations

import pytest

from server.accounts import passwords
from server.errors import WrongAccount


def test_what_is_kept_is_argon2id_with_the_costs_of_rfc_9106_and_a_salt_of_its_own() -> None:
    first, second = passwords.hashed("seven green bicycles"), passwords.hashed("seven green bicycles")
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert first != second
    assert passwords.fits(first, "seven green bicycles")
    assert not passwords.fits(first, "seven green bicycle")


@pytest.mark.parametrize(
    "password", ["x" * 11 + "y", "seven green bicycles", "ß" * 11 + "x", " " * 11 + "x", "pass\tword\tpa"]
)
def test_length_is_all_that_counts(password: str) -> None:
    assert passwords.checked(password, "ada") == password


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("", "The password has 0 characters; at least 12 are needed."),
        ("elevenchars", "The password has 11 characters; at least 12 are needed."),
        ("ab" * 129, "The password has 258 characters; at most 256 fit."),
        ("password1234", "This password is one of the first that are tried; choose another, such as a few words."),
        ("PassWord1234", "This password is one of the first that are tried; choose another, such as a few words."),
        ("zzzzzzzzzzzzzz", "This password is one of the first that are tried; choose another, such as a few words."),
        ("ADA@lab.example", "The password is the name; choose another, such as a few words."),
    ],
)
def test_a_password_that_is_not_taken_is_told_why(password: str, sentence: str) -> None:
    with pytest.raises(WrongAccount) as caught:
        passwords.checked(password, "ada@lab.example")
    assert str(caught.value) == sentence


def test_every_word_of_the_list_is_long_enough_to_be_of_use() -> None:
    assert [word for word in passwords._COMMONEST if len(word) < passwords.LEAST or word != word.casefold()] == []
    assert len(passwords._COMMONEST) > 100


def test_a_letter_with_an_accent_is_the_same_however_it_is_typed() -> None:
    one, other = "café au lait deux", "cafe\u0301 au lait deux"
    assert passwords.fits(passwords.hashed(passwords.checked(one, "ada")), other)


@pytest.mark.parametrize("password", ["x" * 100_000, "\ud800" * 12, "\0" * 12, ""])
def test_anything_can_be_tried(password: str) -> None:
    kept = passwords.hashed("seven green bicycles")
    assert not passwords.fits(kept, password)
    assert not passwords.fits(None, password)
