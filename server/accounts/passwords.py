"""Passwords: which ones are taken, and how they are kept: argon2id, as RFC 9106 recommends it where memory is short.

That is 3 passes over 64 MiB, the default of argon2-cffi, about a tenth of a second of one core. Length and a list of
the commonest ones are what NIST SP 800-63B asks for; it advises against rules about their characters.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import unicodedata
from collections import OrderedDict
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from server.errors import WrongAccount

LEAST, MOST = 12, 256
MOST_WRONG = 1_000

_KEY = secrets.token_bytes(32)
_wrong: OrderedDict[bytes, None] = OrderedDict()  # what was tried and is wrong, as no one can read it
_lock = threading.Lock()

_HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# the commonest of lists of leaked ones that are long enough, and what people make of the name of this program
_WORDS = """
000000000000 012345678910 0123456789ab 0123456789abc 098765432100 111111111111 111122223333 112233445566
121212121212 123123123123 12341234123412 123456123456 1234567890-= 123456789012 1234567890123 12345678901234
123456789012345 1234567890123456 1234567890ab 1234567890abc 1234567890qw 1234567890qwe 123456789101112 123456789123
123456789abc 123456789qwe 123qweasdzxc 147258369147 1q2w3e4r5t6y 1q2w3e4r5t6y7u 1q2w3e4r5t6y7u8i 1qaz2wsx3edc
1qaz2wsx3edc4rfv 1qazxsw23edc 222222222222 666666666666 987654321000 999999999999 aaaaaaaaaaaa abc123abc123
abcd12345678 abcd1234abcd abcdefghijkl abcdefghijklm adminadminadmin administrator administrator1 asdfasdfasdf
asdfghjkl123 asdfghjkl1234 asdfghjklzxc basketball12 changeme1234 changemeplease chocolate123
correcthorsebatterystaple deeplearning default12345 football1234 gradwatch123 gradwatch1234 gradwatchadmin
gradwatchgradwatch helloworld12 helloworld123 iloveyou1234 iloveyou12345 iloveyouforever iloveyousomuch internet1234
letmein12345 letmeinletmein liverpool123 machinelearning michaeljackson mypassword12 mypassword123 p@ssw0rd1234
p@ssword1234 passw0rd1234 passw0rd12345 password0123 password1111 password1234 password12345 password123456
password1234567 password12345678 password123456789 password2024 password2025 password2026 password@123
passwordpassword princess1234 q1w2e3r4t5y6 q1w2e3r4t5y6u7 qazwsxedc123 qazwsxedcrfv qazwsxedcrfvtgb qwer1234qwer
qwerasdfzxcv qwerqwerqwer qwerty123456 qwerty1234567 qwerty12345678 qwertyqwerty qwertyuiop12 qwertyuiop123
qwertyuiop[] qwertyuiopas qwertyuiopasdf qwertyuiopasdfghjkl qwertyuiopasdfghjklzxcvbnm secret123456 starwars1234
sunshine1234 superman1234 test12345678 testtesttest thisisapassword thisismypassword trustno1trustno1 unbelievable
welcome12345 welcome123456 whateverwhatever zxcvbnm12345 zxcvbnmasdfg zxcvbnmasdfghjkl
"""
_COMMONEST = frozenset(_WORDS.split())


def checked(password: str, name: str) -> str:
    """Gives a password as it is kept; raises WrongAccount for one that is too short, too long, or easily guessed."""
    plain = _plain(password)
    if len(plain) < LEAST:
        raise WrongAccount(f"The password has {len(plain)} characters; at least {LEAST} are needed.")
    if len(plain) > MOST:
        raise WrongAccount(f"The password has {len(plain)} characters; at most {MOST} fit.")
    if plain.casefold() in _COMMONEST or len(set(plain)) == 1:
        raise WrongAccount("This password is one of the first that are tried; choose another, such as a few words.")
    if plain.casefold().strip() == name.casefold():
        raise WrongAccount("The password is the name; choose another, such as a few words.")
    return plain


def hashed(password: str) -> str:
    """Gives what is kept of a password that was checked."""
    return _HASHER.hash(password)


def fits(kept: str | None, password: str, name: str = "") -> bool:
    """Whether this is the password; where nobody is called so (None), the answer takes as long and is always no.

    What was wrong for this name and hash is wrong again at no cost: nobody keeps the cores busy with one password.
    """
    plain = _plain(password)[: MOST + 1]
    against = _nobodys() if kept is None else kept
    mark = hmac.digest(_KEY, f"{name}\n{against}\n{plain}".encode(), "sha256")
    if mark in _wrong:
        return False
    try:
        right = _HASHER.verify(against, plain) and kept is not None
    except VerificationError:
        right = False
    if not right:
        with _lock:
            _wrong[mark] = None
            while len(_wrong) > MOST_WRONG:
                _wrong.popitem(last=False)
    return right


def _plain(password: str) -> str:
    """Makes one of the several ways to type a letter with an accent; half of a character counts as a question mark."""
    return unicodedata.normalize("NFKC", password.encode("utf-8", "replace").decode())


@lru_cache(maxsize=1)
def _nobodys() -> str:
    return _HASHER.hash("nobody's")
