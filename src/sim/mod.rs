//! Floor 8: drives the agent in virtual time.
