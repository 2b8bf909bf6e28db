//! Floor 6: all unsafe, ioctl and ABI, behind a safe API.
