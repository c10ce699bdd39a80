"""A pin is the digest of the public key in a certificate."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sidecar.errors import InvalidValue
from sidecar.lab.certificates import renewed, self_signed
from sidecar.pkix.pins import pin_of, read_pin

DOCUMENT = Path(__file__).parents[2] / "docs" / "peers.md"
CERTIFICATE = self_signed("peer.example")
PIN = "5e" * 32


def test_renewed_certificate_with_the_same_key_has_the_same_pin() -> None:
    second = renewed(CERTIFICATE, "peer.example", "chat.peer.example")
    assert CERTIFICATE.der != second.der
    assert pin_of(CERTIFICATE.der) == pin_of(second.der)
    assert pin_of(CERTIFICATE.der) != pin_of(self_signed("peer.example").der)


def test_pin_is_what_the_line_of_its_document_prints() -> None:
    """With a certificate of ours in place of what a server shows."""
    (line,) = re.findall(r"```\nopenssl s_client[^|]*\|(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    done = subprocess.run(
        ["sh", "-c", f"cat | {line}"], input=CERTIFICATE.pem, capture_output=True, check=True
    )
    assert done.stdout.decode().split()[0] == pin_of(CERTIFICATE.der)


@pytest.mark.parametrize("der", [b"", b"no certificate", b"\x30\x00", CERTIFICATE.der[:-1]])
def test_what_is_no_certificate_has_no_pin(der: bytes) -> None:
    assert pin_of(der) is None


def test_pin_is_read_in_either_case() -> None:
    assert read_pin(PIN.upper()) == read_pin(PIN) == PIN


@pytest.mark.parametrize("text", ["", PIN[1:], PIN + "0", "x" + PIN[1:], " " + PIN, PIN + "\n"])
def test_what_is_no_pin_is_refused_with_the_field_named(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"^pins: expected 64 hex digits, got"):
        read_pin(text)
