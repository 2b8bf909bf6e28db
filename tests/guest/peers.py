"""Other programs' clients in a guest, each with a clock of its own to set, and paraclock on the host that tells them the time."""

import json
import os
import subprocess

from scenarios import MILLISECOND, Skipped, scenario
from servers import Server, port_is_free
from vehicle import IMAGES, tree_program, wait_for

# The host's loopback as a guest sees it. Two of these clients know no port but NTP's own.
HOST = "10.0.2.2"
NTPSEC = f"""\
server {HOST} iburst minpoll 3 maxpoll 3
driftfile /run/ntpsec/drift
"""
TIMESYNCD = f"""\
[Time]
NTP={HOST}
PollIntervalMinSec=16
"""


class Teller(Server):
    """paraclock that serves this host's time and never touches its clock (-x)."""

    def __init__(self, binary):
        super().__init__("paraclock-")
        if os.geteuid() != 0 or not port_is_free(123):
            raise Skipped("needs port 123 of the loopback")
        self.socket = self.directory / "sock"
        lines = ["local stratum 5", "allow 127/8", "bindaddress 127.0.0.1", "metrics off", f"control {self.socket}"]
        self.start([binary, "run", "-x", *lines])
        wait_for("somebody who serves", lambda: "serving time at" in (self.directory / "log").read_text(), 10)


def off_by(test, guest):
    measured = guest.json(f"probe offset {HOST} {test.truth.port} 16")
    return abs(measured["offset"]), measured["delay"] / 2


def is_set(test, guest, name, command, limit):
    """Three seconds off, the client sets the guest's clock and keeps it."""
    guest.run(f"probe step {3 - guest.json(f'probe offset {HOST} {test.truth.port} 16')['offset']:.6f}")
    before, _ = off_by(test, guest)
    test.judge(f"{name}: off at first", before, before > 1, "more than 1")
    begun = guest.uptime()
    guest.run(f"({command} >/run/{name}.log 2>&1 & echo $! >/run/{name}.pid)")
    try:
        wait_for(f"{name} to set the clock", lambda: off_by(test, guest)[0] < limit, 90, interval=0.5)
        test.note(f"{name}: right after {guest.uptime() - begun:.1f} s")
        start = guest.uptime()
        wait_for("8 s of the guest's time", lambda: guest.uptime() > start + 8, 30)
        after, uncertainty = off_by(test, guest)
        test.at_most(f"{name}: off 8 s later", max(0.0, after - uncertainty), limit)
    finally:
        (test.logs / f"{test.name}-{name}.log").write_text(guest.ask(f"cat /run/{name}.log")[1])
    guest.run(f"kill $(cat /run/{name}.pid)")
    guest.wait(f"{name}'s end", f"kill -0 $(cat /run/{name}.pid) 2>/dev/null || echo gone", lambda out: "gone" in out, 20)


@scenario("peers")
def others_synchronise_from_us(test):
    """busybox ntpd, systemd-timesyncd and ntpsec's ntpd set a guest's clock by what paraclock serves."""
    ntpd_files, ntpd = tree_program("ntpsec", "usr/sbin/ntpd")
    timesyncd_files, timesyncd = tree_program("timesyncd", "lib/systemd/systemd-timesyncd")
    busybox = subprocess.run([IMAGES / "busybox-ntpd/build"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    files = {**ntpd_files, **timesyncd_files, busybox: "bin/busybox-ntpd"}
    with Teller(test.binary) as teller, test.guest(files=files) as guest:
        guest.write("/etc/ntpsec.conf", NTPSEC)
        guest.write("/etc/systemd/timesyncd.conf", TIMESYNCD)
        # Both want to give up root for a user of their own, and timesyncd a directory for its clock file.
        guest.run("echo systemd-timesync:x:0:0::/:/bin/sh >>/etc/passwd; mkdir -p /run/ntpsec /var/lib/systemd/timesync /run/systemd/timesync")
        is_set(test, guest, "busybox", f"exec busybox-ntpd ntpd -n -d -p {HOST}", 50 * MILLISECOND)
        is_set(test, guest, "ntpsec", f"exec {ntpd} -n -g -c /etc/ntpsec.conf", 10 * MILLISECOND)
        is_set(test, guest, "timesyncd", f"SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console exec {timesyncd}", 50 * MILLISECOND)
        stats = subprocess.run([test.binary, "serverstats", "--json", "--socket", teller.socket], check=True, stdout=subprocess.PIPE, text=True)
        threads = json.loads(stats.stdout)["threads"]
        test.judge("replies", sum(t["replied"] for t in threads), sum(t["replied"] for t in threads) >= 4, "4 or more")
        test.exactly("requests refused", sum(sum(t["refused"].values()) for t in threads), 0)
