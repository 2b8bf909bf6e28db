"""What `probe sample` wrote in a guest while something happened to it, and what follows from it.

Everything is placed on the guest's CLOCK_MONOTONIC_RAW, which nobody steers and which stands still when the guest does.
The truth is the host's clock, asked over NTP every ten samples; an answer places it to within half its delay.
"""

import base64
import bisect
import gzip
from dataclasses import dataclass

from vehicle import Failure

SECOND = 10**9
LOG = "/run/sample"


@dataclass
class Recovery:
    """What happened after an event, in seconds from the event; None is never."""

    behind: float  # how wrong the clock was then
    awake: float  # the sampler, which sleeps 4 ms at a time, ran for the first time
    kernel_told: float | None  # the kernel was told "unsynchronised"
    published: float | None  # paraclock published a status that is not synchronised
    step: float | None  # the largest jump of the clock
    right: float | None  # from here on within a millisecond for good
    kernel_claimed: float  # until then the kernel's maxerror was left by the truth, at times
    claimed: float  # likewise the bound that paraclock published
    kernel_claim: float | None  # the smallest maxerror the kernel then claimed
    page_told: float | None  # the ClockBound page said neither synchronised nor free running
    page_claimed: float  # until then the bound of the ClockBound page was left by the truth, at times
    worst_after: float  # the largest offset after it was right

    @property
    def detected(self):
        seen = [one for one in (self.kernel_told, self.published) if one is not None]
        return min(seen) if seen else None


def start(guest, port, seconds, socket, period=4, host="10.0.2.2"):
    """Records in the guest for so many seconds of its time, the clock every `period` ms."""
    guest.run(f"(probe sample {host} {port} {seconds} {socket} {period} >{LOG}; touch {LOG}.done) >/dev/null 2>&1 &")


class Recording:
    def __init__(self, guest, timeout):
        guest.wait("the end of the recording", f"ls {LOG}.done", lambda out: out, timeout, interval=0.5)
        text = guest.run(f"gzip -c {LOG} | base64; rm {LOG} {LOG}.done", 120)
        self.text = gzip.decompress(base64.b64decode(text)).decode()
        # A sample of the clock: raw, clock, unsynchronised, maxerror in seconds.
        self.clock, self.truth, self.published, self.page = [], [], [], []
        for line in self.text.splitlines():
            kind, *words = line.split()
            if kind == "c":
                raw, real, unsync, maxerror = map(int, words)
                self.clock.append((raw, real, bool(unsync), maxerror / 1e6))
            elif kind == "t":
                raw, truth, delay = map(int, words)
                self.truth.append((raw, truth - raw, delay / 2))
            elif kind == "p":
                raw, status, error, growth = words
                self.published.append((int(raw), status, None if error == "-" else float(error)))
            elif kind == "b":
                self.page.append(tuple(map(int, words)))
        if len(self.truth) < 10 or len(self.clock) < 100:
            raise Failure(f"the recording is empty: {len(self.clock)} samples, {len(self.truth)} answers")

    def resumed(self, host_ns):
        """The raw instant when the guest ran again, told when that was by the host's clock."""
        for before, after in zip(self.truth, self.truth[1:]):
            if after[1] - before[1] > SECOND:
                return host_ns - after[1]
        raise Failure("the guest's time did not stand still")

    def jumped(self, seconds):
        """The raw instant before which the clock was set by more than so much; none if that was undone between two looks."""
        for before, after in zip(self.clock, self.clock[1:]):
            if abs((after[1] - after[0]) - (before[1] - before[0])) > seconds * SECOND:
                return after[0]
        return None

    def recovery(self, event, until=None):
        """What happened after the raw instant of the event."""
        truth = [one for one in self.truth if one[0] >= event]
        samples = [one for one in self.clock if one[0] >= event and (until is None or one[0] < until)]
        if not truth or not samples:
            raise Failure("nothing was recorded after the event")
        instants = [one[0] for one in truth]

        def best(raw):
            """The truth minus raw, from the surest answer within half a second."""
            low, high = bisect.bisect_left(instants, raw - SECOND // 2), bisect.bisect(instants, raw + SECOND // 2)
            near = truth[low:high] or [truth[min(low, len(truth) - 1)]]
            return min(near, key=lambda one: one[2])[1:]

        offsets = []
        for raw, real, _, _ in samples:
            base, unsure = best(raw)
            offsets.append(((real - raw - base) / SECOND, unsure / SECOND))

        def after(raw):
            return (raw - event) / SECOND

        wrong = [n for n, (offset, unsure) in enumerate(offsets) if abs(offset) - unsure > 1e-3]
        first_right = wrong[-1] + 1 if wrong else 0
        right = after(samples[first_right][0]) if first_right < len(samples) else None
        told = next((after(one[0]) for one in samples if one[2]), None)
        said = next((after(one[0]) for one in self.published if one[0] >= event and one[1] != "synchronised"), None)
        jumps = [(abs(b[0] - a[0]), n + 1) for n, (a, b) in enumerate(zip(offsets, offsets[1:]))]
        jump = max(jumps, default=(0, 0))
        false = [n for n, one in enumerate(samples) if not one[2] and abs(offsets[n][0]) - offsets[n][1] > one[3]]

        # What was published is older than its line by less than a few samples: it must hold for one of the near ones.
        places = [one[0] for one in samples]
        untrue = []
        for raw, _, error in self.published:
            if raw < event or error is None or (until is not None and raw >= until):
                continue
            low, high = bisect.bisect(places, raw - 15_000_000), bisect.bisect(places, raw)
            near = range(max(0, low - 1), max(1, min(high + 1, len(samples))))
            if all(abs(offsets[n][0]) - offsets[n][1] > error for n in near):
                untrue.append(after(raw))
        pages = []
        for raw, _, valid, bound, status in self.page:
            if raw < event or status not in (1, 2) or valid < 0:
                continue
            place = min(bisect.bisect(places, raw), len(samples) - 1)
            if abs(offsets[place][0]) - offsets[place][1] > bound / SECOND:
                pages.append(after(raw))
        return Recovery(
            behind=offsets[0][0],
            awake=after(samples[0][0]),
            kernel_told=told,
            published=said,
            step=after(samples[jump[1]][0]) if jump[0] > abs(offsets[0][0]) / 2 else None,
            right=right,
            kernel_claimed=after(samples[false[-1]][0]) if false else 0.0,
            claimed=untrue[-1] if untrue else 0.0,
            page_told=next((after(one[0]) for one in self.page if one[0] >= event and one[4] not in (1, 2)), None),
            page_claimed=pages[-1] if pages else 0.0,
            kernel_claim=min((samples[n][3] for n in false), default=None),
            worst_after=max((abs(offset) for offset, _ in offsets[first_right:]), default=0.0),
        )
