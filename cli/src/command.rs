//! The commands that ask one question or give one order.

pub(crate) mod asl;
pub(crate) mod checkpoint;
pub(crate) mod installation;
pub(crate) mod ledger;
pub(crate) mod library;
pub(crate) mod resolver;
mod scan;
pub(crate) mod service;
