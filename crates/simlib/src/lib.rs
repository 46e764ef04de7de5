//! A simulated library.
