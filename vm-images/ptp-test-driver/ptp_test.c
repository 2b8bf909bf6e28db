// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * A PTP clock for tests that gives precise cross timestamps, as ptp_kvm does under KVM.
 *
 * Its time is a known truth: base + raw * (1 + ppb * 1e-9), where raw is CLOCK_MONOTONIC_RAW.
 * Nothing that steers CLOCK_REALTIME moves it. clock_settime changes the base.
 */
#include <linux/err.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/ptp_clock_kernel.h>
#include <linux/timekeeping.h>

static long offset_ns;
module_param(offset_ns, long, 0444);
MODULE_PARM_DESC(offset_ns, "how far the clock is ahead of CLOCK_REALTIME when loaded");
static long ppb;
module_param(ppb, long, 0444);
MODULE_PARM_DESC(ppb, "how much the clock runs faster than CLOCK_MONOTONIC_RAW");

static struct ptp_clock *clock;
static s64 base;

static ktime_t truth(ktime_t raw)
{
	return base + raw + div_s64(raw * ppb, 1000000000); /* good for a day at 100 ppm */
}

static int crosststamp(struct ptp_clock_info *info, struct system_device_crosststamp *stamp)
{
	struct system_time_snapshot now;

	ktime_get_snapshot(&now);
	stamp->device = truth(now.raw);
	stamp->sys_realtime = now.real;
	stamp->sys_monoraw = now.raw;
	return 0;
}

static int gettime(struct ptp_clock_info *info, struct timespec64 *ts)
{
	*ts = ktime_to_timespec64(truth(ktime_get_raw()));
	return 0;
}

static int settime(struct ptp_clock_info *info, const struct timespec64 *ts)
{
	base += timespec64_to_ns(ts) - truth(ktime_get_raw());
	return 0;
}

static int adjtime(struct ptp_clock_info *info, s64 delta)
{
	base += delta;
	return 0;
}

static int adjfine(struct ptp_clock_info *info, long scaled_ppm)
{
	return -EOPNOTSUPP;
}

static int enable(struct ptp_clock_info *info, struct ptp_clock_request *request, int on)
{
	return -EOPNOTSUPP;
}

static struct ptp_clock_info info = {
	.owner = THIS_MODULE,
	.name = "KVM virtual PTP", /* what a guest sees under KVM */
	.gettime64 = gettime,
	.settime64 = settime,
	.adjtime = adjtime,
	.adjfine = adjfine,
	.enable = enable,
	.getcrosststamp = crosststamp,
};

static int __init load(void)
{
	base = ktime_get_real_ns() + offset_ns - truth(ktime_get_raw());
	clock = ptp_clock_register(&info, NULL);
	return PTR_ERR_OR_ZERO(clock);
}
module_init(load);

static void __exit unload(void)
{
	ptp_clock_unregister(clock);
}
module_exit(unload);

MODULE_DESCRIPTION("PTP clock with a known truth, for tests");
MODULE_LICENSE("GPL"); /* what the kernel's symbols ask for */
