"""What paraclock has to do when the machine under it is disturbed: restored, stopped, stepped.

Every test records the clock, the kernel's state and what paraclock publishes every few milliseconds (recording.py), and
prints in milliseconds of the guest: when the disruption was published, when the clock was right again, and how long a
claim stood that the truth had left. PARACLOCK_GUEST_WAIT is how long a saved guest waits, in seconds.
"""

import os
import time

import recording
from recording import Recording
from scenarios import CONFIG, SOCKET, follow, judge_promises, scenario, settle
from servers import Chronyd
from vehicle import tree_program, wait_for

# Asked every 16 s, an answer, and a busy host.
POLL = 19
# Long enough to leave every bound far behind; TARGETS of the project are judged at 60.
WAIT = float(os.environ.get("PARACLOCK_GUEST_WAIT", "20"))
# What a busy host without KVM may add to a time: a new QEMU translates every instruction anew.
SLACK = float(os.environ.get("PARACLOCK_GUEST_SLACK", "0.9"))

PHC = "refclock PHC /dev/ptp0 poll 0\n"
VMCLOCK = "refclock VMCLOCK /dev/vmclock0 poll 0\n"


def ntp(test, name="host", port=None):
    """A server as clouds offer it: near, asked every 16 s."""
    return f"server {name} port {port or test.truth.port} iburst minpoll 4 maxpoll 4\n"


def milliseconds(seconds):
    return "never" if seconds is None else f"{seconds * 1e3:.0f} ms"


def judge(test, recovery, *, detected, right, claimed=None):
    """Judges how long things took; the limits are the project's targets in seconds, to which SLACK is added.

    `claimed` is how long a claim may stand that the truth has left: by default until the detection.
    """
    claimed = detected if claimed is None else claimed
    test.note(
        f"off by {recovery.behind:.3f} s; programs ran after {milliseconds(recovery.awake)}; then kernel told"
        f" {milliseconds(recovery.kernel_told)}, published {milliseconds(recovery.published)},"
        f" clock jumped {milliseconds(recovery.step)}"
    )

    def within(what, value, limit):
        fine = value is not None and value <= limit + SLACK
        test.judge(what, milliseconds(value), fine, f"{milliseconds(limit + SLACK)}, target {milliseconds(limit)}")

    if detected is not None:
        within("detected after", recovery.detected, detected)
    within("within 1 ms for good after", recovery.right, right)
    within("the kernel's claim was untrue until", recovery.kernel_claimed, claimed)
    within("paraclock's claim was untrue until", recovery.claimed, claimed)
    test.note(f"largest offset afterwards: {recovery.worst_after * 1e6:.0f} us")


def record(test, guest, seconds, event):
    """Records the guest while `event` happens and for so many seconds after it; returns what that gave, and the recording."""
    recording.start(guest, test.truth.port, seconds + 2, SOCKET)
    began = guest.uptime()
    # So that the recording begins undisturbed.
    guest.wait("2 s of recording", "cut -d' ' -f1 /proc/uptime", lambda out: float(out) > began + 1.5, 20)
    given = event()
    guest.wait_until_it_answers(30)
    recorded = Recording(guest, seconds + 60)
    (test.logs / f"{test.name}-{test.guests}.sample.log").write_text(recorded.text)
    return given, recorded


def restored(test, guest, config, *, kind="file", after=8, signal=None):
    """Settles, saves and restores the guest while it is recorded; returns what followed."""
    with test.paraclock(guest, config) as agent:
        settle(test, guest)
        before = agent.counters()["disruptions"]
        ran, recorded = record(test, guest, after, lambda: guest.restore(kind, WAIT))
        now = agent.counters()["disruptions"]
        # A stall tells of the host, which translates everything anew.
        counted = {key: n - before.get(key, 0) for key, n in now.items() if n > before.get(key, 0) and key != "stall"}
        fine = sum(counted.values()) == 1 and signal in (None, *counted)
        test.judge("disruptions counted", counted, fine, signal or "one")
        said = [line for line in agent.read_log().splitlines() if "time was disrupted" in line]
        test.judge("what the log says", said[-1:], len(said) == 1, "one disruption")
        return recorded.recovery(recorded.resumed(ran))


SIGNALS = ("vmclock", "vmgenid")
HOST_CLOCK = "virtio-rtc-pci"
# Where the host's signal wakes the daemon.
AT_ONCE = 0.1
# QEMU's vmclock wakes nobody, nor does the mainline kernel with the VM generation id: seen at the next look.
NEXT_LOOK = 1.1


def announcing(guest):
    """Lets the kernel send the uevent NEW_VMGENID=1, as the kernels of some clouds do."""
    guest.run("insmod /lib/modules/*/vmgenid_uevent.ko")


@scenario("restore-phc", kernel="new")
def restored_with_a_phc(test):
    """Restored from a file: vmclock and a uevent say so, a PTP clock has the host's time."""
    with test.guest(new=True, devices=(*SIGNALS, HOST_CLOCK)) as guest:
        announcing(guest)
        judge(test, restored(test, guest, PHC + VMCLOCK + ntp(test), signal="restore"), detected=AT_ONCE, right=1)


@scenario("restore-disk", kernel="new")
def restored_from_a_disk_with_a_phc(test):
    """Restored from QEMU's snapshot on a disk (savevm, loadvm): vmclock and a uevent say so, with a PTP clock."""
    with test.guest(new=True, disk=True, devices=(*SIGNALS, HOST_CLOCK)) as guest:
        announcing(guest)
        recovery = restored(test, guest, PHC + VMCLOCK + ntp(test), kind="disk", signal="restore")
        judge(test, recovery, detected=AT_ONCE, right=1)


@scenario("restore-ntp", kernel="new", alone=True)
def restored_with_ntp(test):
    """Restored from a file: vmclock and a uevent say so, the time comes from an NTP server alone."""
    with test.guest(new=True, devices=SIGNALS) as guest:
        announcing(guest)
        judge(test, restored(test, guest, VMCLOCK + ntp(test), signal="restore"), detected=AT_ONCE, right=3)


@scenario("restore-genid", kernel="new", alone=True)
def restored_with_generation_id(test):
    """Restored from a file: a uevent alone says so, the time comes from an NTP server."""
    with test.guest(new=True, devices=("vmgenid",)) as guest:
        announcing(guest)
        judge(test, restored(test, guest, ntp(test), signal="restore"), detected=AT_ONCE, right=3)


@scenario("restore-vmclock", kernel="new", alone=True)
def restored_with_vmclock_only(test):
    """Restored from a file: the page of vmclock alone says so, to who looks; the time comes from an NTP server."""
    with test.guest(new=True, devices=("vmclock",)) as guest:
        judge(test, restored(test, guest, VMCLOCK + ntp(test)), detected=NEXT_LOOK, right=NEXT_LOOK + 3)


@scenario("restore-phc-only", kernel="new")
def restored_with_a_phc_only(test):
    """Restored from a file, and nothing says so but the jump of the PTP clock, read once a second."""
    with test.guest(new=True, devices=(HOST_CLOCK,)) as guest:
        judge(test, restored(test, guest, PHC), detected=1.1, right=2.1)


def liar(test, devices, config, **limits):
    """The igb's PTP clock pauses with the guest, so that after the restore it lies; two servers know the time."""
    with Chronyd() as second, test.guest(new=True, igb=True, devices=devices) as guest:
        if devices:
            announcing(guest)
        guest.run("echo 10.0.2.2 second >>/etc/hosts")
        offset = guest.json(f"probe offset 10.0.2.2 {test.truth.port} 16")["offset"]
        guest.run(f"probe step {-offset:.9f}; probe setphc /dev/ptp0 0")
        config += PHC + ntp(test) + ntp(test, "second", second.port)
        judge(test, restored(test, guest, config, after=limits["right"] + 5), **limits)


@scenario("restore-liar", kernel="new")
def restored_with_a_phc_that_lies(test):
    """Restored from a file: a uevent says so, the PTP clock paused with the guest and lies, two NTP servers do not."""
    liar(test, SIGNALS, VMCLOCK, detected=AT_ONCE, right=3)


@scenario("restore-liar-unsaid", kernel="new")
def restored_with_a_phc_that_lies_unsaid(test):
    """The same without a signal: found at the next poll of the NTP servers, every 16 s."""
    liar(test, (), "", detected=POLL, right=POLL + 3)


@scenario("restore-unsaid", kernel="new")
def restored_with_ntp_unsaid(test):
    """Restored from a file, and nothing says so: found at the next poll of the NTP server, every 16 s."""
    with test.guest(new=True) as guest:
        judge(test, restored(test, guest, ntp(test), after=POLL + 5), detected=POLL, right=POLL + 3)


@scenario("stop-cont", kernel="new")
def stopped_and_continued(test):
    """Stopped by QEMU's monitor and continued, which no signal says: the PTP clock's jump does."""

    def stop_and_continue():
        guest.qmp.execute("stop")
        stopped = time.monotonic()
        wait_for(f"{WAIT} s", lambda: time.monotonic() > stopped + WAIT, WAIT + 5)
        guest.qmp.execute("cont")
        return guest.qmp.wait_event("RESUME", 10)

    with test.guest(new=True, devices=(*SIGNALS, HOST_CLOCK)) as guest:
        with test.paraclock(guest, PHC + VMCLOCK + ntp(test)):
            settle(test, guest)
            ran, recorded = record(test, guest, 8, stop_and_continue)
            judge(test, recorded.recovery(recorded.resumed(ran)), detected=1.1, right=2.1)


@scenario("date", kernel="new")
def clock_set_by_somebody(test):
    """Set an hour ahead, then an hour back, by `date -s`: undone at once."""
    with test.guest(new=True) as guest, test.paraclock(guest, ntp(test)) as agent:
        settle(test, guest)
        for times, seconds in enumerate((3600, -3600), 1):
            script = f"date -s @$(($(date +%s) + {seconds})) >/dev/null"
            _, recorded = record(test, guest, 4, lambda script=script: guest.run(script))
            test.note(f"set by {seconds} s:")
            counters = agent.counters()
            test.judge("foreign steps noticed", counters["foreign_steps"], counters["foreign_steps"] == times, times)
            test.judge("steps that undid them", counters["steps"], counters["steps"] >= times, f"{times} or more")
            jumped = recorded.jumped(3000)
            if jumped is None:
                test.note("  undone between two looks of the sampler, 4 ms")
            else:
                judge(test, recorded.recovery(jumped), detected=None, right=0.1, claimed=0.1)


@scenario("ptp-module", kernel="new")
def ptp_clock_goes_and_comes(test):
    """The PTP clock's module is unloaded and loaded again: named as missing, then used again."""
    module = "/lib/modules/*/virtio_rtc.ko"

    def phc(agent):
        return next(one for one in agent.sources() if one["mode"] == "refclock")

    with test.guest(new=True, devices=(HOST_CLOCK,)) as guest:
        with test.paraclock(guest, PHC + ntp(test)) as agent:
            settle(test, guest)
            wait_for("the PTP clock to be selected", lambda: phc(agent)["state"] == "selected", 20)
            stalls = agent.counters()["disruptions"].get("stall", 0)
            guest.run("rmmod virtio_rtc")
            unloaded = guest.uptime()
            found = []

            def noticed():
                found.append(phc(agent))
                return found[-1]["error"]

            wait_for("the missing PTP clock to be named", noticed, 20)
            test.at_most("seconds until it was named", guest.uptime() - unloaded, 3)
            test.note(f"{found[-1]['name']}, {found[-1]['state']}: {found[-1]['error']}")
            without = follow(test, guest, 12)
            test.at_most("largest offset without it", max(one.off_by() for one in without), 1e-3)
            judge_promises(test, without, "without it")
            guest.run(f"insmod {module}")
            loaded = guest.uptime()
            wait_for("the PTP clock to be selected again", lambda: phc(agent)["state"] == "selected", 60)
            test.at_most("seconds until it was selected again", guest.uptime() - loaded, 20)
            test.exactly("stalls counted", agent.counters()["disruptions"].get("stall", 0) - stalls, 0)
            again = follow(test, guest, 5)
            judge_promises(test, again, "with it again")


@scenario("conflict", kernel="new")
def another_daemon_beside_it(test):
    """chronyd in the same guest: refused at the start, yielded to later, or undone on request; always named."""
    files, command = tree_program("chrony", "usr/sbin/chronyd")
    conf = f"server 10.0.2.2 port {test.truth.port} iburst minpoll 2 maxpoll 2\ncmdport 0\nrtcsync\n"
    run = f"{command} -d -u root -f /etc/chrony.conf >>/run/chronyd.log 2>&1"
    start = f"({run} & echo $! >/run/chronyd) >/dev/null 2>&1"
    stop = "kill $(cat /run/chronyd); while [ -e /proc/$(cat /run/chronyd) ]; do sleep 0.1; done"

    def conflict(guest):
        return guest.json(f"probe control {SOCKET}")["report"]["conflict"]

    def named(guest):
        began = guest.uptime()
        found = wait_for("chronyd to be named", lambda: conflict(guest), 30)
        test.at_most("seconds until it was named", guest.uptime() - began, 15)
        test.exactly("program that was named", found["program"], "chronyd")
        test.exactly("pid that was named", found["pid"], int(guest.run("cat /run/chronyd")))
        return found

    with test.guest(new=True, files=files) as guest:
        guest.write("/etc/chrony.conf", conf)
        guest.run(start)
        guest.wait("chronyd's work", "probe adjtimex", lambda out: '"synchronised": true' in out, 30)
        guest.write(CONFIG, ntp(test))
        status, out, err = guest.ask(f"timeout 20 paraclock run -f {CONFIG}", 30)
        test.judge("exit status beside a daemon that runs", status, status not in (0, 124, 143), "a failure")
        said = [line for line in (out + err).splitlines() if "chronyd" in line]
        test.judge("what it says", said[:1], said, "a line that names chronyd")
        guest.run(stop)

        with test.paraclock(guest, ntp(test)) as agent:
            settle(test, guest)
            guest.run(start)
            test.exactly("yields to it", named(guest)["yielding"], True)
            judge_promises(test, follow(test, guest, 10), "while it yields")
            # While the other is held, whoever changes the rate is paraclock.
            guest.run("kill -STOP $(cat /run/chronyd)")
            rates = {guest.json("probe adjtimex")["rate_ppm"]}
            for _ in range(5):
                follow(test, guest, 1)
                rates.add(guest.json("probe adjtimex")["rate_ppm"])
            test.exactly("rates the kernel had in 5 s while it yields", len(rates), 1)
            guest.run("kill -CONT $(cat /run/chronyd)")
            guest.run(stop)
            wait_for("the conflict to be over", lambda: not conflict(guest), 30)
            settle(test, guest)
            agent.terminate()

        guest.run(start)
        with test.paraclock(guest, ntp(test) + "conflict takeover\n"):
            test.exactly("yields, told to take over", named(guest)["yielding"], False)
            settle(test, guest)
            judge_promises(test, follow(test, guest, 15), "while both steer")
