"""What paraclock has to do in a guest, one function a test.

The truth is a chronyd on the host, measured by probe.c, or a PTP clock read by it: paraclock has no part in the
measurement. A measured offset is uncertain by half the delay of the exchange it was measured with.
"""

import itertools
import os
import re
import subprocess
import time
from contextlib import contextmanager

import vehicle
from servers import Chronyd, Liar, Prometheus, free_port
from vehicle import Failure, Guest, documents, wait_for

MILLISECOND = 1e-3
MICROSECOND = 1e-6
METRICS_PORT = 10123
CONFIG = "/etc/paraclock/paraclock.conf"
SOCKET = "/run/paraclock/paraclock.sock"

SCENARIOS = {}


def scenario(name, kernel="cloud", alone=False):
    """Registers a test; the kernel is that of vm-images/build it needs.

    One that judges the clock by a millisecond over the network runs alone: a second emulated machine holds packets up for longer.
    """

    def register(function):
        SCENARIOS[name] = function
        function.kernel, function.alone = kernel, alone
        return function

    return register


class Skipped(Exception):
    """A test that cannot run here, and why."""


def figure(value):
    return f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


class Test:
    """One run of a scenario: gives it guests, and keeps the figures it judged."""

    def __init__(self, name, truth, probe, logs, binary):
        self.name, self.truth, self.probe, self.logs, self.binary = name, truth, probe, logs, binary
        self.figures, self.failed = [], False
        self.guests = 0

    def judge(self, what, value, fine, limit=""):
        """Records a figure and whether it is as it should be."""
        limit = f" (limit {figure(limit)})" if limit != "" else ""
        self.note(f"{what}: {figure(value)}{limit}", "ok" if fine else "FAILED")
        self.failed |= not fine

    def at_most(self, what, value, limit):
        self.judge(what, value, value <= limit, limit)

    def exactly(self, what, value, wanted):
        self.judge(what, value, value == wanted, wanted)

    def note(self, text, verdict=""):
        self.figures.append(f"  {text}" + (f"  {verdict}" if verdict else ""))

    def guest(self, *, files=None, **options):
        self.guests += 1
        log = self.logs / f"{self.name}-{self.guests}.log"
        files = {self.probe: "/bin/probe", **(files or {})}
        return Guest(self.name, log, files=files, **options)

    @contextmanager
    def paraclock(self, guest, config):
        """Runs paraclock in the guest; what it logged ends up beside the console's log."""
        agent = Paraclock(guest)
        try:
            agent.start(config)
            yield agent
        finally:
            try:
                (self.logs / f"{self.name}-{self.guests}.paraclock.log").write_text(agent.read_log())
                # For `paraclock simulate --replay`.
                (self.logs / f"{self.name}-{self.guests}.trace.log").write_text(guest.ask("cat /run/log/trace.log")[1])
            except (Failure, OSError):
                pass  # the guest is gone; its console log says why

    def observe(self, guest):
        return Observation(guest, self.truth.port)


class Paraclock:
    """The agent in a guest."""

    def __init__(self, guest):
        self.guest = guest

    def start(self, config):
        self.guest.run("mkdir -p /run/log")
        common = "logdir /run/log\nlog trace\n"
        common += f"driftfile /var/lib/paraclock/drift\nmetrics 0.0.0.0:{METRICS_PORT}\ncontrol {SOCKET}\n"
        self.guest.write(CONFIG, config + common)
        self.guest.run(
            f"rm -f {SOCKET} /run/exit; (paraclock run -f {CONFIG} >>/run/paraclock.log 2>&1 &"
            " echo $! >/run/pid; wait $!; echo $? >/run/exit) >/dev/null 2>&1 &"
        )
        wait_for("paraclock's control socket", self.up, 20)

    def up(self):
        exited = self.guest.ask("cat /run/exit")[1]
        if exited:
            raise Failure(f"paraclock exited with status {exited.strip()}:\n{self.read_log()}")
        return self.guest.ask("paraclock tracking --json")[0] == 0

    def terminate(self):
        """SIGTERM; returns the exit status."""
        self.guest.run("kill -TERM $(cat /run/pid)")
        return int(self.guest.wait("the exit after SIGTERM", "cat /run/exit", lambda out: out, 10))

    def tracking(self):
        return self.guest.json("paraclock tracking --json")

    def sources(self):
        return self.guest.json("paraclock sources --json")

    def counters(self):
        return self.guest.json(f"probe control {SOCKET}")["report"]["counters"]

    def read_log(self):
        return self.guest.ask("cat /run/paraclock.log")[1]


class Observation:
    """The guest's clock at one moment: as the truth has it, as the kernel has it, as paraclock has it."""

    SCRIPT = "cut -d' ' -f1 /proc/uptime; probe offset 10.0.2.2 {port} 16; probe adjtimex;"
    SCRIPT += ' tracking=$(paraclock tracking --json 2>/dev/null) && echo "$tracking" || echo null'

    def __init__(self, guest, truth_port):
        found = documents(guest.run(self.SCRIPT.format(port=truth_port)))
        self.uptime, measured, self.kernel, self.tracking = found
        self.offset, self.uncertainty = measured["offset"], measured["delay"] / 2

    def off_by(self):
        return abs(self.offset)

    def surely_off_by(self):
        """The least error that the measurement leaves possible."""
        return max(0.0, self.off_by() - self.uncertainty)

    def synchronised(self):
        return bool(self.tracking) and self.tracking["status"] == "synchronised"

    def bound(self):
        """How wrong paraclock says that the clock can be; None if it does not know."""
        return self.tracking["clock"]["error"] if self.tracking else None


def settle(test, guest, limit=MILLISECOND, timeout=60):
    """Waits for a synchronised clock that is right."""
    seen = []

    def settled():
        seen.append(test.observe(guest))
        return seen[-1].synchronised() and seen[-1].off_by() < limit and seen[-1]

    try:
        return wait_for(f"a synchronised clock within {limit} s of the truth", settled, timeout)
    except Failure as failure:
        last = seen[-1]
        raise Failure(f"{failure}; at last: offset {last.offset} s, tracking {last.tracking}") from failure


def follow(test, guest, seconds, until=None):
    """Observes the guest for so many seconds of its time, or until a condition holds."""
    seen = [test.observe(guest)]
    while seen[-1].uptime - seen[0].uptime < seconds and not (until and until(seen[-1])):
        wait_for("the next observation", lambda: guest.uptime() > seen[-1].uptime + 0.8, 20)
        seen.append(test.observe(guest))
    return seen


def judge_promises(test, seen, what):
    """Every bound that was published must have held; `what` says when."""
    promised = [one for one in seen if one.bound() is not None]
    broken = [one for one in promised if one.surely_off_by() > one.bound()]
    worst = max((one.off_by() / one.bound() for one in promised if one.bound() > 0), default=0.0)
    test.judge(f"bounds that did not hold {what}", len(broken), promised and not broken, f"0 of {len(promised)}")
    test.note(f"largest error {what}: {worst:.3f} of its bound")
    for one in broken[:3]:
        test.note(f"at {one.uptime} s: off by {one.offset:.9f} +- {one.uncertainty:.9f}, bound {one.bound():.9f}")


def judge_maxerror(test, seen, what):
    low = [one for one in seen if one.surely_off_by() > one.kernel["maxerror"]]
    test.judge(f"kernel maxerror below the true error {what}", len(low), seen and not low, f"0 of {len(seen)}")
    for one in low[:3]:
        test.note(
            f"at {one.uptime} s: off by {one.offset:.9f} +- {one.uncertainty:.9f},"
            f" maxerror {one.kernel['maxerror']:.6f}"
        )


def server(port, name="host", maxpoll=4):
    return f"server {name} port {port} iburst minpoll 2 maxpoll {maxpoll}\n"


@scenario("vehicle", alone=True)
def vehicle_is_sound(test):
    """The guest and the probe themselves: what is done to the clock is what is measured. No paraclock."""
    with Liar(0.2) as liar, test.guest(ppm=80) as guest:

        def offset(port=test.truth.port):
            return guest.json(f"probe offset 10.0.2.2 {port} 16")

        before = offset()
        guest.run("probe step 3")
        after = offset()
        test.at_most("exchange delay", after["delay"], 5 * MILLISECOND)
        test.at_most("error of a measured step of 3 s", abs(after["offset"] - before["offset"] - 3), 2 * MILLISECOND)
        test.at_most(
            "error of a lie of 200 ms", abs(after["offset"] - offset(liar.port)["offset"] - 0.2), 2 * MILLISECOND
        )
        start = guest.uptime()
        wait_for("10 s of the guest's time", lambda: guest.uptime() > start + 10, 30)
        later, elapsed = offset(), guest.uptime() - start
        rate = (later["offset"] - after["offset"]) / elapsed * 1e6
        test.judge("the raw clock, made 80 ppm fast, runs fast by (ppm)", rate, 60 < rate < 100, "60 to 100")
        guest.run("probe frequency -80")
        test.exactly("frequency set to -80 ppm reads", guest.json("probe adjtimex")["rate_ppm"], -80)


@scenario("ntp", alone=True)
def wrong_clock_is_set_by_ntp(test):
    """A clock 3 s ahead whose oscillator is 80 ppm fast: right within a minute, and in Prometheus."""
    port = free_port()
    with Chronyd() as upstream, test.guest(ppm=80, forwards={port: METRICS_PORT}) as guest:
        guest.run("probe step 3; probe frequency 30")  # the latter: a stale setting
        start = guest.uptime()
        with test.paraclock(guest, server(upstream.port) + "makestep 1 3\n") as agent, Prometheus(port) as prometheus:
            seen = follow(test, guest, 90)
            right = [one for one in seen if one.off_by() < MILLISECOND]
            first = next((one for one in right if one.synchronised()), None)
            if not first:
                raise Failure(f"never right; last offset {seen[-1].offset} s, tracking {seen[-1].tracking}")
            test.at_most("seconds until the clock was within 1 ms", first.uptime - start, 60)
            late = [one for one in seen if one.uptime - start >= min(60, first.uptime - start + 20)]
            test.at_most(
                f"largest offset in the last {late[-1].uptime - late[0].uptime:.0f} s",
                max(one.off_by() for one in late),
                MILLISECOND,
            )
            again = [one for one in seen if one.uptime > first.uptime and one.surely_off_by() > MILLISECOND]
            test.judge("times it left that millisecond", len(again), not again, 0)
            last = seen[-1]
            test.judge("kernel status", hex(last.kernel["status"]), last.kernel["synchronised"], "STA_UNSYNC clear")
            judge_maxerror(test, [one for one in seen if one.kernel["synchronised"]], "while synchronised")
            judge_promises(test, seen, "in 90 s")
            frequency = last.tracking["frequency_ppm"]
            test.judge("frequency of the oscillator (ppm)", frequency, 60 < frequency < 100, "80 +- 20")
            test.note(f"bound at the end: {last.bound():.6f} s, offset {last.offset:.6f} s")
            value = wait_for(
                "paraclock_synchronized in Prometheus", lambda: prometheus.query("paraclock_synchronized"), 20
            )
            test.exactly("paraclock_synchronized in Prometheus", value, 1)
            test.exactly("up in Prometheus", prometheus.query("up"), 1)
            test.exactly("exit status after SIGTERM", agent.terminate(), 0)


def follow_phc(test, guest, seconds):
    """Reads the PTP clock beside paraclock for so long, and judges when the clock was within 10 us of it for good."""
    readings = "set -e; cut -d' ' -f1 /proc/uptime; probe ptp /dev/ptp0; paraclock tracking --json"
    start, seen = guest.uptime(), []
    while not seen or seen[-1]["uptime"] < start + seconds:
        uptime, reading, tracking = documents(guest.run(readings))
        seen.append({**reading, "uptime": uptime, "tracking": tracking, "bound": tracking["clock"]["error"]})
    outside = [number for number, one in enumerate(seen) if abs(one["offset"]) >= 10 * MICROSECOND]
    first = outside[-1] + 1 if outside else 0
    if first == len(seen):
        raise Failure(f"never within 10 us for good; at last: {seen[-1]}")
    after = seen[first:]
    test.at_most("seconds until the clock was within 10 us for good", after[0]["uptime"] - start, seconds / 3)
    largest = max(abs(one["offset"]) for one in after)
    test.at_most(f"largest offset from then on ({len(after)} readings)", largest, 10 * MICROSECOND)
    test.note(f"offset at the end: {seen[-1]['offset']:.9f} s, bound {seen[-1]['bound']:.9f} s")
    promised = [one for one in seen if one["bound"] is not None]
    broken = [one for one in promised if abs(one["offset"]) - one["window"] / 2 > one["bound"]]
    test.judge("bounds that did not hold", len(broken), promised and not broken, f"0 of {len(promised)}")
    for one in broken[:3] + broken[-3:]:
        test.note(f"at {one['uptime']} s: off by {one['offset']:.9f} s, bound {one['bound']:.9f} s")
    kernel = guest.json("probe adjtimex")
    test.judge("kernel status", hex(kernel["status"]), kernel["synchronised"], "STA_UNSYNC clear")
    return seen


@scenario("phc-precise")
def precise_ptp_clock_is_followed(test):
    """A PTP clock with precise cross timestamps, 2.5 s ahead and 40 ppm faster than the raw clock."""
    module = subprocess.run(
        [vehicle.IMAGES / "ptp-test-driver/build"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    with test.guest(files={module: "/ptp_test.ko"}) as guest:
        guest.run("insmod /ptp_test.ko offset_ns=2500000000 ppb=40000")
        with test.paraclock(guest, "refclock PHC /dev/ptp0 poll 0\nmakestep 1 3\n") as agent:
            after = follow_phc(test, guest, 40)
            test.exactly("method of the reading", after[-1]["method"], "precise")
            frequency = agent.tracking()["frequency_ppm"]
            test.at_most("error of the frequency (ppm)", abs(frequency + 40), 0.5)


@scenario("phc-igb", kernel="full")
def network_card_ptp_clock_is_followed(test):
    """The PTP clock of an igb network card, read between two readings of the system clock, 7.25 s ahead."""
    with test.guest(igb=True) as guest:
        guest.run("probe setphc /dev/ptp0 7.25")
        with test.paraclock(guest, "refclock PHC /dev/ptp0 poll 0\nmakestep 1 3\n"):
            after = follow_phc(test, guest, 40)
            test.exactly("method of the reading", after[-1]["method"], "extended")


@scenario("hwtimestamp", kernel="full")
def requests_are_stamped_by_the_network_card(test):
    """An igb of this kind (82576) stamps requests but no NTP answers: those the kernel stamps. A filter that it lacks is refused."""
    with Chronyd() as upstream, test.guest(igb=True) as guest:
        refused = server(upstream.port, maxpoll=2) + "hwtimestamp * rxfilter all\nmakestep 1 3\n"
        with test.paraclock(guest, refused) as agent:
            settle(test, guest)
            test.exactly("times that the refusal was said", agent.read_log().count("choose another `rxfilter`"), 1)
            wait_for("the kernel's stamps after the refusal", lambda: stamps_of(guest) == [("kernel", "kernel")], 60)
            agent.terminate()
            agent.start(server(upstream.port, maxpoll=2) + "hwtimestamp *\nmakestep 1 3\n")
            settle(test, guest)
            judge_promises(test, follow(test, guest, 30), "in 30 s")
            hardware = guest.json(f"probe control {SOCKET}")["report"]["hardware"]
            test.note(f"hardware: {hardware}")
            cards = hardware["cards"]
            test.exactly("cards that stamp", [card["clock"] for card in cards], ["/dev/ptp0"])
            error = cards[0]["error"]
            test.judge("error of the card's line", error, error is not None and error < 20 * MICROSECOND)
            test.judge("requests stamped by the card", hardware["sent"], hardware["sent"] >= 5, "5 or more")
            test.exactly("stamps that could not be", hardware["impossible"], 0)
            # The kernel begins to stamp what arrives a moment after the first socket asked for it.
            wait_for("stamps of the request and the answer by ('hardware', 'kernel')", lambda: stamps_of(guest) == [("hardware", "kernel")], 60)
            test.exactly("times that the card was announced", agent.read_log().count("the network card of "), 1)


@scenario("hwtimestamp-none")
def a_card_without_stamps_is_said_once(test):
    """A virtio card stamps nothing: that is said once, and the kernel's stamps go on."""
    with Chronyd() as upstream, test.guest() as guest:
        config = server(upstream.port, maxpoll=2) + "hwtimestamp eth0\nhwtimestamp *\nmakestep 1 3\n"
        with test.paraclock(guest, config) as agent:
            settle(test, guest)
            log = agent.read_log()
            test.exactly("times that eth0 was said to have none", log.count("it has no card that stamps packets"), 1)
            test.exactly("times that none was said to be found", log.count("no network card here stamps packets"), 1)
            # The kernel begins to stamp what arrives a moment after the first socket asked for it.
            wait_for("stamps of the request and the answer by ('kernel', 'kernel')", lambda: stamps_of(guest) == [("kernel", "kernel")], 60)


def stamps_of(guest):
    """Whose stamps each source was measured with."""
    return [(source["transmit_stamp"], source["receive_stamp"]) for source in guest.json("paraclock sources --json")]


@scenario("liar", alone=True)
def liar_is_named(test):
    """One of three servers is 200 ms off: it is the falseticker, and the clock is right."""
    with Chronyd() as first, Chronyd() as second, Liar(0.2) as liar, test.guest() as guest:
        guest.run("echo 10.0.2.2 first second liar >>/etc/hosts")
        config = server(first.port, "first") + server(liar.port, "liar") + server(second.port, "second")
        with test.paraclock(guest, config + "makestep 1 3\n") as agent:
            seen = []

            def named():
                seen.append({source["name"]: source for source in agent.sources()})
                return "falseticker" in {source["state"] for source in seen[-1].values()}

            start = guest.uptime()
            try:
                wait_for("a falseticker", named, 60)
            except Failure as failure:
                raise Failure(
                    f"{failure}; states: {[(name, source['state']) for name, source in seen[-1].items()]}"
                ) from failure
            test.at_most("seconds until the falseticker was named", guest.uptime() - start, 60)
            settle(test, guest)
            sources = {source["name"]: source for source in agent.sources()}
            states = {name: source["state"] for name, source in sources.items()}
            test.judge(
                "states", states, sorted(states) == ["first", "liar", "second"] and states["liar"] == "falseticker"
            )
            good = [states.get("first"), states.get("second")]
            test.judge("states of the good servers", good, "falseticker" not in good and "selected" in good)
            test.judge("why", repr(sources["liar"]["reason"]), bool(sources["liar"]["reason"]))
            seen = follow(test, guest, 20)
            test.at_most("largest offset in 20 s", max(one.off_by() for one in seen), MILLISECOND)
            judge_promises(test, seen, "in 20 s")


@scenario("holdover")
def bound_grows_without_a_server(test):
    """The server dies: hold-over, and a bound that grows and stays true."""
    with Chronyd() as upstream, test.guest(ppm=-60) as guest:
        with test.paraclock(guest, server(upstream.port, maxpoll=2) + "makestep 1 3\n"):
            settle(test, guest)
            before = follow(test, guest, 20)
            judge_promises(test, before, "with the server")
            upstream.kill()
            dead = guest.uptime()
            waiting = follow(test, guest, 90, until=lambda one: one.tracking["status"] == "holdover")
            status = waiting[-1].tracking["status"]
            test.exactly("status without the server", status, "holdover")
            test.at_most("seconds until hold-over", waiting[-1].uptime - dead, 90)
            held = follow(test, guest, 30)
            bounds = [one.bound() for one in held]
            test.note(
                f"bound: {before[-1].bound():.6f} s with the server,"
                f" then {bounds[0]:.6f} s to {bounds[-1]:.6f} s in 30 s of hold-over"
            )
            shrunk = sum(later <= earlier for earlier, later in itertools.pairwise(bounds))
            test.judge("times the bound did not grow", shrunk, not shrunk, f"0 of {len(bounds) - 1}")
            judge_promises(test, waiting + held, "without the server")
            judge_maxerror(test, [one for one in held if one.kernel["synchronised"]], "in hold-over")


@scenario("vsock")
def time_over_vsock(test):
    """A guest without a network card is told the time by its sibling, here itself, over vsock."""
    with test.guest() as guest:
        ask = f"paraclock run -x 'metrics off' 'control {SOCKET}' 'server vsock:local iburst minpoll 0 maxpoll 0'"
        serve = "paraclock run -x 'metrics off' 'control /run/serve.sock' 'local stratum 5'"

        refused, _, said = guest.ask(f"{serve} 'allow vsock'")
        test.judge("without the module", said.strip()[-150:], refused != 0 and "line:4:1: error:" in said and "modprobe" in said)
        guest.run(f"(exec {ask} >/run/early.log 2>&1 & echo $! >/run/early)")
        guest.wait("a word of the missing module", "cat /run/early.log", lambda log: "this kernel has no vsock: modprobe" in log, 20)
        early = guest.run("kill $(cat /run/early); cat /run/early.log")
        test.exactly("times that it said so", early.count("this kernel has no vsock"), 1)

        guest.run("for m in $(cat /etc/modules-vsock); do insmod /lib/modules/$(uname -r)/$m || exit 1; done")
        guest.run(f"({serve} 'allow vsock' 'deny vsock 77' >/run/serve.log 2>&1 & echo $! >/run/serve)")
        guest.wait("somebody who serves", "cat /run/serve.log", lambda log: "serving time at vsock port 123" in log, 20)
        guest.run(f"({ask} >/run/ask.log 2>&1 & echo $! >/run/ask)")
        guest.wait("time over vsock", "paraclock tracking --json", lambda out: '"synchronised"' in out, 30)
        test.exactly("stratum", guest.json("paraclock tracking --json")["stratum"], 6)
        source = guest.json("paraclock sources --json")[0]
        test.exactly("the server's name", source["name"], "vsock:1")
        # Both tell the same clock: what is off is the exchange's own.
        test.at_most("offset", abs(source["offset"]), source["delay"] / 2 + MILLISECOND)
        test.note(f"round trip {source['delay'] * 1e6:.0f} us")
        clients = guest.json("paraclock clients --json --socket /run/serve.sock")
        test.exactly("clients", [one["address"] for one in clients], ["vsock:1"])
        guest.run("kill $(cat /run/ask); echo 'server vsock:local' >/run/one.conf; echo 'server vsock:local port 9' >/run/none.conf")
        # Of a daemon it would ask the daemon instead.
        looks = "paraclock doctor --json --socket /run/none.sock -f"
        answer = documents(guest.ask(f"{looks} /run/one.conf")[1])[0]["probes"][0]
        test.judge("what doctor is told", answer, answer["address"] == "vsock:1" and answer["answer"].get("time", {}).get("stratum") == 5)
        answer = documents(guest.ask(f"{looks} /run/none.conf")[1])[0]["probes"][0]["answer"]
        test.judge("where nobody serves", answer, "unreachable" in answer)
        guest.run("kill $(cat /run/serve)")

        guest.wait("the ends", "kill -0 $(cat /run/ask) 2>/dev/null || kill -0 $(cat /run/serve) 2>/dev/null || echo gone", lambda out: "gone" in out, 10)
        guest.run(f"({serve} 'allow vsock' 'deny vsock local' >/run/serve.log 2>&1 & echo $! >/run/serve)")
        guest.wait("somebody who serves", "cat /run/serve.log", lambda log: "serving time at vsock port 123" in log, 20)
        guest.run(f"({ask} >/run/ask.log 2>&1 & echo $! >/run/ask)")
        guest.wait("refusals", "paraclock serverstats --json --socket /run/serve.sock", lambda out: denied(out) >= 3, 30)
        source = guest.json("paraclock sources --json")[0]
        test.exactly("answers to who is denied", source["received"], 0)
        log = guest.run("cat /run/ask.log")
        test.exactly("times that it said why", log.count("it may not allow us to ask"), 1)
        guest.run("kill $(cat /run/ask) $(cat /run/serve)")


def denied(stats):
    """Requests that the access rules refused, in the JSON of serverstats."""
    found = documents(stats)
    return sum(thread["refused"]["denied"] for thread in found[0]["threads"]) if found else 0


@scenario("kill")
def promise_survives_sigkill(test):
    """Killed in the middle of a slew: the clock stays in the promised bound, and a restart knows the frequency."""
    with Chronyd() as upstream, test.guest(ppm=50) as guest:
        config = server(upstream.port, maxpoll=2) + "makestep 1 3\n"
        with test.paraclock(guest, config) as agent:
            settle(test, guest)
            follow(test, guest, 25)
            learned = agent.tracking()["frequency_ppm"]
            # The kernel's own calibration of the counter adds some ppm; the rest must be within what is claimed.
            limit = 15 + 3 * agent.tracking()["skew_ppm"]
            test.judge("learned frequency (ppm)", learned, abs(learned - 50) < limit, f"50 +- {limit:.1f}")
            test.exactly("exit status after SIGTERM", agent.terminate(), 0)
            test.note("drift file: " + guest.run("cat /var/lib/paraclock/drift").strip())

            # 0.3 s is less than makestep's limit, so it is slewed.
            guest.run("probe step 0.3")
            agent.start(config)
            # What it promised last, and then at once the end.
            slewing = "set -e; paraclock tracking --json >/run/last; probe adjtimex >/run/rate;"
            slewing += " kill -KILL $(cat /run/pid); cat /run/last /run/rate"
            wait_for("a slew", lambda: abs(guest.json("probe adjtimex")["rate_ppm"] + learned) > 100, 40)
            tracking, kernel = documents(guest.run(slewing))
            killed = guest.uptime()
            bound = tracking["clock"]
            if bound["error"] is None:
                raise Failure(f"no bound in the middle of the slew: {tracking}")
            test.note(
                f"killed while slewing at {kernel['rate_ppm']:.1f} ppm;"
                f" bound {bound['error']:.6f} s growing {bound['growth_ppm']:.1f} ppm"
            )
            broken, last = 0, None
            while not last or guest.uptime() < killed + 10:
                last = Observation(guest, test.truth.port)
                promised = bound["error"] + bound["growth_ppm"] * 1e-6 * (last.uptime - killed + 0.2)
                broken += last.surely_off_by() > promised
            test.judge("times the dead program's promise was broken in 10 s", broken, not broken, 0)
            test.note(f"10 s later: off by {last.offset:.6f} s, promised {promised:.6f} s")

            # A server that does not exist: what is known now comes from the drift file.
            agent.start(server(free_port()))
            tracking = agent.tracking()
            test.at_most(
                "frequency after the restart, against the learned (ppm)", abs(tracking["frequency_ppm"] - learned), 2
            )
            rate = guest.wait(
                "the plain frequency in the kernel",
                "probe adjtimex",
                lambda out: abs(documents(out)[0]["rate_ppm"] + learned) < 5 and out,
                10,
            )
            test.note(f"kernel rate after the restart: {documents(rate)[0]['rate_ppm']:.3f} ppm")
            agent.terminate()

            agent.start(config)
            settled = settle(test, guest)
            test.note(f"right again after a restart with the server: off by {settled.offset:.6f} s")


@scenario("suspend", alone=True)
def suspended_guest_is_right_again(test):
    """Suspended to memory for 20 s and woken."""
    with Chronyd() as upstream, test.guest() as guest:
        with test.paraclock(guest, server(upstream.port) + "makestep 1 3\n") as agent:
            settle(test, guest)
            follow(test, guest, 15)
            before = agent.counters()
            guest.run("(sleep 1; echo mem >/sys/power/state) >/dev/null 2>&1 &")
            guest.qmp.wait_event("SUSPEND", 20)
            asleep = time.monotonic()
            wait_for("20 s of sleep", lambda: time.monotonic() > asleep + 20, 30)
            guest.qmp.execute("system_wakeup")
            guest.qmp.wait_event("WAKEUP", 10)
            woken = time.monotonic()
            guest.wait_until_it_answers(20)
            seen, right, since = [], None, None
            while time.monotonic() < woken + 30 and not (right and seen[-1].uptime > right.uptime + 10):
                seen.append(test.observe(guest))
                if not right and seen[-1].off_by() < MILLISECOND and seen[-1].synchronised():
                    right, since = seen[-1], time.monotonic() - woken
            first = seen[0]
            test.note(
                f"first seen after waking: off by {first.offset:.6f} s,"
                f" {first.tracking and first.tracking['status']}, bound {first.bound()}"
            )
            if not right:
                raise Failure(f"not right within 30 s; last offset {seen[-1].offset} s, tracking {seen[-1].tracking}")
            test.at_most("seconds from waking until the clock was right", since, 5)
            later = seen[seen.index(right) :]
            test.at_most("largest offset in the next 10 s", max(one.off_by() for one in later), MILLISECOND)
            judge_promises(test, seen, "after waking")
            counted = {
                kind: count
                for kind, count in agent.counters()["disruptions"].items()
                if count > before["disruptions"].get(kind, 0)
            }
            test.judge("disruptions counted", counted, any("suspend" in kind for kind in counted), "suspend")


@scenario("contract")
def kernel_clock_keeps_its_contract(test):
    """The clock's contract test, in Rust, on a kernel clock that may be steered."""
    path = os.environ.get("PARACLOCK_CONTRACT_TEST")
    if not path:
        raise Skipped("PARACLOCK_CONTRACT_TEST names no test executable")
    if not os.access(path, os.X_OK):
        raise Failure(f"{path} is no executable")
    with test.guest(programs={path: "/contract"}) as guest:
        status, out, err = guest.ask("/contract --ignored kernel --test-threads=1", 300)
        for line in (out + err).splitlines():
            test.note(line)
        test.exactly("exit status", status, 0)
        ran = sum(int(count) for count in re.findall(r"test result: ok\. (\d+) passed", out))
        test.judge("tests passed", ran, ran > 0, "at least 1")
