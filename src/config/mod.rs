//! Floor 2: the chrony.conf dialect.
