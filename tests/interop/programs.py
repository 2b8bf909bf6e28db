"""The programs that talk to each other: paraclock, chronyd, ntpsec's and busybox's, none of which may touch the clock of this machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/guest"))
from servers import Server, free_port  # noqa: E402
from vehicle import Failure, tree, wait_for  # noqa: E402

KEYS = """\
1 MD5 ASCII:an-old-fashioned-key
2 SHA1 HEX:933F62BE1D604E68A81B557F18CFA200483F5B70
3 SHA256 HEX:00112233445566778899aabbccddeeff
4 SHA384 HEX:ffeeddccbbaa99887766554433221100
5 SHA512 ASCII:a-long-key-for-a-long-code
6 AES128 HEX:7EA62AE64D190114D46D5A082F948EC1
7 AES256 HEX:37DDCBC67BB902BCB8E995977FAB4D2B5642F5B32EBCEEE421921D97E5CBFE39
"""
OTHER_KEYS = "1 MD5 ASCII:another-key-altogether\n6 AES128 HEX:00000000000000000000000000000000\n"


class Chronyd(Server):
    """chronyd with these lines, and chronyc on its Unix socket."""

    def __init__(self, lines, keys=KEYS):
        super().__init__("chronyd-")
        self.port = free_port()
        self.root = tree("chrony")
        key_file = self.directory / "keys"
        key_file.write_text(keys)
        key_file.chmod(0o600)
        self.socket = self.directory / "chronyd.sock"
        conf = self.directory / "chrony.conf"
        common = [f"port {self.port}", "cmdport 0", f"bindcmdaddress {self.socket}", f"pidfile {self.directory}/pid", f"keyfile {key_file}"]
        conf.write_text("\n".join(common + lines) + "\n")
        os.chmod(self.directory, 0o750)
        user = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
        self.start([self.root / "run", "usr/sbin/chronyd", "-x", "-d", "-U", "-u", user, "-f", conf])

    def ask(self, *words):
        command = [self.root / "run", "usr/bin/chronyc", "-n", "-h", self.socket, *words]
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout

    def data(self, address):
        """The lines of `chronyc ntpdata` as a dictionary."""
        pairs = (line.split(":", 1) for line in self.ask("ntpdata", address).splitlines() if ":" in line)
        return {name.strip(): value.strip() for name, value in pairs}


class Paraclock(Server):
    """paraclock with these directives, perhaps in another network."""

    def __init__(self, binary, lines, keys=KEYS, port=None, network=()):
        super().__init__("paraclock-")
        self.port, self.binary = port or free_port(), binary
        key_file = self.directory / "keys"
        key_file.write_text(keys)
        key_file.chmod(0o600)
        self.socket = self.directory / "sock"
        common = [f"port {self.port}", "metrics off", f"control {self.socket}", f"keyfile {key_file}"]
        self.start([*network, binary, "run", "-x", *common, *lines])
        wait_for("paraclock's control socket", self.socket.exists, 10)

    def ask(self, *words):
        done = subprocess.run([self.binary, *words, "--json", "--socket", self.socket], stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def source(self, name):
        return next((s for s in self.ask("sources") or [] if s["name"] == name), None)

    def served(self, counter):
        return sum(thread[counter] for thread in self.ask("serverstats")["threads"])

    def log(self):
        return (self.directory / "log").read_text()


class Networks(Server):
    """Two networks of their own with a cable between them, for programs that know no port but NTP's: use it in a `with` block.

    Both are in a user namespace, whose root may do what it likes with them, but not with the clock: for that the kernel wants root of the
    whole machine. A program in one of them has `here` or `there` before its command; their addresses are HERE and THERE.
    """

    HERE, THERE = "10.77.0.1", "10.77.0.2"
    # The cable needs both networks, so the first process makes it when the second, its child, has made its own.
    SCRIPT = f"""
        set -e
        ip link set lo up
        ip link add cable0 type veth peer name cable1
        ip addr add {HERE}/24 dev cable0
        coproc there {{ exec unshare --net sh -c 'echo made; exec cat'; }}
        read -r made <&"${{there[0]}}"
        ip link set cable1 netns "$there_PID"
        nsenter --net="/proc/$there_PID/ns/net" sh -ec '
            ip link set lo up; ip addr add {THERE}/24 dev cable1; ip link set cable1 up'
        ip link set cable0 up
        echo "$there_PID" >"$1"
        # Until the test closes its end; the child then reads the end of its own. (Not exec: that would close it now.)
        cat
    """

    def __init__(self):
        super().__init__("networks-")
        made = self.directory / "pid"
        with open(self.directory / "log", "wb") as log:
            command = ["unshare", "--user", "--map-root-user", "--net", "bash", "-c", self.SCRIPT, "bash", made]
            self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=log, stderr=log)
        wait_for("two networks", lambda: self.running() and made.exists() and made.read_text().endswith("\n"), 20)
        self.here, self.there = (self.entry(pid) for pid in (self.process.pid, made.read_text().strip()))

    def running(self):
        if self.process.poll() is not None:
            raise Failure("no networks: " + (self.directory / "log").read_text())
        return True

    @staticmethod
    def entry(pid):
        return ["nsenter", f"--target={pid}", "--user", "--net", "--preserve-credentials"]

    def kill(self):
        self.process.stdin.close()
        self.process.wait()


# All but the port is taken from them: even outside of the user namespace they could not set a clock.
HARMLESS = ["setpriv", "--bounding-set=-all,+net_bind_service", "--inh-caps=-all", "--no-new-privs"]


class Ntpsec(Server):
    """ntpsec's ntpd with these lines in a network of its own; its other programs by their names."""

    def __init__(self, network, lines):
        super().__init__("ntpsec-")
        self.network, self.root = network, tree("ntpsec")
        conf = self.directory / "ntp.conf"
        conf.write_text("\n".join(["disable ntp kernel", "restrict default", "restrict 127.0.0.1", *lines]) + "\n")
        self.start([*network, *HARMLESS, self.root / "run", "usr/sbin/ntpd", "-n", "-c", conf])

    def log(self):
        return (self.directory / "log").read_text()

    def peer(self, address):
        """What `ntpq -p` says of a peer: its tally and the columns by their names."""
        if self.process.poll() is not None:
            raise Failure("ntpd does not run: " + self.log())
        done = ask_ntpsec(self.network, self.directory, "ntpq", "-pn", "127.0.0.1")
        lines = done.stdout.splitlines()
        names = next((line.split() for line in lines if "remote" in line.split()), [])
        for line in lines:
            words = line[1:].split()
            if words and words[0] == address:
                return dict(zip(names, words), tally=line[0])
        return {}


class BusyboxNtpd(Server):
    """busybox's ntpd that only asks (-w)."""

    def __init__(self, network, address):
        super().__init__("busybox-")
        built = subprocess.run([ROOT / "vm-images/busybox-ntpd/build"], check=True, stdout=subprocess.PIPE, text=True)
        self.start([*network, *HARMLESS, built.stdout.strip(), "ntpd", "-w", "-n", "-d", "-p", address])

    def log(self):
        return (self.directory / "log").read_text()


def ask_ntpsec(network, directory, program, *words):
    """Runs one of ntpsec's Python programs with the Python of its tree."""
    root, modules = tree("ntpsec"), directory / "modules"
    if not modules.exists():
        # Its library is looked for beside its modules, or where a distribution has it.
        shutil.copytree(root / "usr/lib/python3/dist-packages/ntp", modules / "ntp")
        (modules / "ntp/libntpc.so").symlink_to(root / "usr/lib/x86_64-linux-gnu/ntp/libntpc.so")
    command = [*network, root / "run", "usr/bin/python3.11", root / "usr/bin" / program, *words]
    environment = {**os.environ, "PYTHONHOME": str(root / "usr"), "PYTHONPATH": str(modules)}
    return subprocess.run([str(c) for c in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)


def expect(holds, what):
    if not holds:
        raise Failure(what)


SERVING = ["local stratum 5", "allow 127/8"]
