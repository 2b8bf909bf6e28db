//! What this machine is.

use crate::doctor::evidence::Evidence;
use crate::doctor::finding::Finding;
use crate::platform::Hypervisor;

/// No hypervisor below: no clock of a host to read.
pub(super) fn no_virtual_machine(evidence: &Evidence) -> Vec<Finding> {
    if evidence.machine.hypervisor != Hypervisor::None {
        return Vec::new();
    }
    let what = format!("this is no virtual machine ({})", evidence.machine.hypervisor_reason);
    let finding = Finding::advice("no_vm", what)
        .because("there is no host whose clock could be read: Paraclock is a plain NTP client here")
        .mend("sudo paraclock doctor --host   # if it runs virtual machines: what clock it gives to them");
    vec![finding]
}
