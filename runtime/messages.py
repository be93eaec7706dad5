"""The text of an error, in one line; text of others, without what would move the cursor of a terminal."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """Return the whole message with each run of white space as one space, or the error's type if it has no message.

    >>> one_line(ValueError("expected 3,\\n  got 4"))
    'expected 3, got 4'
    >>> one_line(KeyboardInterrupt())
    'KeyboardInterrupt'
    """
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """Return the first line of the message, or the error's type if it has none: torch adds its C++ stack below.

    >>> first_line(RuntimeError("out of memory\\nException raised from …"))
    'out of memory'
    """
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def printable(text: str) -> str:
    r"""Return `text` with control characters, line ends and invisible ones as their escapes.

    >>> printable("a\x1b[2Jb\n")
    'a\\x1b[2Jb\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
