//! What stands for the endpoints in a command that is built without them.

use std::net::SocketAddr;
use std::path::Path;

use embedded::Stores;
use model::Pool;
use serde_json::Value;

use crate::failure::Failure;

/// Never there.
pub(super) enum Served {}

pub(super) async fn start(
    _data_dir: &Path,
    _address: SocketAddr,
    _pool: &Pool,
    _with_samples: bool,
) -> Result<(Served, Stores), Failure> {
    Err(Failure::Usage(
        "--aws-endpoints: expected a tapemark built with the feature `aws-endpoints`: \
         cargo build --release --features aws-endpoints"
            .to_owned(),
    ))
}

impl Served {
    pub(super) fn view(&self) -> Value {
        match *self {}
    }

    pub(super) fn lines(&self) -> String {
        match *self {}
    }

    pub(super) async fn shutdown(self) {
        match self {}
    }
}
