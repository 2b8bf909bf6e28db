"""A guest that takes commands: boots with vm-images/boot, runs shell scripts in it, talks to QEMU."""

import base64
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "vm-images"
OUT = Path(os.environ.get("PARACLOCK_VM_OUT", IMAGES / "out"))


def tree(name):
    """The directory of what vm-images/tree fetches under this name."""
    return Path(subprocess.run([IMAGES / "tree", name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def tree_program(name, path):
    """The files that bring a program of a fetched tree into a guest with its own libraries, and what starts it.

    The loader takes the program's name, so that the guest's process has it too.
    """
    root, short = tree(name), Path(path).name
    loader = root / "lib64/ld-linux-x86-64.so.2"
    places = ":".join(f"{root}/{place}" for place in ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib/systemd", "usr/lib/systemd"])
    command = [loader, "--library-path", places, "--list", root / path]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    files = {root / path: f"opt/{short}/program", loader: f"opt/{short}/{short}"}
    for library, found in re.findall(r"^\s*([^/\s]\S*) => (/\S+)", listed.stdout, re.MULTILINE):
        files[Path(found)] = f"opt/{short}/lib/{library}"
    return files, f"/opt/{short}/{short} --library-path /opt/{short}/lib /opt/{short}/program"


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

    def execute(self, command, timeout=20, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            message = self._receive(timeout)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise Failure(f"{command}: {message['error']['desc']}")

    def monitor(self, line, timeout=60):
        """A command of the human monitor; says something only if it fails."""
        answer = self.execute("human-monitor-command", timeout, **{"command-line": line})
        if answer.strip():
            raise Failure(f"{line}: {answer.strip()}")

    def wait_event(self, name, timeout):
        """Returns when it happened, in nanoseconds of the host's clock."""
        deadline = time.monotonic() + timeout
        while name not in [event for event, _ in self.events]:
            self._receive(max(0.01, deadline - time.monotonic()))
        found = next(one for one in self.events if one[0] == name)
        self.events.remove(found)
        return found[1]

    def migrated(self, timeout=60):
        """Waits for the end of a migration, out or in."""

        def status():
            now = self.execute("query-migrate").get("status")
            if now == "failed":
                raise Failure(f"migration: {self.execute('query-migrate').get('error-desc', 'failed')}")
            return now == "completed"

        wait_for("the migration", status, timeout, interval=0.02)

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
            when = message["timestamp"]
            self.events.append((message["event"], when["seconds"] * 10**9 + when["microseconds"] * 1000))
        return message


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    # QEMU listens a moment after the socket appears.
    wait_for(f"{path.name} of QEMU", lambda: client.connect_ex(str(path)) == 0, 10)
    return client


class Guest:
    """A running guest; use it in a `with` block."""

    def __init__(
        self,
        name,
        log,
        *,
        igb=False,
        new=False,
        devices=(),
        disk=False,
        options=(),
        files=None,
        programs=None,
        forwards=None,
        ppm=0,
    ):
        self.log = log
        self.tokens = 0
        self.process = None
        # Not in the repository: a Unix socket's path holds 107 bytes at most.
        self.directory = Path(tempfile.mkdtemp(prefix=f"guest-{name}-"))
        self.devices = devices
        self.command = [IMAGES / "boot"]
        if new:
            self.command.append("--new")
        if igb:
            self.command.append("--igb")
        self.command += options
        if disk:
            image = self.directory / "disk"
            create = [tree("qemu-new") / "run", "usr/bin/qemu-img", "create", "-q", "-f", "qcow2", image, "1G"]
            subprocess.run(create, check=True)
            self.command += ["--disk", image]
        for source, destination in (files or {}).items():
            self.command += ["--file", f"{source}:{destination}"]
        for source, destination in (programs or {}).items():
            self.command += ["--program", f"{source}:{destination}"]
        for host, guest in (forwards or {}).items():
            self.command += ["--forward", f"{host}:{guest}"]
        self.command += ["--append", oscillator(ppm)]
        try:
            self._launch()
            self.wait_until_it_answers(120)
            self.wait(
                "the TSC",
                "cat /sys/devices/system/clocksource/clocksource0/current_clocksource",
                lambda out: out == "tsc\n",
                30,
            )
        except BaseException:
            self.close()
            raise

    def _launch(self, *options):
        """Starts QEMU and connects to it."""
        commands, qmp = self.directory / "commands", self.directory / "qmp"
        for socket_path in (commands, qmp):
            socket_path.unlink(missing_ok=True)
        command = [*self.command, "--commands", commands, "--qmp", qmp, *options]
        for device in self.devices:
            # Each process another generation, as a hypervisor that restores a snapshot gives.
            command += ["--device", f"vmgenid,guid={uuid.uuid4()}" if device == "vmgenid" else device]
        with open(self.log, "ab" if self.process else "wb") as console:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        wait_for("QEMU's sockets", lambda: self._running() and qmp.exists() and commands.exists(), 30)
        self.qmp = Qmp(qmp)
        self.channel = connect(commands)
        self.received = b""

    def restore(self, kind, seconds):
        """Saves the guest, ends its QEMU, and lets a new one go on with it when so many seconds have passed.

        The kind is `file`, migration to a file, or `disk`, QEMU's snapshot on a disk. Returns when the guest ran
        again, in nanoseconds of the host's clock.
        """
        saved = self.directory / "saved"
        self.qmp.execute("stop")
        left = time.monotonic()
        if kind == "file":
            self.qmp.execute("migrate", uri=f"file:{saved}")
            self.qmp.migrated()
        else:
            self.qmp.monitor("savevm one")
        self._quit()
        self._launch("--incoming" if kind == "file" else "--paused")
        wait_for(f"{seconds} s", lambda: time.monotonic() >= left + seconds, seconds + 1, interval=0.05)
        if kind == "file":
            self.qmp.execute("migrate-incoming", uri=f"file:{saved}")
            self.qmp.migrated()
        else:
            self.qmp.monitor("loadvm one")
        self.qmp.execute("cont")
        return self.qmp.wait_event("RESUME", 10)

    def _quit(self):
        self.qmp.execute("quit")
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired as error:
            raise Failure("QEMU does not quit") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process and self.process.poll() is None:
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
        """While the guest boots or resumes, what is sent to it is lost, or waits and fills the socket."""
        patience = [0.3]

        def answers():
            patience.append(min(2, 1.2 * patience[-1]))
            return self._ask("true", patience[-1])

        wait_for("the guest's answer", answers, timeout, interval=0)

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


def build_probe():
    """Compiles probe.c."""
    probe = OUT / "probe"
    flags = ["-O2", "-Wall", "-Wextra", "-static"]
    subprocess.run([os.environ.get("CC", "gcc"), *flags, "-o", probe, ROOT / "tests/guest/probe.c"], check=True)
    return probe


@functools.cache
def tsc_khz():
    return int(subprocess.run([OUT / "probe", "tsc"], check=True, stdout=subprocess.PIPE, text=True).stdout)


def oscillator(ppm):
    """Kernel parameters that make the guest's raw clock run so much fast.

    The guest is told the rate of its counter, for on a busy host it would measure nonsense, and, without HPET and ACPI
    timer, has nothing to check that against.
    """
    return f"tsc_early_khz={round(tsc_khz() / (1 + ppm * 1e-6))} hpet=disable pmtmr=0"
