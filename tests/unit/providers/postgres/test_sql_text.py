"""Statements are told apart as PostgreSQL's lexer does it, and every line is named right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.postgres.sql_text import LexicalError, Token, line_of, statements, tokens


def texts(sql: str) -> list[str]:
    return [statement.text for statement in statements(sql)]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("", []),
        (" ; ;; \n", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s; fine'; SELECT 2", ["SELECT 'it''s; fine'", "SELECT 2"]),
        (r"SELECT E'a\'; b'; SELECT 2", [r"SELECT E'a\'; b'", "SELECT 2"]),
        (r"SELECT 'a\'; SELECT 2", [r"SELECT 'a\'", "SELECT 2"]),
        (r"SELECT e'\\'; SELECT 2", [r"SELECT e'\\'", "SELECT 2"]),
        ("SELECT B'1;', X'a;', N';', U&'\\0041;'; SELECT 2", ["SELECT B'1;', X'a;', N';', U&'\\0041;'", "SELECT 2"]),
        ('SELECT "a;""b"; SELECT U&"c;"', ['SELECT "a;""b"', 'SELECT U&"c;"']),
        ("SELECT $$;$$; SELECT 2", ["SELECT $$;$$", "SELECT 2"]),
        ("SELECT $a$ $b$;$b$ $$;$$ $a$; SELECT 2", ["SELECT $a$ $b$;$b$ $$;$$ $a$", "SELECT 2"]),
        ("SELECT a$b$; SELECT $1", ["SELECT a$b$", "SELECT $1"]),
        ("SELECT 1 -- ; '\n; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT /* ; /* ' ; */ ; */ 1; SELECT 2", ["SELECT /* ; /* ' ; */ ; */ 1", "SELECT 2"]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
         ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"]),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END; SELECT 2",
         ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END", "SELECT 2"]),
        ("CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; END; SELECT 2",
         ["CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; END", "SELECT 2"]),
        ("SELECT atomic FROM begin; SELECT 2", ["SELECT atomic FROM begin", "SELECT 2"]),
        ("SELECT 1.5e3; SELECT é; SELECT \"é\"", ["SELECT 1.5e3", "SELECT é", 'SELECT "é"']),
    ],
)  # fmt: skip
def test_statements_end_where_postgresql_ends_them(sql: str, found: list[str]) -> None:
    assert texts(sql) == found


@pytest.mark.parametrize(
    ("sql", "line", "message"),
    [
        ("SELECT 1;\nSELECT 'open", 2, "never closed"),
        ("\n\nSELECT E'open\\'", 3, "never closed"),
        ('SELECT "open', 1, "never closed"),
        ("SELECT 1;\n/* /* */", 2, "comment opened here"),
        ("SELECT\n$tag$ $other$", 2, r"\$tag\$ opens"),
        ("SELECT 1;\n\n\\copy t FROM 'x'", 3, "psql commands"),
        ("\\d", 1, "psql commands"),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;", 1, "no END"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_line(sql: str, line: int, message: str) -> None:
    with pytest.raises(LexicalError, match=message) as refused:
        statements(sql)
    assert line_of(sql, refused.value.offset) == line


def test_lines_are_those_of_the_file() -> None:
    sql = "-- first\n\nSELECT 1,\n  2;  /* a\nb */ SELECT\n'x\ny', 3;"
    first, second = statements(sql)
    assert (first.line, second.line) == (3, 5)
    assert first.line_at(first.text.index("2")) == 4
    assert second.line_at(second.text.index("3")) == 7


def test_comments_belong_to_the_statement_they_stand_before_or_in() -> None:
    first, second = statements("-- one\nSELECT /* two */ 1; -- three\n-- four\nSELECT 2 -- five")
    assert [comment.text for comment in first.comments] == ["one", "two"]
    assert [comment.text for comment in second.comments] == ["three", "four", "five"]


def test_words_are_upper_case_and_strings_are_none() -> None:
    (statement,) = statements("select 'drop', \"Drop\", $$drop$$ from T")
    assert statement.words == ("SELECT", ",", ",", "FROM", "T")


pieces = st.sampled_from(
    [
        "SELECT 1",
        "'a;b'",
        "E'\\';'",
        '"q;"',
        "$$;$$",
        "$x$;$$;$x$",
        "-- ;\n",
        "/* ; /* ; */ */",
        "(a; b)",
        "x",
        "\n",
        "é",
    ]
)


@given(st.lists(st.lists(pieces, min_size=1, max_size=4), max_size=5))
def test_pieces_stay_together_whatever_is_put_side_by_side(parts: list[list[str]]) -> None:
    sources = [" ".join(["SELECT", *part]) for part in parts]
    found = statements(";\n".join(sources))
    assert len(found) == len(sources)
    for statement, source in zip(found, sources, strict=True):
        assert statement.text == source[: len(statement.text)]


@given(st.text(max_size=60))
def test_tokens_cover_the_text_in_order_as_far_as_it_makes_sense(text: str) -> None:
    found: list[Token] = []
    refused_at = len(text)
    try:
        found.extend(tokens(text))
    except LexicalError as error:
        refused_at = error.offset
    end = 0
    for token in found:
        assert text[end : token.offset].strip() == ""
        assert token.end > token.offset
        end = token.end
    assert end <= refused_at <= len(text)
    assert refused_at < len(text) or text[end:].strip() == ""
