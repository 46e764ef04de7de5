//! `tapemark up`: the whole stack on one machine. Control plane, API and agent gateway in
//! this process on one loopback listener; the agent in a child process.

mod child;
#[cfg(feature = "aws-endpoints")]
mod endpoints;
mod files;
#[cfg(not(feature = "aws-endpoints"))]
mod no_endpoints;
mod resolvers;
#[cfg(feature = "s3")]
mod s3;
mod setup;

mod policies;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::{Api, FileTokens, RunHistory};
use async_trait::async_trait;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::serve::ListenerExt;
use control::Principal;
use embedded::{Runner, RunnerError, S3Source, Stack, StackConfig, SystemClock};
use model::{AgentId, Bytes, Code, LibraryId, Pool, PoolName, Refusal, RunId};
use serde_json::{Value, json};
use tapemark_agent::{
    AgentConfig, BatchLimits, ControlConfig, LibraryConfig, Pace, SimulatedLibrary,
};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::agent::stopped;
use crate::connection::URL_FILE;
use crate::failure::Failure;
use crate::out::Out;
pub(crate) use child::AgentProcess;
#[cfg(not(feature = "aws-endpoints"))]
use no_endpoints as endpoints;
pub(crate) use setup::{Setup, Size, UpArgs};

/// How long the first inventory may take before `up` says that it is ready anyway.
const INVENTORY_TIMEOUT: Duration = Duration::from_secs(30);
/// After how many deaths of the agent in a row `up` does not wait for an inventory.
const HOPELESS: u32 = 5;
/// Where the agent reports its inventory.
const INVENTORY_PATH: &str = "/agent/v1/inventory";
/// How many lines of the agent's log are shown where it does not report.
const LAST_WORDS: usize = 10;
/// How long requests under way may take when the stack stops.
const GOODBYE: Duration = Duration::from_secs(5);

/// The names of an installation on one machine.
struct Names {
    agent: AgentId,
    library: LibraryId,
    pool: PoolName,
}

impl Names {
    fn of(setup: &Setup) -> Result<Self, Failure> {
        Ok(Self {
            agent: "agent-1".parse()?,
            library: "lib-1".parse()?,
            pool: match &setup.pool {
                Some(pool) => pool.clone(),
                None => "main".parse()?,
            },
        })
    }
}

/// A stack at work in this process.
pub(crate) struct Running {
    /// Where.
    pub(crate) url: String,
    /// The operator's token.
    pub(crate) token: String,
    /// The library's name.
    pub(crate) library: LibraryId,
    /// The agent's process.
    pub(crate) agent: AgentProcess,
    /// The control plane, for measurements.
    pub(crate) control: control::Control,
    /// Whether the agent has reported an inventory since the start, and it was taken.
    inventory: watch::Receiver<bool>,
    data_dir: PathBuf,
    stack: Stack,
    /// Where catalogue and objects are, if not below the data directory.
    served: Option<endpoints::Served>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

/// Runs the stack until a signal says to stop.
///
/// # Errors
/// When the data directory is in use, the address is taken, or a file cannot be used.
pub(crate) async fn up(out: &Out, data_dir: PathBuf, args: UpArgs) -> Result<(), Failure> {
    let no_agent = args.no_agent;
    let reserve = args.reserve;
    let stop = stopped()?;
    let setup = files::last_setup(&data_dir)?.with(args)?;
    let running = start(&data_dir, &setup).await?;
    if let Some(reserve) = reserve {
        keep_free(&running.control, &setup, Bytes(reserve.0)).await?;
    }
    let keeping = keep_once_proven(&running, &setup);
    if !no_agent {
        running.agent.start();
        if running.wait_for_inventory().await {
            keeping.await??;
        }
    }
    let mut ready = json!({
        "url": running.url,
        "data": running.data_dir,
        "token_file": running.data_dir.join(crate::connection::TOKEN_FILE),
        "pid": std::process::id(),
    });
    if let Some(served) = &running.served {
        ready["aws"] = served.view();
    }
    out.show(&ready, |style| {
        format!(
            "{} at {}\n  data   {}\n  token  {}\n  roots  {}\n{}Stop with Ctrl-C.\n",
            style.green("Tapemark is up"),
            style.bold(&running.url),
            running.data_dir.display(),
            running
                .data_dir
                .join(crate::connection::TOKEN_FILE)
                .display(),
            match setup.allow_root.as_slice() {
                [] => "none: artifacts on this machine need --allow-root DIR".to_owned(),
                roots => {
                    let roots: Vec<_> = roots
                        .iter()
                        .map(|root| root.display().to_string())
                        .collect();
                    roots.join(", ")
                }
            },
            running
                .served
                .as_ref()
                .map(endpoints::Served::lines)
                .unwrap_or_default(),
        )
    })?;
    stop.await;
    out.note("finishing what is on its way to tape; interrupt again to stop at once");
    let again = stopped()?;
    tokio::select! {
        () = running.shutdown() => Ok(()),
        () = again => Ok(()),
    }
}

/// Sets what the pool keeps free on each volume; the pool of a first start has it already.
async fn keep_free(
    control: &control::Control,
    setup: &Setup,
    reserve: Bytes,
) -> Result<(), Failure> {
    let who = Principal::Operator;
    let pool = control.pool(&who, &Names::of(setup)?.pool).await?;
    if pool.reserve != reserve {
        control.put_pool(&who, Pool { reserve, ..pool }).await?;
    }
    Ok(())
}

/// Keeps the setup for the next start once an agent has worked with it: one that cannot
/// work is not to be in the way of the next start.
fn keep_once_proven(running: &Running, setup: &Setup) -> JoinHandle<Result<(), Failure>> {
    let mut inventory = running.inventory.clone();
    let data_dir = running.data_dir.clone();
    let setup = setup.clone();
    tokio::spawn(async move {
        if inventory.wait_for(|taken| *taken).await.is_ok() {
            let kept = files::keep_setup(&data_dir, &setup);
            if let Err(error) = &kept {
                tracing::error!(?error, "the setup is not kept for the next start");
            }
            return kept;
        }
        Ok(())
    })
}

/// The router, and whether an inventory came in over it that was taken.
fn watch_inventory(router: Router) -> (Router, watch::Receiver<bool>) {
    let (told, inventory) = watch::channel(false);
    let router = router.layer(from_fn(move |request: Request, next: Next| {
        let told = told.clone();
        async move {
            let inventory = request.uri().path() == INVENTORY_PATH;
            let response = next.run(request).await;
            if inventory && response.status().is_success() {
                told.send_replace(true);
            }
            response
        }
    }));
    (router, inventory)
}

/// Starts everything but the agent.
///
/// # Errors
/// As [`up`].
pub(crate) async fn start(data_dir: &Path, setup: &Setup) -> Result<Running, Failure> {
    let names = Names::of(setup)?;
    let authority = policies::load(setup.policies.as_deref())?;
    let listener = TcpListener::bind(setup.listen).await.map_err(|error| {
        Failure::Usage(format!(
            "--listen: expected {} to be free: {error}",
            setup.listen
        ))
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let pool = Pool {
        name: names.pool.clone(),
        library: names.library.clone(),
        copies: 1,
        reserve: setup.reserve(),
        write_drives: u8::try_from(setup.drives / 2).unwrap_or(u8::MAX).max(1),
        fallback: model::Fallback::BuiltIn,
    };
    files::check_place(data_dir, setup)?;
    // Before there is a catalogue, so that one without an identity means a lost identity.
    files::age_identity(data_dir)?;
    let mut config = StackConfig::new(data_dir, pool);
    config.allowed_roots = setup.allow_root.clone();
    config.agents = vec![names.agent.clone()];
    config.s3 = s3_source(setup).await?;
    config.resolvers = Some(resolvers::setup());
    let served = match setup.aws_endpoints {
        Some(address) => {
            let (served, stores) =
                endpoints::start(data_dir, address, &config.pool, setup.seed).await?;
            config.stores = Some(stores);
            Some(served)
        }
        None => None,
    };
    let stack = Stack::start(config).await?;
    let data_dir = data_dir.canonicalize()?;
    let tokens = FileTokens::open(data_dir.join("tokens.json"))?;
    let token = files::operator_token(&data_dir, &tokens)?;
    let key_file = std::path::absolute(stack.agent_key_file(&names.agent))?;
    let agent_file = files::write_agent_config(
        &data_dir,
        &agent_config(&data_dir, setup, &names, &url, key_file)?,
    )?;
    files::write(&data_dir.join(URL_FILE), url.as_bytes())?;
    let api = Api {
        control: stack.control.clone().with_authority(authority),
        tokens: Arc::new(tokens),
        runs: Arc::new(Histories(stack.runner.clone())),
        clock: Arc::new(SystemClock),
        library: names.library.clone(),
        local: true,
    };
    let (agent_router, inventory) = watch_inventory(stack.agent_router());
    let router = api::router(api).merge(agent_router);
    let (stop, stopped) = oneshot::channel::<()>();
    // Without this a small answer in two writes waits 40 ms for the asker's delayed ACK.
    let listener = listener.tap_io(|stream| {
        // A connection that is gone needs no option.
        let _ = stream.set_nodelay(true);
    });
    let server = tokio::spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(async {
                // A sender that is gone means the same.
                let _ = stopped.await;
            })
            .await
    });
    Ok(Running {
        url,
        token,
        library: names.library,
        agent: AgentProcess::new(agent_file, &data_dir),
        control: stack.control.clone(),
        inventory,
        data_dir,
        stack,
        served,
        stop,
        server,
    })
}

#[cfg(feature = "s3")]
async fn s3_source(setup: &Setup) -> Result<Option<Arc<dyn S3Source>>, Failure> {
    if !setup.s3 {
        return Ok(None);
    }
    let connection = aws::Connection {
        endpoint: setup.s3_endpoint.clone(),
    };
    let store = aws::ArtifactStore::connect(&connection).await;
    Ok(Some(Arc::new(s3::FromS3(store))))
}

#[cfg(not(feature = "s3"))]
async fn s3_source(setup: &Setup) -> Result<Option<Arc<dyn S3Source>>, Failure> {
    if setup.s3 {
        return Err(Failure::Usage(
            "--s3: expected a tapemark built with the feature `s3`".to_owned(),
        ));
    }
    Ok(None)
}

fn agent_config(
    data_dir: &Path,
    setup: &Setup,
    names: &Names,
    url: &str,
    key_file: PathBuf,
) -> Result<AgentConfig, Failure> {
    let (identity_file, recipient) = files::age_identity(data_dir)?;
    Ok(AgentConfig {
        agent: names.agent.clone(),
        control: ControlConfig {
            url: url.to_owned(),
            key_file,
            ca_file: None,
        },
        library: LibraryConfig::Simulated(SimulatedLibrary {
            id: names.library.clone(),
            dir: data_dir.join("library"),
            drives: setup.drives,
            slots: setup.slots,
            capacity: Bytes(setup.capacity.0),
            timing: setup.timing,
            faults: setup.faults.clone(),
        }),
        recipients: vec![recipient],
        identity_file: Some(identity_file),
        journal_dir: data_dir.join("agent"),
        restore_roots: vec![data_dir.join("restore")],
        batch: BatchLimits::default(),
        pace: Pace::default(),
    })
}

impl Running {
    /// Waits until the agent has said what is in the library, so that the first submission
    /// finds volumes. Where it does not, says so on standard error, and gives false.
    pub(crate) async fn wait_for_inventory(&self) -> bool {
        let mut inventory = self.inventory.clone();
        let why = tokio::select! {
            // An end of the sender is an end of the server, which the caller will notice.
            taken = inventory.wait_for(|taken| *taken) => return taken.is_ok(),
            () = self.agent.died(HOPELESS) => format!("it died {HOPELESS} times in a row"),
            () = tokio::time::sleep(INVENTORY_TIMEOUT) => {
                format!("waited {} seconds", INVENTORY_TIMEOUT.as_secs())
            }
        };
        let mut text = format!(
            "warning: the agent has not reported an inventory ({why}); nothing can be written, \
             and these options are not kept for the next start. The end of {}:\n",
            self.data_dir.join("agent.log").display()
        );
        for line in self.agent.last_words(LAST_WORDS) {
            text.push_str(&format!("  {line}\n"));
        }
        // Nothing is lost where it cannot be shown: the log has it.
        let _ = std::io::stderr().write_all(text.as_bytes());
        false
    }

    /// Stops: the agent first, which finishes its batch, then the API, then the rest.
    pub(crate) async fn shutdown(self) {
        self.agent.stop().await;
        // A server that is gone already needs no telling.
        let _ = self.stop.send(());
        if tokio::time::timeout(GOODBYE, self.server).await.is_err() {
            tracing::info!("requests under way are cut off");
        }
        self.stack.shutdown().await;
        if let Some(served) = self.served {
            served.shutdown().await;
        }
        // A stale file would only make the next command's message less clear.
        let _ = std::fs::remove_file(self.data_dir.join(URL_FILE));
    }
}

/// The runner's histories for the API.
struct Histories(Runner);

#[async_trait]
impl RunHistory for Histories {
    async fn history(&self, run: &RunId) -> Result<Vec<Value>, Refusal> {
        self.0.history(run).await.map_err(|error| {
            let code = match error {
                RunnerError::NotFound(_) => Code::NotFound,
                RunnerError::Unavailable(_) => Code::Transient,
                _ => Code::Internal,
            };
            Refusal::new(code, error.to_string())
        })
    }
}
