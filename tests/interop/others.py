"""Paraclock and the programs of ntpsec and busybox, in networks of their own: those know no port but 123."""

import json
import re

from programs import BusyboxNtpd, Networks, Ntpsec, Paraclock, ask_ntpsec, expect
from vehicle import wait_for

MILLISECOND = 1e-3
SERVING = ["local stratum 5", "allow 10.77/16", f"bindaddress {Networks.HERE}"]


def ntpd_follows(binary):
    """ntpsec's ntpd selects paraclock and goes on asking."""
    ask = f"server {Networks.HERE} iburst minpoll 3 maxpoll 3"
    with Networks() as net, Paraclock(binary, SERVING, port=123, network=net.here) as server, Ntpsec(net.there, [ask]) as client:
        wait_for("ntpd to select", lambda: client.peer(Networks.HERE).get("tally") == "*", 30)
        # The first burst is one bit; the next two are eight seconds apart.
        wait_for("ntpd to reach it three times", lambda: int(client.peer(Networks.HERE).get("reach", "0"), 8) & 7 == 7, 30)
        peer = client.peer(Networks.HERE)
        expect(peer["tally"] == "*" and peer["st"] == "5", f"odd peer: {peer}")
        # In milliseconds.
        expect(abs(float(peer["offset"])) < 1, f"off by {peer['offset']} ms")
        expect([c["address"] for c in server.ask("clients")] == [Networks.THERE], "odd clients")
        expect("ntp_adjtime: Operation not permitted" in client.log(), "ntpd may set a clock here")
        return f"tally {peer['tally']}, stratum {peer['st']}, reach {peer['reach']}, offset {peer['offset']} ms, delay {peer['delay']} ms"


def paraclock_follows_ntpd(binary):
    """paraclock selects an ntpd of ntpsec."""
    lines = [f"server {Networks.THERE} iburst minpoll 0 maxpoll 0"]
    with Networks() as net, Ntpsec(net.there, ["tos orphan 4 orphanwait 1"]), Paraclock(binary, lines, network=net.here) as client:
        wait_for("a selection", lambda: client.ask("tracking")["status"] == "synchronised", 40)
        source = client.source(Networks.THERE)
        expect(source["stratum"] == 4 and client.ask("tracking")["stratum"] == 5, f"odd source: {source}")
        expect(abs(source["offset"]) < MILLISECOND, f"off by {source['offset']}")
        return f"stratum {source['stratum']}, offset {source['offset'] * 1e6:.0f} us, delay {source['delay'] * 1e6:.0f} us"


def ntpdig_asks(binary):
    """ntpsec's ntpdig, which ntpdate and sntp are there, asks once and sets nothing."""
    with Networks() as net, Paraclock(binary, SERVING, port=123, network=net.here):
        done = ask_ntpsec(net.there, net.directory, "ntpdig", "-j", Networks.HERE)
        expect(done.returncode == 0, f"ntpdig fails: {done.stdout}")
        answer = json.loads(done.stdout)
        # One exchange by a Python program: its own delays count.
        expect(answer["stratum"] == 5 and abs(answer["offset"]) < 5 * MILLISECOND, f"odd answer: {answer}")
        return f"stratum {answer['stratum']}, offset {answer['offset'] * 1e6:.0f} us"


def busybox_asks(binary):
    """busybox's ntpd takes answer after answer."""
    with Networks() as net, Paraclock(binary, SERVING, port=123, network=net.here), BusyboxNtpd(net.there, Networks.HERE) as client:
        wait_for("three answers in a row", lambda: "reach:0x07" in client.log(), 50)
        # status is the first byte: no leap second, version 4, a server.
        found = re.findall(r"offset:(\S+) delay:(\S+) status:(\S+) strat:(\d+)", client.log())
        expect(found and all(status == "0x24" and stratum == "5" for _, _, status, stratum in found), f"odd answers: {found}")
        best = min(found, key=lambda answer: float(answer[1]))
        expect(abs(float(best[0])) < MILLISECOND, f"off by {best[0]}")
        return f"{len(found)} answers, stratum 5, best offset {float(best[0]) * 1e6:.0f} us"


TESTS = [ntpd_follows, paraclock_follows_ntpd, ntpdig_asks, busybox_asks]
