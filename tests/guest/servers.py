"""What runs on the host's loopback for the guests: NTP servers, a liar among them, and Prometheus."""

import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

from vehicle import Failure, tree, wait_for

NTP_TO_UNIX = 2208988800


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def port_is_free(port):
    """Whether a UDP port of the loopback can be had."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Server:
    """A program on the host; use it in a `with` block."""

    def __init__(self, prefix):
        self.directory = Path(tempfile.mkdtemp(prefix=prefix))
        self.process = None

    def start(self, command):
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Chronyd(Server):
    """The real chronyd, serving this host's clock and never touching it (-x)."""

    def __init__(self, port=None):
        super().__init__("chronyd-")
        self.port = port or free_port()
        conf = self.directory / "chrony.conf"
        conf.write_text(
            f"port {self.port}\nbindaddress 127.0.0.1\ncmdport 0\n"
            f"local stratum 2\nallow\npidfile {self.directory}/pid\n"
        )
        root = tree("chrony")
        user = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
        self.start([root / "run", "usr/sbin/chronyd", "-4", "-x", "-d", "-U", "-u", user, "-f", conf])
        wait_for("chronyd's first answer", self._answers, 10)

    def _answers(self):
        if self.process.poll() is not None:
            raise Failure("chronyd does not run: " + (self.directory / "log").read_text())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.3)
            try:
                client.sendto(b"\x23" + bytes(47), ("127.0.0.1", self.port))
                reply = client.recv(100)
            except OSError:
                return False
            return len(reply) == 48 and 0 < reply[1] < 16


class Liar:
    """An NTP server that looks as good as any and serves a time that is so many seconds off."""

    def __init__(self, offset):
        self.offset = offset
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _now(self):
        ns = time.time_ns() + round(self.offset * 1e9)
        return ((ns // 10**9 + NTP_TO_UNIX) << 32 | (ns % 10**9 << 32) // 10**9) & (2**64 - 1)

    def _serve(self):
        while True:
            try:
                request, client = self.socket.recvfrom(1024)
            except OSError:
                return
            received = self._now()
            if len(request) < 48 or request[0] & 7 != 3:
                continue
            # Version 4, server, stratum 2, a microsecond's precision, 0.2 ms of root dispersion.
            header = struct.pack("!BBbbII4s", 0x24, 2, max(request[2], 3), -20, 0, 13, b"\x7f\x7f\x01\x02")
            times = struct.pack("!Q8sQ", received - (1 << 32), request[40:48], received)
            self.socket.sendto(header + times + struct.pack("!Q", self._now()), client)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Prometheus(Server):
    """The real Prometheus, scraping one port of the host's loopback every second."""

    def __init__(self, target):
        super().__init__("prometheus-")
        self.port = free_port(socket.SOCK_STREAM)
        conf = self.directory / "prometheus.yml"
        conf.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: paraclock, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]\n"
        )
        root = tree("prometheus")
        self.start(
            [
                root / "usr/bin/prometheus",
                f"--config.file={conf}",
                f"--storage.tsdb.path={self.directory}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ]
        )

    def query(self, expression):
        """The value of an expression that gives one series; None while it gives none."""
        if self.process.poll() is not None:
            raise Failure("Prometheus does not run: " + (self.directory / "log").read_text()[-2000:])
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                result = json.load(response)["data"]["result"]
        except OSError:
            return None
        return float(result[0]["value"][1]) if len(result) == 1 else None
