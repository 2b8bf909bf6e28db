//! Stream sockets between machines of one host (AF_VSOCK): nothing waits, nothing is stamped.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, VsockAddr, accept4, bind, connect, getpeername, getsockopt, listen, recv, send,
    socket, sockopt,
};

use crate::units::Vsock;

/// `VMADDR_CID_ANY`.
const ANYBODY: u32 = u32::MAX;
/// What `EAFNOSUPPORT` means, and what to do.
pub const LACKING: &str = "this kernel has no vsock: modprobe vmw_vsock_virtio_transport (in a guest) or vhost_vsock (on a host); under systemd: add systemd/vsock.conf to the unit";
/// Connections that wait to be taken.
const WAITING: i32 = 32;

/// Takes connections.
#[derive(Debug)]
pub struct VsockListener(OwnedFd);

/// A connection.
#[derive(Debug)]
pub struct VsockStream(OwnedFd);

fn stream() -> io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(fd)
}

mod ioctl {
    // `IOCTL_VM_SOCKETS_GET_LOCAL_CID` of linux/vm_sockets.h; it has no direction and no size in it.
    nix::ioctl_read_bad!(get_local_cid, 0x7b9, u32);
}

/// Which machine of its host this is; `None` if the device does not tell, or may not be opened.
#[must_use]
#[allow(unsafe_code, reason = "an ioctl")]
pub fn local_machine() -> Option<Vsock> {
    let device = std::fs::File::open("/dev/vsock").ok()?;
    let mut cid = ANYBODY;
    // SAFETY: the kernel writes one 32-bit number to where it is pointed.
    unsafe { ioctl::get_local_cid(device.as_raw_fd(), &raw mut cid) }.ok()?;
    (cid != ANYBODY).then_some(Vsock(cid))
}

impl VsockListener {
    /// On a port of all addresses of this machine.
    ///
    /// # Errors
    /// As the kernel says; `EAFNOSUPPORT` where it has no vsock.
    pub fn open(port: u16) -> io::Result<Self> {
        let fd = stream()?;
        bind(fd.as_raw_fd(), &VsockAddr::new(ANYBODY, port.into()))?;
        listen(&fd, Backlog::new(WAITING)?)?;
        Ok(Self(fd))
    }

    /// The next connection, and whose it is. `WouldBlock` if there is none.
    ///
    /// # Errors
    /// As the kernel says.
    #[allow(unsafe_code, reason = "the descriptor comes as a number")]
    pub fn accept(&self) -> io::Result<(VsockStream, Vsock, u32)> {
        let fd = accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
        // SAFETY: the kernel has just made it, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let peer: VsockAddr = getpeername(fd.as_raw_fd())?;
        Ok((VsockStream(fd), Vsock(peer.cid()), peer.port()))
    }
}

impl VsockStream {
    /// Begins a connection, which is made once it can be written to and has no [error](Self::error).
    ///
    /// # Errors
    /// As the kernel says, if it can say so at once.
    pub fn connect(machine: Vsock, port: u16) -> io::Result<Self> {
        let fd = stream()?;
        match connect(fd.as_raw_fd(), &VsockAddr::new(machine.0, port.into())) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(Self(fd)),
            Err(error) => Err(error.into()),
        }
    }

    /// What became of the connection.
    #[must_use]
    pub fn error(&self) -> Option<io::Error> {
        let code = getsockopt(&self.0, sockopt::SocketError).unwrap_or(0);
        (code != 0).then(|| io::Error::from_raw_os_error(code))
    }

    /// Some bytes; 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` while there are none, else as the kernel says.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
    }

    /// Sends, and says how much of it went.
    ///
    /// # Errors
    /// `WouldBlock` while nothing fits, else as the kernel says.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
    }
}

impl AsRawFd for VsockListener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for VsockStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for VsockStream {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
