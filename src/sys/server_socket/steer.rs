//! The program by which the kernel picks one of several sockets on a port: the client's address decides, never its port.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

/// Where the kernel puts the network header, for loads by a classic filter.
const NETWORK: u32 = 0xfff0_0000;
/// Spreads the bits of an address: an odd number without pattern.
const SPREAD: u32 = 0x9e37_79b1;

// Classic BPF: class, size, mode and operation.
const LOAD_WORD: u16 = 0x20;
const STORE_SCRATCH: u16 = 0x02;
const LOAD_SCRATCH_X: u16 = 0x61;
const XOR_X: u16 = 0xac;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
const MODULO: u16 = 0x94;
const RETURN_A: u16 = 0x16;

const fn step(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

/// The program for so many sockets.
fn program(v4: bool, count: u32) -> Vec<libc::sock_filter> {
    let mut steps = if v4 {
        vec![step(LOAD_WORD, NETWORK + 12)]
    } else {
        let mut steps = vec![step(LOAD_WORD, NETWORK + 8)];
        for word in 1..4 {
            steps.extend([
                step(STORE_SCRATCH, 0),
                step(LOAD_WORD, NETWORK + 8 + 4 * word),
                step(LOAD_SCRATCH_X, 0),
                step(XOR_X, 0),
                step(MULTIPLY, SPREAD),
            ]);
        }
        steps
    };
    // The high bits of the product depend on all bits of the address.
    steps.extend([step(MULTIPLY, SPREAD), step(SHIFT_RIGHT, 16), step(MODULO, count), step(RETURN_A, 0)]);
    steps
}

/// Attaches it to a group of sockets through one of them.
pub(super) fn by_source(socket: &OwnedFd, v4: bool, count: usize) -> io::Result<()> {
    let steps = program(v4, u32::try_from(count).unwrap_or(u32::MAX));
    let filter = libc::sock_fprog { len: u16::try_from(steps.len()).unwrap_or(0), filter: steps.as_ptr().cast_mut() };
    let size = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or(0);
    // SAFETY: the kernel copies the program during the call and does not write through the pointer; length and pointer are those of `steps`.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, (&raw const filter).cast(), size) };
    Errno::result(result)?;
    Ok(())
}
