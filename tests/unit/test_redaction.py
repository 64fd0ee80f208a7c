"""What a message may show: addresses without secrets, names without values."""

from __future__ import annotations

import time

import pytest

from include.redaction import looks_like_a_name, names_among, redacted, shown_address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ftp://ann:hunter2@host/x.csv", "ftp://***@host/x.csv"),
        ("ftp://ann:hun/ter2@host/x.csv", "ftp://***@host/x.csv"),
        ("ftp://ann:hun@ter2@host/x.csv", "ftp://***@host/x.csv"),
        ("ftp://ann:h?u#n@host/x.csv", "ftp://***@host/x.csv"),
        ("ftp://hunter2@host", "ftp://***@host"),
        ("see 'https://host/x?sig=hunter2&a=1' (404)", "see 'https://host/x?***' (404)"),
        ("https://host/x#hunter2", "https://host/x?***"),
        ("https:/ann:hunter2@host/x", "https:/***@host/x"),
        ("//ann:hunter2@host/x", "//***@host/x"),
        ("https://host/dl;jsessionid=hunter2", "https://host/dl;jsessionid=***"),
        ("zip://a::https://ann:hunter2@host/x", "zip://***@host/x"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://host:8080/x", "http://host:8080/x"),
        ("ann:hunter2@host/db", "***@host/db"),
        ("host=h password=hunter2 user=u", "host=h password=*** user=u"),
        ("host=h password='hunt er2' user=u", "host=h password=*** user=u"),
        ('{"api_key": "hunter2", "n": 1}', '{"api_key": ***, "n": 1}'),
        ("AIRFLOW__CORE__FERNET_KEY=hunter2", "AIRFLOW__CORE__FERNET_KEY=***"),
        ("X-Amz-Signature=hunter2", "X-Amz-Signature=***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjF9.hunter2", "***"),
        ("Bearer hunter2hunter2", "Bearer ***"),
        ("no such\nfile\x1b[31m", "no such file [31m"),
    ],
)
def test_a_secret_is_hidden_wherever_it_stands(text: str, shown: str) -> None:
    """In URLs, connection strings, JSON, variables, headers and tokens."""
    assert redacted(text) == shown


def test_an_address_is_one_whatever_stands_in_it() -> None:
    """Blanks and quotes in a password do not end the address."""
    assert shown_address("ftp://ann:hun 'ter\"2@host/x y.csv") == "ftp://***@host/x_y.csv"
    assert shown_address("demo/store-356/*.jsonl") == "demo/store-356/*.jsonl"


def test_a_long_text_is_cut_before_its_secrets_could_be() -> None:
    """What is cut off might have said that the rest is a password; and no text takes long."""
    text = "x" * 1_990 + " ftp://ann:hunter2" + "y" * 50 + "@host"
    assert "hunter2" not in redacted(text)
    assert redacted("secret" * 500) == "(a text of 3,000 characters)"
    began = time.process_time()
    for hostile in ("a:" * 500_000, "token" * 200_000, "://" * 300_000, '"' * 900_000):
        redacted(hostile)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "name", ["id", "customer id", "Größe", "address_line_1", "sha256_hash", "orders.at", "日付"]
)
def test_names_look_like_names(name: str) -> None:
    """Words, in any script."""
    assert looks_like_a_name(name)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "1", "12.5", "2024-01-09", "2024-01-09T12:00:00", "ann@x.org", "a" * 41),
        *("+43 660 1234567", "DE89370400440532013000", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
        *("eyJhbGciOiJIUzI1NiJ9", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "d41d8cd98f00b204e980"),
        *("https://host", "{", '{"a": 1}', "a\nb", "PASSWORD=x", "a1b2c3d4"),
    ],
)
def test_values_do_not(value: str) -> None:
    """Numbers, days, addresses, keys, digests and tokens."""
    assert not looks_like_a_name(value)


def test_twenty_names_are_enough() -> None:
    """In their order."""
    assert names_among([1, "a", *(f"c{n}" for n in range(50))]) == [
        "a",
        *(f"c{n}" for n in range(19)),
    ]
