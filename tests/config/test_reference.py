"""The README's configuration reference is what the config types say."""

from __future__ import annotations

from pathlib import Path

from sidecar.config import parse
from sidecar.config.reference import reference

README = Path(__file__).parents[2] / "README.md"
BEGIN = "<!-- reference: made by sidecar.config.reference -->\n"
END = "<!-- end of reference -->"


def test_readme_has_the_reference_that_the_types_make() -> None:
    _, _, after = README.read_text().partition(BEGIN)
    written, _, _ = after.partition(END)
    assert written.strip() == reference().strip()


def test_configuration_to_paste_from_the_readme_is_valid(tmp_path: Path) -> None:
    text = README.read_text()
    toml = text.split("sidecar.toml <<'TOML'\n")[1].split("TOML\n")[0]
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t")
    secret.chmod(0o640)
    config = parse(toml.replace("/etc/dialback-sidecar/secret", str(secret)))
    assert config.link[0].jid == "dialback.example.org"
