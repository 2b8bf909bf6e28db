//! Whose clock a packet's time comes from.

/// Whose clock said when a packet left or arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StampedBy {
    /// Our own reading just before sending or after receiving.
    #[default]
    Daemon,
    /// The kernel.
    Kernel,
    /// The network card.
    Hardware,
}

impl StampedBy {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Kernel => "kernel",
            Self::Hardware => "hardware",
        }
    }

    /// chrony's letter.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Daemon => 'D',
            Self::Kernel => 'K',
            Self::Hardware => 'H',
        }
    }
}
