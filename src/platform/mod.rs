//! Floor 7: which hypervisor and cloud is this, and which sources does that imply.
