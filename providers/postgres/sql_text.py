"""SQL text as PostgreSQL's lexer sees it: statements, their words, the line of each. Pure.

Only what is needed to send statements one by one and to name lines: PostgreSQL itself parses, so that its newest syntax
works here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["word", "quoted", "string", "number", "symbol", "comment"]

_DOLLAR = re.compile(r"\$(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)?\$")
_WORD = re.compile(r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*")
_NUMBER = re.compile(r"[0-9][0-9A-Za-z_.]*")
_SPACE = re.compile(r"\s+")


class LexicalError(ValueError):
    """``offset`` is where the text stops making sense."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True)
class Token:
    """``text`` of a word is upper case, of a quoted identifier and a string its content, else as written."""

    kind: Kind
    text: str
    offset: int
    end: int


@dataclass(frozen=True)
class Statement:
    """One statement: ``text`` without the closing semicolon, from its first token on; ``line`` is that token's.

    ``comments`` are those right before and inside it.
    """

    text: str
    line: int
    offset: int
    tokens: tuple[Token, ...]
    comments: tuple[Token, ...]

    def line_at(self, offset: int) -> int:
        """The line of the file at ``offset`` characters into the statement's text."""
        return self.line + self.text.count("\n", 0, offset)

    @property
    def words(self) -> tuple[str, ...]:
        """Words in upper case and symbols; strings and quoted identifiers are left out."""
        return tuple(token.text for token in self.tokens if token.kind in ("word", "symbol"))


def tokens(text: str) -> Iterator[Token]:
    """:raises LexicalError: an unterminated string, identifier or comment; a psql command."""
    position = 0
    while position < len(text):
        space = _SPACE.match(text, position)
        if space:
            position = space.end()
            continue
        token = _token(text, position)
        yield token
        position = token.end


def _token(text: str, at: int) -> Token:
    if text.startswith("--", at):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        return Token("comment", text[at + 2 : end].strip(), at, end)
    if text.startswith("/*", at):
        end = _end_of_comment(text, at)
        return Token("comment", text[at + 2 : end - 2].strip(), at, end)
    if text[at] == "'":
        return _string(text, at, at, escapes=False)
    if text[at] in "eE" and text.startswith("'", at + 1):
        return _string(text, at, at + 1, escapes=True)
    if text[at] in "bBxXnN" and text.startswith("'", at + 1):
        return _string(text, at, at + 1, escapes=False)
    if text[at] in "uU" and text.startswith("&'", at + 1):
        return _string(text, at, at + 2, escapes=False)
    if text[at] == '"' or (text[at] in "uU" and text.startswith('&"', at + 1)):
        start = text.index('"', at)
        end = _end_of_quotes(text, start, '"', escapes=False)
        return Token("quoted", text[start + 1 : end - 1].replace('""', '"'), at, end)
    dollar = _DOLLAR.match(text, at)
    if dollar:
        end = text.find(dollar.group(), dollar.end())
        if end < 0:
            raise LexicalError(f"the string that {dollar.group()} opens is never closed", at)
        return Token("string", text[dollar.end() : end], at, end + len(dollar.group()))
    word = _WORD.match(text, at)
    if word:
        return Token("word", word.group().upper(), at, word.end())
    number = _NUMBER.match(text, at)
    if number:
        return Token("number", number.group(), at, number.end())
    if text[at] == "\\":
        raise LexicalError("psql commands are not SQL; write plain statements", at)
    return Token("symbol", text[at], at, at + 1)


def _string(text: str, start: int, quote: int, *, escapes: bool) -> Token:
    end = _end_of_quotes(text, quote, "'", escapes=escapes)
    return Token("string", text[quote + 1 : end - 1], start, end)


def _end_of_quotes(text: str, at: int, quote: str, *, escapes: bool) -> int:
    position = at + 1
    while position < len(text):
        if escapes and text[position] == "\\":
            position += 2
        elif text[position] != quote:
            position += 1
        elif text.startswith(quote * 2, position):
            position += 2
        else:
            return position + 1
    raise LexicalError(f"the {quote} opened here is never closed", at)


def _end_of_comment(text: str, at: int) -> int:
    depth, position = 0, at
    while position < len(text):
        if text.startswith("/*", position):
            depth, position = depth + 1, position + 2
        elif text.startswith("*/", position):
            depth, position = depth - 1, position + 2
            if depth == 0:
                return position
        else:
            position += 1
    raise LexicalError("the comment opened here is never closed", at)


def statements(text: str) -> list[Statement]:
    """The statements of ``text`` in order. Comments after the last one belong to none.

    :raises LexicalError: see :func:`tokens`.
    """
    found: list[Statement] = []
    current: list[Token] = []
    comments: list[Token] = []
    depth = parentheses = 0
    for token in tokens(text):
        if token.kind == "comment":
            comments.append(token)
            continue
        if token.kind == "symbol" and token.text == ";" and depth == 0 and parentheses <= 0:
            if current:
                found.append(_statement(text, current, comments))
            current, comments, parentheses = [], [], 0
            continue
        current.append(token)
        if token.kind == "symbol":
            parentheses += {"(": 1, ")": -1}.get(token.text, 0)
        elif token.kind == "word":
            depth = _body_depth(current, depth)
    if depth > 0:
        raise LexicalError("the BEGIN ATOMIC of this statement has no END", current[0].offset)
    if current:
        found.append(_statement(text, current, comments))
    return found


def _body_depth(current: list[Token], depth: int) -> int:
    """Depth inside an SQL-standard function body, whose semicolons end no statement (as psql counts it)."""
    word = current[-1].text
    if depth == 0:
        head = [token.text for token in current[:4] if token.kind == "word"]
        routine = head[:1] == ["CREATE"] and ("FUNCTION" in head or "PROCEDURE" in head)
        previous = current[-2] if len(current) > 1 else None
        begins = word == "ATOMIC" and previous is not None and (previous.kind, previous.text) == ("word", "BEGIN")
        return 1 if routine and begins else 0
    return depth + {"CASE": 1, "BEGIN": 1, "END": -1}.get(word, 0)


def _statement(text: str, current: list[Token], comments: list[Token]) -> Statement:
    start, end = current[0].offset, current[-1].end
    return Statement(
        text=text[start:end],
        line=text.count("\n", 0, start) + 1,
        offset=start,
        tokens=tuple(current),
        comments=tuple(comments),
    )


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
