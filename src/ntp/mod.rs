//! Floor 4: pure protocol.
