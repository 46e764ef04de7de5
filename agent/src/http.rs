//! HTTP clients: certificates are checked against those the system trusts and, where one is
//! named, a CA of the operator's own.

use std::path::Path;

use anyhow::Context as _;
use reqwest::{Certificate, Client, ClientBuilder};

/// A client. No proxy is taken from the environment: an agent speaks to what it was told.
///
/// # Errors
/// When the file with the CA cannot be read or is none.
pub(crate) fn client(
    ca_file: Option<&Path>,
    set: impl Fn(ClientBuilder) -> ClientBuilder,
) -> anyhow::Result<Client> {
    let mut own = Vec::new();
    if let Some(path) = ca_file {
        let about = || format!("control.ca_file {}", path.display());
        let pem = std::fs::read(path).with_context(about)?;
        own = Certificate::from_pem_bundle(&pem).with_context(about)?;
        anyhow::ensure!(
            !own.is_empty(),
            "{}: expected certificates in PEM, found none",
            about()
        );
    }
    let builder = || set(Client::builder().no_proxy());
    let with_system = builder().tls_certs_merge(own.clone()).build();
    match with_system {
        Ok(client) => Ok(client),
        // A container without certificates: what needs none, or the operator's own, works.
        Err(error) => {
            tracing::warn!(%error, "the system's certificates cannot be used");
            Ok(builder().tls_certs_only(own).build()?)
        }
    }
}
