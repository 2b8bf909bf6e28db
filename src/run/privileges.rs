//! Becoming another user while keeping what a clock daemon needs.

use std::ffi::CString;
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Uid, User, chown, geteuid, initgroups, setgid, setuid};

/// Why the user cannot be assumed.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// There is no such user.
    #[error("user {0} does not exist: create it, or name another with `user` or -u")]
    Unknown(String),
    /// We are not root.
    #[error("only root can become user {0}: start as root, or leave `user` and -u out")]
    NotRoot(String),
    /// The kernel refused.
    #[error("cannot become user {user}: {reason}")]
    Refused {
        /// Who.
        user: String,
        /// What the system said.
        reason: String,
    },
}

/// Becomes `name` for good, keeping `CAP_SYS_TIME` and `CAP_NET_BIND_SERVICE`. The paths given (control socket,
/// directory of the drift file) become the user's.
pub fn become_user(name: &str, paths: &[&Path]) -> Result<(), PrivilegeError> {
    let user = User::from_name(name).ok().flatten().ok_or_else(|| PrivilegeError::Unknown(name.to_owned()))?;
    if user.uid == geteuid() {
        return Ok(());
    }
    if geteuid() != Uid::from_raw(0) {
        return Err(PrivilegeError::NotRoot(name.to_owned()));
    }
    for path in paths {
        // What is not there, or not ours to give, stays as it is; using it says so.
        let _ = chown(*path, Some(user.uid), Some(user.gid));
    }
    let refused = |reason: String| PrivilegeError::Refused { user: name.to_owned(), reason };
    // Only what we have can be kept: in a container CAP_SYS_TIME may be missing.
    let permitted = caps::read(None, CapSet::Permitted).map_err(|e| refused(e.to_string()))?;
    let kept: CapsHashSet =
        [Capability::CAP_SYS_TIME, Capability::CAP_NET_BIND_SERVICE].into_iter().filter(|c| permitted.contains(c)).collect();
    caps::securebits::set_keepcaps(true).map_err(|e| refused(e.to_string()))?;
    let name_c = CString::new(name).map_err(|e| refused(e.to_string()))?;
    initgroups(&name_c, user.gid).map_err(|e| refused(e.to_string()))?;
    setgid(user.gid).map_err(|e| refused(e.to_string()))?;
    setuid(user.uid).map_err(|e| refused(e.to_string()))?;
    caps::set(None, CapSet::Effective, &kept).map_err(|e| refused(e.to_string()))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(|e| refused(e.to_string()))?;
    caps::securebits::set_keepcaps(false).map_err(|e| refused(e.to_string()))?;
    tracing::info!("running as user {name}, with {} capabilities kept", kept.len());
    Ok(())
}

/// Whether we may set the clock, as far as capabilities tell.
#[must_use]
pub fn may_set_clock() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_TIME).unwrap_or(false)
}

/// Programs that we start get none of our capabilities through the ambient set, with which systemd gives them to us; ours stay.
pub fn keep_to_ourselves() {
    if let Err(error) = caps::clear(None, CapSet::Ambient) {
        // Kernels before 4.3 have no such set.
        tracing::debug!("the ambient capabilities cannot be cleared: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_is_named() {
        let error = become_user("no-such-user-here", &[]).unwrap_err();
        assert!(error.to_string().contains("no-such-user-here does not exist"), "{error}");
    }
}
