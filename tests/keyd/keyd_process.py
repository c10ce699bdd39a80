"""A real dialback-keyd in a directory of its own."""

import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from sidecar.keys.framing import FrameReader, decode_replies, encode_frame


class KeydProcess:
    """Started, killed and started again by a test."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.state = directory / "state"
        self.socket = directory / "keyd.sock"
        self.admin_socket = self.state / "admin.sock"
        self.log = directory / "keyd.log"
        self.process = None

    def start(self, *more, python=(), wait=True):
        command = [sys.executable, *python, "-m", "sidecar.keyd"]
        command += ["--state-directory", str(self.state), "--socket", str(self.socket)]
        command += ["--allow-root", *more]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
        if wait:
            self.wait_until_serving()

    def wait_until_serving(self):
        """On both sockets, which are opened one after the other."""
        for path in (self.socket, self.state / "admin.sock"):
            self._wait_until_listening(path)

    def _wait_until_listening(self, path):
        deadline = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                    return
                except OSError:
                    time.sleep(0.01)

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)

    def kill(self):
        self.process.kill()
        return self.process.wait(30)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()

    @contextmanager
    def connection(self, path=None):
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(30)
            connected.connect(str(path or self.socket))
            yield Wire(connected)

    def ask(self, request):
        """One request over a connection of its own."""
        with self.connection() as wire:
            ((_, reply),) = wire.ask([(1, request)])
            return reply

    def ask_admin(self, request):
        with self.connection(self.admin_socket) as wire:
            ((_, reply),) = wire.ask([(1, request)])
            return reply


class Wire:
    """One raw connection to keyd."""

    def __init__(self, connected: socket.socket):
        self.socket = connected
        self.reader = FrameReader()

    def send(self, batch):
        self.socket.sendall(encode_frame(batch))

    def receive(self, count):
        """The next `count` replies; what arrived when keyd ended the connection before."""
        replies = []
        while len(replies) < count:
            data = self.socket.recv(65536)
            if not data:
                break
            for payload in self.reader.feed(data):
                replies += decode_replies(payload)
        return replies

    def ask(self, batch):
        self.send(batch)
        return self.receive(len(batch))

    def is_closed_by_peer(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
