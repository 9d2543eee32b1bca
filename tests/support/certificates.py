"""Certificates made by openssl: an authority, and what it signs."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """An authority with its files in a folder: `ca.crt` is for those who trust it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.certificate = self.folder / "ca.crt"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
                      "-subj", f"/CN={name}", "-days", "2", "-addext", "keyUsage=keyCertSign")

    def sign(self, name: str, address: str = "", days: int = 1) -> tuple[Path, Path]:
        """A certificate for an IP address, or for a client, and its key."""
        extensions = f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\n" if address else "extendedKeyUsage=clientAuth\n"
        (self.folder / f"{name}.ext").write_text(extensions)
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                      "-subj", f"/CN={name}")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.cert",
                      "-days", str(days), "-extfile", f"{name}.ext")
        return self.folder / f"{name}.cert", self.folder / f"{name}.key"

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)
