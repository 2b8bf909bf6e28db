//! The kvm-clock page (`pvclock_vcpu_time_info`), read from user space.
//!
//! Recent x86-64 kernels map it into every process as `[vvar_vclock]`, older ones as the second
//! page of `[vvar]`. The mapping is no stable ABI and faults when kvm-clock was never in use: it
//! is copied through the kernel and checked for sense, and its absence is an ordinary answer.
//! The page counts nanoseconds since the VM was made; it knows no time of day.

use super::peek::Peek;
use super::{counter, time};
use crate::units::count;
use crate::wire::control::Pvclock;

/// Bytes of the page that mean something.
pub const SIZE: usize = 32;
/// Flag: the counter runs alike on all CPUs.
pub const TSC_STABLE: u8 = 1;
/// Flag: the host stopped the guest.
pub const GUEST_STOPPED: u8 = 2;

/// How often a torn page is read again before giving up.
const ATTEMPTS: usize = 16;
/// Frequencies outside cannot be a CPU counter.
const PLAUSIBLE_HZ: std::ops::RangeInclusive<f64> = 1e8..=2e10;

/// Why the page tells nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PageError {
    /// There is no such page here.
    #[error("no kvm-clock page: {0}")]
    Absent(String),
    /// Fewer bytes than the structure has.
    #[error("the kvm-clock page is cut off after {0} bytes (needs 32)")]
    Short(usize),
    /// The host was writing it each time we looked.
    #[error("the kvm-clock page is being updated; try again")]
    Updating,
    /// What was read is no such page.
    #[error("the kvm-clock page makes no sense: {0}")]
    Implausible(&'static str),
}

/// The page's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Even; rises by two at each rewrite.
    pub version: u32,
    /// Counter value to which `system_time` belongs.
    pub tsc_timestamp: u64,
    /// Nanoseconds since the VM was made, at `tsc_timestamp`.
    pub system_time: u64,
    /// Nanoseconds per (shifted) tick, times 2^32.
    pub mul: u32,
    /// Left shift of ticks before multiplying (right if negative).
    pub shift: i8,
    /// [`TSC_STABLE`], [`GUEST_STOPPED`].
    pub flags: u8,
}

impl Page {
    /// Takes a page apart.
    ///
    /// # Errors
    /// `Short`, `Updating` (odd version) or `Implausible`.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let Some(bytes) = bytes.first_chunk::<SIZE>() else { return Err(PageError::Short(bytes.len())) };
        let page = Self {
            version: u32::from_le_bytes(field(bytes, 0)),
            tsc_timestamp: u64::from_le_bytes(field(bytes, 8)),
            system_time: u64::from_le_bytes(field(bytes, 16)),
            mul: u32::from_le_bytes(field(bytes, 24)),
            shift: i8::from_le_bytes(field(bytes, 28)),
            flags: bytes[29],
        };
        if page.version % 2 == 1 {
            return Err(PageError::Updating);
        }
        if field::<4>(bytes, 4) != [0; 4] || field::<2>(bytes, 30) != [0; 2] {
            return Err(PageError::Implausible("its padding is not zero"));
        }
        if page.version == 0 || page.mul == 0 {
            return Err(PageError::Implausible("it was never written"));
        }
        if !(-31..=31).contains(&page.shift) || !PLAUSIBLE_HZ.contains(&page.frequency_hz()) {
            return Err(PageError::Implausible("its multiplier describes no CPU counter"));
        }
        Ok(page)
    }

    /// The counter's frequency that the multiplier and shift stand for.
    #[must_use]
    pub fn frequency_hz(&self) -> f64 {
        if self.mul == 0 {
            return 0.0;
        }
        1e9 * 4_294_967_296.0 / f64::from(self.mul) / f64::from(self.shift).exp2()
    }

    /// The page's time in nanoseconds when the counter stands at `counter`; saturates.
    #[must_use]
    pub fn system_time_at(&self, counter: u64) -> u64 {
        let ticks = i128::from(i64::from_ne_bytes(counter.wrapping_sub(self.tsc_timestamp).to_ne_bytes()));
        let places = u32::from(self.shift.unsigned_abs()).min(31);
        let shifted = if self.shift < 0 { ticks >> places } else { ticks << places };
        let nanos = i128::from(self.system_time) + ((shifted * i128::from(self.mul)) >> 32);
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}

impl From<&Page> for Pvclock {
    fn from(page: &Page) -> Self {
        Self { version: page.version, flags: page.flags, frequency_hz: page.frequency_hz() }
    }
}

/// Bytes `at..at + N`; the caller stays within the page.
fn field<const N: usize>(bytes: &[u8; SIZE], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes.get(at + index).copied().unwrap_or(0))
}

/// The page together with the counter, on the timebase.
pub type Observation = counter::Observation<Page>;

/// Reads this machine's page.
#[derive(Debug)]
pub struct Reader {
    peek: Peek,
    address: usize,
}

impl Reader {
    /// Finds the page and reads it once to see that it is one.
    ///
    /// # Errors
    /// `Absent` with the reason, or what was wrong with the page.
    pub fn find() -> Result<Self, PageError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(PageError::Absent("only x86-64 guests have one".to_owned()));
        }
        let maps = std::fs::read_to_string("/proc/self/maps").map_err(|error| PageError::Absent(format!("/proc/self/maps: {error}")))?;
        let Some(address) = page_address(&maps) else {
            return Err(PageError::Absent("the kernel maps neither [vvar_vclock] nor a [vvar] with a second page".to_owned()));
        };
        let peek = Peek::new().map_err(|errno| PageError::Absent(format!("cannot open a pipe to read it: {errno}")))?;
        let reader = Self { peek, address };
        reader.read()?;
        Ok(reader)
    }

    /// A consistent copy of the page.
    ///
    /// # Errors
    /// `Absent` if the page cannot be touched, `Updating` if it never stood still.
    pub fn read(&self) -> Result<Page, PageError> {
        let mut last = PageError::Updating;
        for _ in 0..ATTEMPTS {
            let first = self.copy()?;
            if first != self.copy()? {
                continue;
            }
            match Page::decode(&first) {
                Err(PageError::Updating) => last = PageError::Updating,
                result => return result,
            }
        }
        Err(last)
    }

    /// The page and the counter read within one version of it.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn observe(&self) -> Result<Observation, PageError> {
        for _ in 0..ATTEMPTS {
            let page = self.read()?;
            let (before, counter, after) = counter::bracketed();
            if self.read()? == page {
                return Ok(Observation { before, counter, after, page });
            }
        }
        Err(PageError::Updating)
    }

    fn copy(&self) -> Result<[u8; SIZE], PageError> {
        self.peek.copy(self.address).map_err(|errno| {
            PageError::Absent(format!("the page cannot be touched ({errno}): kvm-clock is not in use here, or this is no KVM guest"))
        })
    }
}

/// Where the page should be, from the text of `/proc/self/maps`.
fn page_address(maps: &str) -> Option<usize> {
    let start = |name: &str, pages: usize| {
        let line = maps.lines().find(|line| line.split_whitespace().last() == Some(name))?;
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        let from = usize::from_str_radix(from, 16).ok()?;
        let to = usize::from_str_radix(to, 16).ok()?;
        let address = from.checked_add(pages * 4096)?;
        (address < to).then_some(address)
    };
    start("[vvar_vclock]", 0).or_else(|| start("[vvar]", 1))
}

/// The counter's frequency against the timebase, measured over `span` (the caller sleeps).
#[must_use]
pub fn measured_hz(span: std::time::Duration) -> f64 {
    let (_, first, from) = counter::bracketed();
    while time::raw().elapsed_since(from) < span {
        std::thread::sleep(span / 16);
    }
    let (to, last, _) = counter::bracketed();
    let seconds = to.since(from).seconds();
    if seconds > 0.0 { count(last.wrapping_sub(first)) / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests;
