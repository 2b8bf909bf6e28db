"""A guest that takes commands: boots with vm-images/boot, runs shell scripts in it, talks to QEMU."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "vm-images"
OUT = Path(os.environ.get("PARACLOCK_VM_OUT", IMAGES / "out"))


class Failure(Exception):
    """What a test needs did not happen."""


def wait_for(what, predicate, timeout, interval=0.1):
    """Polls until the predicate gives something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {timeout} s")
        time.sleep(interval)


def documents(text):
    """The JSON documents that follow each other in a text."""
    decoder, found = json.JSONDecoder(), []
    text = text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


class Qmp:
    """QEMU's monitor."""

    def __init__(self, path):
        self.socket = connect(path)
        self.file = self.socket.makefile("rw")
        self.events = []
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            message = self._receive(20)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise Failure(f"{command}: {message['error']['desc']}")

    def wait_event(self, name, timeout):
        deadline = time.monotonic() + timeout
        while name not in self.events:
            self._receive(max(0.01, deadline - time.monotonic()))
        self.events.remove(name)

    def _receive(self, timeout):
        self.socket.settimeout(timeout)
        try:
            line = self.file.readline()
        except TimeoutError as error:
            raise Failure(f"QEMU's monitor said nothing for {timeout:.0f} s") from error
        if not line:
            raise Failure("QEMU is gone")
        message = json.loads(line)
        if "event" in message:
            self.events.append(message["event"])
        return message


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    # QEMU listens a moment after the socket appears.
    wait_for(f"{path.name} of QEMU", lambda: client.connect_ex(str(path)) == 0, 10)
    return client


class Guest:
    """A running guest; use it in a `with` block."""

    def __init__(self, name, log, *, igb=False, files=None, programs=None, forwards=None, append=""):
        self.log = log
        self.tokens = 0
        # Not in the repository: a Unix socket's path holds 107 bytes at most.
        self.directory = Path(tempfile.mkdtemp(prefix=f"guest-{name}-"))
        commands, qmp = self.directory / "commands", self.directory / "qmp"
        command = [IMAGES / "boot", "--commands", commands, "--qmp", qmp]
        if igb:
            command.append("--igb")
        for source, destination in (files or {}).items():
            command += ["--file", f"{source}:{destination}"]
        for source, destination in (programs or {}).items():
            command += ["--program", f"{source}:{destination}"]
        for host, guest in (forwards or {}).items():
            command += ["--forward", f"{host}:{guest}"]
        if append:
            command += ["--append", append]
        with open(log, "wb") as console:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        try:
            wait_for("QEMU's sockets", lambda: self._running() and qmp.exists() and commands.exists(), 30)
            self.qmp = Qmp(qmp)
            self.channel = connect(commands)
            self.received = b""
            self.wait_until_it_answers(60)
            # The kernel refines the TSC's rate in the first seconds.
            self.wait(
                "the TSC",
                "cat /sys/devices/system/clocksource/clocksource0/current_clocksource",
                lambda out: out == "tsc\n",
                30,
            )
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _running(self):
        if self.process.poll() is not None:
            raise Failure("the guest does not boot: " + Path(self.log).read_text(errors="replace")[-2000:])
        return True

    def wait_until_it_answers(self, timeout):
        """While the guest boots or resumes, what is sent to it is lost."""
        wait_for("the guest's answer", lambda: self._ask("true", 0.3), timeout, interval=0)

    def ask(self, script, timeout=30):
        """Runs a shell script; returns its exit status, stdout and stderr."""
        answer = self._ask(script, timeout)
        if answer is None:
            raise Failure(f"the guest did not answer within {timeout} s: {script}")
        return answer

    def run(self, script, timeout=30):
        """Runs a shell script that must succeed; returns its stdout."""
        status, out, err = self.ask(script, timeout)
        if status:
            raise Failure(f"exit status {status}: {script}\n{out}{err}".rstrip())
        return out

    def json(self, script, timeout=30):
        """Runs a shell script that prints one JSON document."""
        return json.loads(self.run(script, timeout))

    def wait(self, what, script, predicate, timeout, interval=0.3):
        """Runs a script until its stdout satisfies the predicate."""
        return wait_for(what, lambda: predicate(self.ask(script)[1]), timeout, interval)

    def write(self, path, text):
        self.run(f"mkdir -p $(dirname {path}); echo {base64.b64encode(text.encode()).decode()} | base64 -d >{path}")

    def uptime(self):
        """Seconds of the guest's own time since it booted, suspensions included."""
        return float(self.run("cat /proc/uptime").split()[0])

    def _ask(self, script, timeout):
        self.tokens += 1
        token = f"t{self.tokens}"
        self.channel.settimeout(5)
        self.channel.sendall(f"{token} {base64.b64encode(script.encode()).decode()}\n".encode())
        deadline = time.monotonic() + timeout
        while True:
            line, newline, rest = self.received.partition(b"\n")
            if newline:
                self.received = rest
                answer = re.fullmatch(rf"{token} (\d+) (\S+) (\S+)", line.decode(errors="replace").strip())
                if answer:
                    return int(answer[1]), decoded(answer[2]), decoded(answer[3])
                continue
            self.channel.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self.channel.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise Failure(f"the guest is gone; see {self.log}")
            self.received += data


def decoded(word):
    return "" if word == "-" else base64.b64decode(word).decode(errors="replace")


_tsc_lock = threading.Lock()
_tsc_khz = []


def oscillator(ppm, log):
    """Kernel parameters that make the guest's raw clock run so much fast.

    The kernel believes the TSC to have the rate it is told and, without HPET and ACPI timer, has
    nothing to check that against. What the rate really is, a first guest measures.
    """
    with _tsc_lock:
        if not _tsc_khz:
            with Guest("tsc", log) as guest:
                refined = (
                    r"dmesg | sed -n 's/.*Refined TSC clocksource calibration: \([0-9]*\)\.\([0-9]*\) MHz.*/\1\2/p'"
                )
                _tsc_khz.append(int(guest.run(refined)))
    return f"tsc_early_khz={round(_tsc_khz[0] / (1 + ppm * 1e-6))} hpet=disable pmtmr=0"
