//! DynamoDB and S3 endpoints on loopback, for development and tests.
//!
//! [`Endpoints::start`] serves both in this process: DynamoDB by `dynoxide` on one SQLite
//! file, S3 by `s3s` over a store of our own, which has what this project asks of S3:
//! versions, atomic conditional writes, checksums, ranges, copies and uploads in parts, each
//! request's SigV4 signature checked, presigned URLs included. Everything is in memory, or
//! below one directory and there again after a crash.
//!
//! **Never for production.** The credentials are printed in this documentation, DynamoDB's
//! signatures are not checked at all, and who reaches the ports may do everything. There is
//! no encryption, no object lock or legal hold, no lifecycle and no policy: requests for
//! those are refused, or their headers ignored where S3 takes them with a PUT. A file on
//! disk survives a crash of the process; DynamoDB's, not always one of the machine.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use endpoints::{ANY_PORT, Endpoints, Home};
//!
//! let running = Endpoints::start(Home::Memory, ANY_PORT).await.unwrap();
//! assert!(running.s3_url.starts_with("http://127.0.0.1:"));
//! assert_ne!(running.s3_url, running.dynamodb_url);
//! running.shutdown().await;
//! # });
//! ```

mod s3;
mod store;
mod sums;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleError;
use axum::http::StatusCode;
use axum::serve::ListenerExt as _;
use dynoxide::Database;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use store::Store;

/// Loopback, on ports that are free.
pub const ANY_PORT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// How long requests under way may take when the endpoints stop.
const GOODBYE: Duration = Duration::from_secs(5);

/// Where tables and objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// In memory: gone with the process.
    Memory,
    /// Below a directory, which is made where it is not there: `dynamodb.sqlite` and `s3/`.
    Directory(PathBuf),
}

/// What requests are signed with. Always the same: it protects nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: &'static str,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: &'static str,
    /// `AWS_REGION`; any other does, too.
    pub region: &'static str,
}

/// The credentials of all endpoints.
pub const CREDENTIALS: Credentials = Credentials {
    access_key_id: "tapemark",
    secret_access_key: "tapemark-local",
    region: "us-east-1",
};

/// Why the endpoints did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address that other machines reach.
    #[error(
        "expected a loopback or private address, found {0}; the endpoints let everybody do \
         everything"
    )]
    Exposed(SocketAddr),
    /// A port is taken, or is not this machine's.
    #[error("expected {address} to be free: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What came of it.
        source: io::Error,
    },
    /// The directory cannot be used.
    #[error("{}: {source}", .path.display())]
    Directory {
        /// What was tried.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// The file of tables cannot be opened.
    #[error("dynamodb.sqlite: {0}")]
    Tables(String),
}

/// What starts both endpoints.
pub struct Endpoints;

impl Endpoints {
    /// Serves DynamoDB on a port and S3 on the next one; with port 0 both on free ones.
    /// Ready when this returns.
    ///
    /// The address is a loopback one, or a private one of this machine, such as that of a
    /// bridge to containers.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(home: Home, address: SocketAddr) -> Result<Running, StartError> {
        if !is_private(address) {
            return Err(StartError::Exposed(address));
        }
        let dynamodb = bind(address).await?;
        let next = match address.port() {
            0 => 0,
            port => port.checked_add(1).ok_or_else(|| StartError::Address {
                address,
                source: io::Error::other("there is no next port for S3"),
            })?,
        };
        let s3 = bind(SocketAddr::new(address.ip(), next)).await?;
        let opened = tokio::task::spawn_blocking(move || open(home)).await;
        let (tables, store) = opened.map_err(|panic| StartError::Tables(panic.to_string()))??;

        let stop = CancellationToken::new();
        let running = Running {
            dynamodb_url: url(&dynamodb)?,
            s3_url: url(&s3)?,
            credentials: CREDENTIALS,
            servers: vec![
                tokio::spawn(dynoxide::server::serve_with_shutdown(
                    dynamodb,
                    tables,
                    stop.clone().cancelled_owned(),
                )),
                tokio::spawn(serve_s3(s3, store, stop.clone())),
            ],
            stop,
        };
        Ok(running)
    }
}

/// Endpoints at work. Dropped, they stop after the requests under way.
pub struct Running {
    /// `AWS_ENDPOINT_URL_DYNAMODB`
    pub dynamodb_url: String,
    /// `AWS_ENDPOINT_URL_S3`; buckets are named in the path.
    pub s3_url: String,
    /// What requests are signed with.
    pub credentials: Credentials,
    servers: Vec<JoinHandle<Result<(), String>>>,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    /// Stops: requests under way may finish, for five seconds at most.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        for mut server in std::mem::take(&mut self.servers) {
            match tokio::time::timeout(GOODBYE, &mut server).await {
                Ok(Ok(Ok(()))) => {}
                Ok(ended) => tracing::error!(?ended, "an endpoint did not end well"),
                Err(_) => {
                    tracing::info!("requests under way are cut off");
                    server.abort();
                }
            }
        }
    }
}

fn is_private(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(address) => {
            let ip = address.ip();
            ip.is_loopback() || ip.is_private() || ip.is_link_local()
        }
        SocketAddr::V6(address) => {
            let ip = address.ip();
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| StartError::Address { address, source })
}

fn url(listener: &TcpListener) -> Result<String, StartError> {
    let address = listener.local_addr();
    let address = address.map_err(|source| StartError::Address {
        address: ANY_PORT,
        source,
    })?;
    Ok(format!("http://{address}"))
}

fn open(home: Home) -> Result<(Database, Arc<Store>), StartError> {
    let tables = |opened: dynoxide::Result<Database>| {
        opened.map_err(|error| StartError::Tables(error.to_string()))
    };
    let Home::Directory(path) = home else {
        return Ok((tables(Database::memory())?, Arc::new(Store::memory())));
    };
    // The store holds the directory's lock: first, so that nobody else has the tables open.
    let store = Store::open(&path.join("s3")).map_err(|source| StartError::Directory {
        path: path.clone(),
        source,
    })?;
    let file = path.join("dynamodb.sqlite");
    let file = file.to_str().ok_or_else(|| StartError::Directory {
        path: path.clone(),
        source: io::Error::other("expected a path in UTF-8"),
    })?;
    Ok((tables(Database::new(file))?, Arc::new(store)))
}

async fn serve_s3(
    listener: TcpListener,
    store: Arc<Store>,
    stop: CancellationToken,
) -> Result<(), String> {
    let mut builder = S3ServiceBuilder::new(s3::Service::new(store));
    builder.set_auth(SimpleAuth::from_single(
        CREDENTIALS.access_key_id,
        CREDENTIALS.secret_access_key,
    ));
    let service = HandleError::new(builder.build(), |error: s3s::HttpError| async move {
        tracing::warn!(?error, "a request that S3 does not understand");
        StatusCode::INTERNAL_SERVER_ERROR
    });
    let listener = listener.tap_io(|stream| {
        // Without this a small answer in two writes waits 40 ms for a delayed ACK; a
        // connection that is gone needs no option.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, Router::new().fallback_service(service))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(|error| error.to_string())
}
