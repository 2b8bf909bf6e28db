//! Datagrams received and sent many at a time, in buffers that are made once.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr;

use nix::errno::Errno;

use super::control::{self, Asked, Control, ROOM};
use super::{CardStamp, ServerSocket};
use crate::units::{Timestamp, Vsock};

/// Datagrams received at once: with twice as many as the first-level cache holds the calls cost a hundredth less of a reply.
pub const BATCH: usize = 64;
/// The longest request looked at; a longer one is cut and fails as malformed. Not a power of two, so that requests do not share cache sets.
const REQUEST: usize = 1024 + 64;
/// A `sockaddr_in` or `sockaddr_in6`.
const NAME: usize = size_of::<libc::sockaddr_in6>();

/// A client's address as the kernel writes it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name([u8; NAME]);

impl Name {
    fn address(&self) -> Option<SocketAddr> {
        let bytes = &self.0;
        let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        match family {
            libc::AF_INET => Some(SocketAddr::from(([bytes[4], bytes[5], bytes[6], bytes[7]], port))),
            libc::AF_INET6 => {
                let address = *bytes[8..].first_chunk::<16>()?;
                let scope = u32::from_ne_bytes(*bytes[24..].first_chunk()?);
                let address = Ipv6Addr::from(address);
                // These stand for machines that ask otherwise: who comes from there over the network forges it.
                let forged = Vsock::of(address.into()).is_some();
                (!forged).then(|| SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope)))
            }
            _ => None,
        }
    }
}

/// All that the kernel is pointed to.
struct Buffers {
    requests: [[u8; REQUEST]; BATCH],
    names: [Name; BATCH],
    controls: [Control; BATCH],
    parts: [libc::iovec; BATCH],
    headers: [libc::mmsghdr; BATCH],
    reply_parts: [libc::iovec; BATCH],
    reply_headers: [libc::mmsghdr; BATCH],
}

/// Room for a batch of requests and its replies.
pub struct Batch {
    /// From `Box::into_raw`; given back on drop. Everything is reached through this pointer, so that the pointers in the headers stay good.
    buffers: ptr::NonNull<Buffers>,
    received: usize,
    /// Headers that the kernel has written to since they were prepared.
    used: usize,
    asked: [Option<Asked>; BATCH],
    queued: usize,
}

// SAFETY: the buffers belong to this value alone; nothing in them is bound to a thread.
unsafe impl Send for Batch {}

/// One request of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Its sender.
    pub from: SocketAddr,
    /// When it arrived, by the kernel (`CLOCK_REALTIME`).
    pub stamp: Option<Timestamp>,
    /// When it arrived, by the network card's own clock.
    pub card: Option<CardStamp>,
    /// What it says.
    pub bytes: &'a [u8],
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        let none = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: an mmsghdr is integers and pointers, for which zero is a value.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let buffers = Box::new(Buffers {
            requests: [[0; REQUEST]; BATCH],
            names: [Name([0; NAME]); BATCH],
            controls: [Control([0; ROOM]); BATCH],
            parts: [none; BATCH],
            headers: [header; BATCH],
            reply_parts: [none; BATCH],
            reply_headers: [header; BATCH],
        });
        let pointer = Box::into_raw(buffers);
        for i in 0..BATCH {
            // SAFETY: `pointer` comes from the box just made and nothing else refers to it; each field is in bounds.
            unsafe {
                let part = &raw mut (*pointer).parts[i];
                (*part).iov_base = (&raw mut (*pointer).requests[i]).cast();
                (*part).iov_len = REQUEST;
                let message = &raw mut (*pointer).headers[i].msg_hdr;
                (*message).msg_name = (&raw mut (*pointer).names[i]).cast();
                (*message).msg_iov = part;
                (*message).msg_iovlen = 1;
                (*message).msg_control = (&raw mut (*pointer).controls[i]).cast();
                let reply = &raw mut (*pointer).reply_headers[i].msg_hdr;
                (*reply).msg_iov = &raw mut (*pointer).reply_parts[i];
                (*reply).msg_iovlen = 1;
            }
        }
        // SAFETY: a box is never null.
        let buffers = unsafe { ptr::NonNull::new_unchecked(pointer) };
        Self { buffers, received: 0, used: BATCH, asked: [None; BATCH], queued: 0 }
    }

    /// Waits for a datagram, unless the socket does not wait, and takes those that are there. Zero after the socket was hung up.
    pub fn receive(&mut self, socket: &mut ServerSocket) -> io::Result<usize> {
        (self.received, self.queued) = (0, 0);
        for i in 0..self.used {
            // SAFETY: in bounds; nobody holds a reference into the buffers while `self` is borrowed mutably.
            let message = unsafe { &mut (*self.buffers.as_ptr()).headers[i].msg_hdr };
            message.msg_namelen = libc::socklen_t::try_from(NAME).unwrap_or(0);
            message.msg_controllen = ROOM;
            message.msg_flags = 0;
        }
        self.used = 0;
        let fd = socket.as_raw_fd();
        // SAFETY: the headers point to buffers of the lengths they say, which live as long as `self`.
        let headers = unsafe { &raw mut (*self.buffers.as_ptr()).headers[0] };
        let flags = if socket.waits { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        if !socket.single {
            let most = libc::c_uint::try_from(BATCH).unwrap_or(1);
            // SAFETY: as above; BATCH headers follow the pointer.
            let received = unsafe { libc::recvmmsg(fd, headers, most, flags, ptr::null_mut()) };
            match Errno::result(received) {
                Ok(received) => {
                    self.received = usize::try_from(received).unwrap_or(0);
                    self.used = self.received;
                    return Ok(self.received);
                }
                Err(Errno::ENOSYS | Errno::EBADF | Errno::ENOTSOCK) => socket.single = true,
                Err(error) => return Err(error.into()),
            }
        }
        // SAFETY: as above, for the first header.
        let length = Errno::result(unsafe { libc::recvmsg(fd, &raw mut (*headers).msg_hdr, flags & libc::MSG_DONTWAIT) })?;
        // SAFETY: in bounds, no other reference.
        unsafe { (*headers).msg_len = libc::c_uint::try_from(length).unwrap_or(0) };
        (self.received, self.used) = (1, 1);
        Ok(1)
    }

    /// A request of the batch; `None` if its sender has no address.
    pub fn datagram(&mut self, i: usize) -> Option<Datagram<'_>> {
        if i >= self.received {
            return None;
        }
        // SAFETY: only read while `self` is borrowed; the kernel writes during `receive` alone.
        let buffers = unsafe { self.buffers.as_ref() };
        let header = &buffers.headers[i];
        let length = usize::try_from(header.msg_len).unwrap_or(0).min(REQUEST);
        // What was cut is no packet of ours: show none of it.
        let bytes = if header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0 { &buffers.requests[i][..length] } else { &[] };
        let told = control::read(&buffers.controls[i].0[..header.msg_hdr.msg_controllen.min(ROOM)]);
        self.asked[i] = told.asked;
        Some(Datagram { from: buffers.names[i].address()?, stamp: told.stamp, card: CardStamp::from_told(&told), bytes })
    }

    /// This reply to request `i`, which is not longer, goes with the next [`Batch::send`]; with `stamp` the kernel is asked when it leaves. It takes the
    /// request's place.
    pub fn queue(&mut self, i: usize, reply: &[u8], socket: &mut ServerSocket, stamp: bool) {
        let j = self.queued;
        if j >= BATCH || i >= self.received || reply.len() > REQUEST {
            return;
        }
        if stamp {
            socket.stamp_sent();
        }
        let home = self.buffers.as_ptr();
        // SAFETY: in bounds, and addresses alone: nothing is read or written here.
        let (bytes, name, told) = unsafe { (&raw mut (*home).requests[i], &raw mut (*home).names[i], &raw mut (*home).controls[i]) };
        // SAFETY: the only reference while `self` is borrowed mutably; the kernel reads during `send` alone.
        let buffers = unsafe { &mut *home };
        buffers.requests[i][..reply.len()].copy_from_slice(reply);
        buffers.reply_parts[j] = libc::iovec { iov_base: bytes.cast(), iov_len: reply.len() };
        let from = if socket.wildcard { self.asked[i] } else { None };
        // What the kernel said has been read: its place is taken too.
        let length = control::write(&mut buffers.controls[i], from, if stamp { socket.sending_stamps() } else { 0 });
        let asked = &buffers.headers[i].msg_hdr;
        let message = &mut buffers.reply_headers[j].msg_hdr;
        (message.msg_name, message.msg_namelen) = (name.cast(), asked.msg_namelen);
        // A null pointer where there is nothing to say: some test rigs look at it.
        (message.msg_control, message.msg_controllen) = if length > 0 { (told.cast(), length) } else { (ptr::null_mut(), 0) };
        self.queued += 1;
    }

    /// Sends what was queued and says how many could not be sent.
    pub fn send(&mut self, socket: &mut ServerSocket) -> u64 {
        let (mut next, mut unsent) = (0, 0);
        while next < self.queued {
            match self.send_from(socket, next) {
                Ok(sent) => next += sent.max(1),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOSYS | Errno::EBADF | Errno::ENOTSOCK) if !socket.single => socket.single = true,
                Err(_) => {
                    // This one cannot be sent (a full queue, no way back): the others can.
                    unsent += 1;
                    next += 1;
                }
            }
        }
        self.queued = 0;
        unsent
    }

    fn send_from(&mut self, socket: &ServerSocket, next: usize) -> Result<usize, Errno> {
        let fd = socket.as_raw_fd();
        // SAFETY: in bounds; the headers up to `queued` point to replies, names and control messages within the buffers.
        let header = unsafe { &raw mut (*self.buffers.as_ptr()).reply_headers[next] };
        if socket.single || self.queued - next == 1 {
            // SAFETY: as above; sendmsg only reads.
            let sent = unsafe { libc::sendmsg(fd, &raw const (*header).msg_hdr, 0) };
            return Errno::result(sent).map(|_| 1);
        }
        let count = libc::c_uint::try_from(self.queued - next).unwrap_or(0);
        // SAFETY: as above; `count` headers follow the pointer.
        let sent = unsafe { libc::sendmmsg(fd, header, count, 0) };
        Errno::result(sent).map(|sent| usize::try_from(sent).unwrap_or(0))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: from `Box::into_raw` in `new`, and given back once.
        drop(unsafe { Box::from_raw(self.buffers.as_ptr()) });
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch {{ received: {}, queued: {} }}", self.received, self.queued)
    }
}
