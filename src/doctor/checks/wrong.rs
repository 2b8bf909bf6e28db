//! Is the clock plainly wrong?

use crate::core::{Claim, intersect};
use crate::doctor::evidence::Evidence;
use crate::doctor::finding::Finding;
use crate::doctor::probe::{Answer, Probe};
use crate::units::Civil;

/// A clock that is further off than this does harm: certificates, logs, leases.
const HARMFUL: f64 = 1.0;
/// A clock that is further off than this, and by more than the servers' own error, deserves a word.
const NOTABLE: f64 = 0.1;

/// Before the day on which this program was built it cannot be.
pub(super) fn date(evidence: &Evidence) -> Vec<Finding> {
    if evidence.now >= evidence.built {
        return Vec::new();
    }
    let day = |seconds: i64| {
        let date = Civil::of(u64::try_from(seconds).unwrap_or(0));
        format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)
    };
    let (now, built) = (day(evidence.now.parts().0), day(evidence.built.parts().0));
    let what = format!("the clock says {now}, but this program was built on {built}");
    let start = evidence.start();
    let finding = Finding::harm("date", what)
        .because("certificates are not valid yet, and names cannot be resolved with DNSSEC")
        .mend(format!("{start}   # it starts the clock at its build date at the earliest, and steps from there"));
    vec![finding]
}

/// What a majority of the servers says of the clock.
pub(super) fn offset(evidence: &Evidence) -> Vec<Finding> {
    let Some((off, agreeing)) = agreed_offset(&evidence.probes) else { return Vec::new() };
    if off.abs() < NOTABLE {
        return Vec::new();
    }
    let (direction, size) = (if off > 0.0 { "ahead" } else { "behind" }, off.abs());
    let servers = if agreeing == 1 { "the server says".to_owned() } else { format!("{agreeing} servers agree") };
    let what = format!("the clock is {size:.3} s {direction}: {servers}");
    let finding = if size >= HARMFUL { Finding::harm("offset", what) } else { Finding::advice("offset", what) };
    let mend = format!("{}   # it steps the clock in its first updates, unless makestep forbids it", evidence.start());
    vec![finding.because("whoever compares time with other machines is misled: certificates, logs, leases, databases").mend(mend)]
}

/// The offset that more than half of the answers agree on, and how many do.
fn agreed_offset(probes: &[Probe]) -> Option<(f64, usize)> {
    let claims = claims(probes);
    let agreement = intersect(&claims, &mut Vec::new())?;
    let agreeing = claims.iter().filter(|claim| claim.meets(agreement.low, agreement.high)).count();
    // The end that is nearer to zero: the clock is at least so far off.
    let off = if agreement.low > 0.0 { agreement.low } else { agreement.high.min(0.0) };
    Some((off, agreeing))
}

/// Where each answer says that the clock's offset lies.
pub(super) fn claims(probes: &[Probe]) -> Vec<Claim> {
    probes.iter().filter_map(claim).collect()
}

/// The same for one answer.
pub(super) const fn claim(probe: &Probe) -> Option<Claim> {
    match probe.answer {
        Answer::Time(m) => Some(Claim { low: m.offset - m.error, middle: m.offset, high: m.offset + m.error }),
        _ => None,
    }
}
