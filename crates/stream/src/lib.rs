//! The data path: hash, compress, encrypt, cut, and back.
