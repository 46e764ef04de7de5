//! The ports on one machine, and the state machine runner.
