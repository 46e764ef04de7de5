//! The on-tape format: label, segments, manifests, index; write, read, scan.
