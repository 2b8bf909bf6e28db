//! What the CPU says about the hypervisor below it. x86-64 only; other CPUs have no such leaf.
//!
//! It returns the signatures as they are; `platform` knows what they mean.
#![allow(unsafe_code, reason = "CPUID is an intrinsic; older compilers call it unsafe")]

/// A hypervisor's twelve-letter signature, zero padded.
pub type Signature = [u8; 12];

/// Every signature found at the leaves that hypervisors may use (0x40000000 and up in steps of
/// 0x100: KVM moves up when it also poses as Hyper-V). Empty on bare metal and other CPUs.
#[must_use]
#[cfg(target_arch = "x86_64")]
pub fn signatures() -> Vec<Signature> {
    const HYPERVISOR_PRESENT: u32 = 1 << 31;
    if leaf(1).ecx & HYPERVISOR_PRESENT == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for base in (0x4000_0000_u32..0x4000_1000).step_by(0x100) {
        let registers = leaf(base);
        let mut signature = Signature::default();
        for (part, register) in signature.chunks_exact_mut(4).zip([registers.ebx, registers.ecx, registers.edx]) {
            part.copy_from_slice(&register.to_le_bytes());
        }
        let printable = signature.iter().take_while(|byte| **byte != 0).all(u8::is_ascii_graphic_or_space);
        if signature[0] != 0 && printable && !found.contains(&signature) {
            found.push(signature);
        }
    }
    found
}

/// Every signature found; none on this CPU.
#[must_use]
#[cfg(not(target_arch = "x86_64"))]
pub fn signatures() -> Vec<Signature> {
    Vec::new()
}

#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe, reason = "safe in compilers newer than our minimum")]
fn leaf(number: u32) -> std::arch::x86_64::CpuidResult {
    // SAFETY: every x86-64 CPU has CPUID, and unknown leaves only return other numbers.
    unsafe { std::arch::x86_64::__cpuid(number) }
}

#[cfg(target_arch = "x86_64")]
trait Printable {
    fn is_ascii_graphic_or_space(&self) -> bool;
}

#[cfg(target_arch = "x86_64")]
impl Printable for u8 {
    fn is_ascii_graphic_or_space(&self) -> bool {
        self.is_ascii_graphic() || *self == b' '
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn signatures_are_distinct() {
        let mut found = super::signatures();
        let before = found.len();
        found.dedup();
        assert_eq!(found.len(), before);
    }
}
