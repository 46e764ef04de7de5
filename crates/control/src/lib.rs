//! The four phases as plain functions over ports.
