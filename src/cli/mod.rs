//! Floor 9: what a person types and reads.
