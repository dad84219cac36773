"""The files in `data/` are the ones that were described and signed off."""

import hashlib
from pathlib import Path

DATA = Path(__file__).parents[3] / "data"
DOCUMENTS = {"SHA256SUMS", "SOURCES.md", "LICENSE-MIT.txt", "LICENSE-APACHE-2.0.txt"}


def test_every_file_has_its_checksum():
    sums = {}
    for line in (DATA / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        sums[name] = digest
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in DATA.iterdir()}
    assert {name: digest for name, digest in found.items() if name not in DOCUMENTS} == sums


def test_every_file_has_its_source():
    text = (DATA / "SOURCES.md").read_text()
    missing = [path.name for path in DATA.iterdir() if path.name not in DOCUMENTS and f"`{path.name}`" not in text]
    assert not missing


def test_compressed_files_carry_no_time():
    for path in DATA.glob("*.csv.gz"):
        assert path.read_bytes()[4:8] == bytes(4), path.name
