"""The official download is asked for quickly, refused clearly, and never leaves its installer behind."""

from __future__ import annotations

import email.message
import io
import socket
import threading
import time
import urllib.error
from pathlib import Path

import pytest

from provisioner.engine.download import URL, OfficialDownload, probe
from provisioner.engine.progress import Progress
from provisioner.engine.resolve import InstallFailed


def refusing(error: OSError) -> OfficialDownload:
    def refuse(url: str, timeout: float) -> None:
        assert (url, timeout) == (URL, 5.0)
        raise error

    return OfficialDownload(probe=refuse)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (urllib.error.HTTPError(URL, 403, "Forbidden", email.message.Message(), None), "answers 403"),
        (urllib.error.URLError("[Errno -2] Name or service not known"), "Name or service not known"),
        (TimeoutError("timed out"), "can't be reached (timed out)"),
    ],
)
def test_a_site_that_does_not_answer_is_not_waited_for(tmp_path: Path, error: OSError, says: str) -> None:
    with pytest.raises(InstallFailed) as failed:
        refusing(error).install(tmp_path, Progress(io.StringIO()))
    assert says in str(failed.value)
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, urllib.error.HTTPError):
        error.close()


def test_the_probe_gives_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            probe(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.2)
        assert time.monotonic() - began < 5


def test_an_installer_that_fails_is_reported_by_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's installer asks the site, which here is a proxy that answers nothing but 502."""
    answered = threading.Event()

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                answered.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(InstallFailed, match="the installer ended with code"):
            OfficialDownload(probe=lambda url, timeout: None).install(tmp_path, Progress(io.StringIO()))
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert answered.is_set()
    assert not (tmp_path / "pulumi").exists()
