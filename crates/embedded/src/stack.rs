//! Everything under one data directory, assembled.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use control::ledger::HashChain;
use control::ports::{NoResolvers, Objects, Ports, Resolvers, Table, TableError};
use control::{Control, Principal};
use jiff::SignedDuration;
use model::{AgentId, AgentKey, Code, Pool, Refusal};
use rustix::fs::FlockOperation;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::delivered::{self, Deliveries};
use crate::runner::RunnerPorts;
use crate::store::Store;
use crate::{
    LocalObjects, LocalQueue, LocalResolvers, LocalTable, ResolverSetup, Runner, RunnerError,
    RunnerOptions, S3Source, SystemClock, SystemRandomness, pump, resolvers,
};

/// The state machine that every installation runs, on AWS and here.
pub const DEFINITION: &str = include_str!("../../../infra/state-machine/checkpoint.asl.json");

/// The secret that signs records of resolvers.
const SIGNING_KEY: &str = "resolver-records.ed25519";

/// How long [`Stack::shutdown`] waits for phases at work.
const LONGEST_GOODBYE: Duration = Duration::from_secs(10);

/// How an installation on one machine is set up.
#[derive(Clone)]
pub struct StackConfig {
    /// Where everything lies. Made where it is not there; readable by its owner only.
    pub data_dir: PathBuf,
    /// Directories that `file://` artifacts may come from. None: no file may. What lies
    /// below `data_dir` is no source even where `data_dir` lies below one of them.
    pub allowed_roots: Vec<PathBuf>,
    /// The pool that the first start creates, with its library. Later starts leave the
    /// catalogue's pool as it is.
    pub pool: Pool,
    /// The agents of this installation: each has a key of its own in `keys/`, registered at
    /// each start.
    pub agents: Vec<AgentId>,
    /// A state machine to run instead of [`DEFINITION`].
    pub definition: Option<PathBuf>,
    /// Where `s3://` artifacts are read from.
    pub s3: Option<Arc<dyn S3Source>>,
    /// Another table and other objects than those below `data_dir`. Executions and
    /// resolvers stay there.
    pub stores: Option<Stores>,
    /// The control plane's settings.
    pub settings: control::Settings,
    /// The runner's limits.
    pub runner: RunnerOptions,
    /// How often to look for effects when no bell rings.
    pub effects_poll: Duration,
    /// How often to end sessions whose lease ran out.
    pub sweep_every: Duration,
    /// For how long executions that are over are kept (Step Functions: 90 days).
    pub keep_executions: SignedDuration,
    /// For how long what was brought back is kept in `restore/` once it is whole. It is
    /// plaintext.
    pub keep_restores: SignedDuration,
    /// Conflict resolvers: what is built in, and what compiles. Without them the native
    /// policy decides, and nothing can be published.
    pub resolvers: Option<ResolverSetup>,
}

/// A catalogue and objects that lie elsewhere than below the data directory.
///
/// The objects deliver restores to `restore/` below the data directory, from where the stack
/// removes them in time.
#[derive(Clone)]
pub struct Stores {
    /// The catalogue's table.
    pub table: Arc<dyn Table>,
    /// Sources, pins and documents.
    pub objects: Arc<dyn Objects>,
}

impl StackConfig {
    /// The usual setup, with no allowed root and no agent.
    pub fn new(data_dir: impl Into<PathBuf>, pool: Pool) -> Self {
        Self {
            data_dir: data_dir.into(),
            allowed_roots: Vec::new(),
            pool,
            agents: Vec::new(),
            definition: None,
            s3: None,
            stores: None,
            settings: control::Settings::default(),
            runner: RunnerOptions::default(),
            effects_poll: Duration::from_secs(1),
            sweep_every: Duration::from_secs(2),
            keep_executions: SignedDuration::from_hours(90 * 24),
            keep_restores: delivered::KEEP,
            resolvers: None,
        }
    }
}

/// Why the stack did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// Another process works in the data directory.
    #[error(
        "expected {} to be free, found it in use by process {holder}; stop that one, or name \
         another data directory",
        .data_dir.display()
    )]
    InUse {
        /// The directory.
        data_dir: PathBuf,
        /// The other's process id, as far as it is known.
        holder: String,
    },
    /// A file or directory could not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// What came of it.
        source: io::Error,
    },
    /// The catalogue cannot be opened.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The state machine cannot run.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// Resolvers cannot run here.
    #[error("resolvers: {0}")]
    Resolvers(#[from] resolver::HostError),
    /// The control plane refused its own setup.
    #[error(transparent)]
    Control(#[from] Refusal),
}

/// An installation at work.
pub struct Stack {
    /// The control plane.
    pub control: Control,
    /// The state machine's executions.
    pub runner: Runner,
    data_dir: PathBuf,
    store: Arc<Store>,
    background: Vec<JoinHandle<()>>,
    stop: DropGuard,
    _lock: Lock,
}

impl Stack {
    /// Takes the data directory, repairs what a crash left, goes on with every execution,
    /// and begins to tell effects and to sweep.
    ///
    /// # Errors
    /// [`StackError`]; nothing is left running.
    pub async fn start(config: StackConfig) -> Result<Self, StackError> {
        let data_dir = config.data_dir.clone();
        let opened = tokio::task::spawn_blocking({
            let config = config.clone();
            move || Opened::new(&config)
        });
        let opened = opened
            .await
            .map_err(|panic| io("start", io::Error::other(panic)))??;
        let Opened {
            lock,
            store,
            objects,
            agents,
            definition,
            resolvers,
        } = opened;
        let port: Arc<dyn Resolvers> = match &resolvers {
            Some(local) => Arc::new(local.clone()),
            None => Arc::new(NoResolvers),
        };
        let library = config.pool.library.clone();
        let stores = config.stores.unwrap_or_else(|| Stores {
            table: Arc::new(LocalTable::new(store.clone())),
            objects: Arc::new(objects),
        });
        let ports = Ports {
            table: stores.table,
            objects: stores.objects,
            queue: Arc::new(LocalQueue::default()),
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            ledger: Arc::new(HashChain),
            resolvers: port,
        };
        let control = Control::with(ports, config.settings);
        create_pool(&control, config.pool).await?;
        for (agent, key) in &agents {
            let who = Principal::Operator;
            control.register_agent(&who, agent, &library, *key).await?;
        }
        let built_in = config.resolvers.map_or_else(Vec::new, |r| r.built_in);
        if let Some(local) = &resolvers {
            resolvers::set_up(&control, local, &built_in, &library).await?;
        }
        let ports = RunnerPorts {
            store: store.clone(),
            handlers: Arc::new(control.clone()),
            alarm: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
        };
        let runner = Runner::open(ports, &definition, config.runner).await?;
        let stop = CancellationToken::new();
        let mut background = vec![
            tokio::spawn(pump::tell_effects(
                control.clone(),
                runner.clone(),
                config.effects_poll,
                stop.clone(),
            )),
            tokio::spawn(pump::sweep(
                control.clone(),
                runner.clone(),
                config.sweep_every,
                config.keep_executions,
                stop.clone(),
            )),
            tokio::spawn(delivered::sweep(
                control.clone(),
                Deliveries::of(&data_dir),
                config.keep_restores,
                stop.clone(),
            )),
        ];
        if let Some(local) = resolvers {
            let stop = stop.clone();
            let prepared = resolvers::prepare(control.clone(), local, built_in, stop);
            background.push(tokio::spawn(prepared));
        }
        Ok(Self {
            control,
            runner,
            data_dir,
            store,
            background,
            stop: stop.drop_guard(),
            _lock: lock,
        })
    }

    /// The agent protocol. The caller binds it to an address.
    pub fn agent_router(&self) -> Router {
        gateway::router(self.control.clone())
    }

    /// A secret of this installation, such as an API token: `keys/<name>`, 64 hexadecimal
    /// digits, drawn when it is first asked for.
    ///
    /// # Errors
    /// Where the file cannot be read or made.
    pub fn secret(&self, name: &str) -> Result<String, StackError> {
        secret(&self.data_dir, name)
    }

    /// Where the key of an agent of this installation lies: `keys/agent-<id>.key`, in the
    /// form that the agent reads.
    pub fn agent_key_file(&self, agent: &AgentId) -> PathBuf {
        self.data_dir.join("keys").join(agent_key(agent))
    }

    /// Stops: no new work, phases at work may finish, everything written. What was not
    /// finished goes on at the next start.
    pub async fn shutdown(self) {
        self.stop.disarm().cancel();
        for task in self.background {
            // It ends by itself; a panic of it was logged where it happened.
            let _ = task.await;
        }
        self.runner.shutdown(LONGEST_GOODBYE).await;
        let store = self.store;
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}

/// What has to be opened from the disk.
struct Opened {
    lock: Lock,
    store: Arc<Store>,
    objects: LocalObjects,
    agents: Vec<(AgentId, AgentKey)>,
    definition: String,
    resolvers: Option<LocalResolvers>,
}

impl Opened {
    fn new(config: &StackConfig) -> Result<Self, StackError> {
        let data = &config.data_dir;
        crate::objects::make_private_dir(data)
            .map_err(|source| io(format!("data directory {}", data.display()), source))?;
        let lock = lock(data)?;
        let file = data.join("catalogue.redb");
        let store = Store::open(&file).map_err(TableError::from)?;
        let objects = LocalObjects::open(data, &config.allowed_roots, config.s3.clone())
            .map_err(|source| io("objects", source))?;
        let mut agents = Vec::with_capacity(config.agents.len());
        for agent in &config.agents {
            agents.push((agent.clone(), public_key(data, &agent_key(agent))?));
        }
        let definition = match &config.definition {
            None => DEFINITION.to_owned(),
            Some(path) => fs::read_to_string(path)
                .map_err(|source| io(format!("state machine {}", path.display()), source))?,
        };
        let resolvers = match &config.resolvers {
            None => None,
            Some(setup) => Some(LocalResolvers::open(
                &data.join("resolvers"),
                &data.join("tmp"),
                &signing_key(data)?,
                setup,
            )?),
        };
        Ok(Self {
            lock,
            store: Arc::new(store),
            objects,
            agents,
            definition,
            resolvers,
        })
    }
}

fn io(what: impl Into<String>, source: io::Error) -> StackError {
    StackError::Io {
        what: what.into(),
        source,
    }
}

/// The hold on a data directory. The kernel lets it go for a process that is killed.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that is being spawned just now still has a
        // copy of the file, and the hold with it.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

fn lock(data_dir: &Path) -> Result<Lock, StackError> {
    let path = data_dir.join("lock");
    let failed = |source| io(format!("lock {}", path.display()), source);
    let mut options = File::options();
    let options = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Only for the message; the lock itself is what counts.
            let _ = file.read_to_string(&mut holder);
            let data_dir = data_dir.to_owned();
            return Err(StackError::InUse {
                data_dir,
                holder: holder.trim().to_owned(),
            });
        }
        Err(error) => return Err(failed(error.into())),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(Lock(file))
}

fn agent_key(agent: &AgentId) -> String {
    format!("agent-{agent}.key")
}

/// The public half of a secret that is an Ed25519 key.
fn public_key(data_dir: &Path, name: &str) -> Result<AgentKey, StackError> {
    let seed = seed(data_dir, name)?;
    let key = ed25519_dalek::SigningKey::from_bytes(&seed);
    Ok(AgentKey(key.verifying_key().to_bytes()))
}

fn secret(data_dir: &Path, name: &str) -> Result<String, StackError> {
    let directory = data_dir.join("keys");
    let path = directory.join(name);
    let failed = |source| io(format!("secret {}", path.display()), source);
    if name.contains('/') {
        return Err(failed(io::Error::other("expected a plain file name")));
    }
    match fs::read_to_string(&path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Err(_) => {}
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| failed(io::Error::other(error.to_string())))?;
    let text = hex::encode(random);
    crate::objects::make_private_dir(&directory).map_err(failed)?;
    crate::objects::put_private_file(&data_dir.join("tmp"), &path, format!("{text}\n").as_bytes())
        .map_err(|error| failed(io::Error::other(error)))?;
    Ok(text)
}

/// The Ed25519 key that signs the records of this installation's resolvers.
fn signing_key(data_dir: &Path) -> Result<[u8; 32], StackError> {
    seed(data_dir, SIGNING_KEY)
}

/// The 32 bytes of a secret.
fn seed(data_dir: &Path, name: &str) -> Result<[u8; 32], StackError> {
    let mut key = [0; 32];
    let text = secret(data_dir, name)?;
    hex::decode_to_slice(&text, &mut key).map_err(|error| {
        let what = format!("secret {name}");
        io(
            what,
            io::Error::other(format!("expected 64 hexadecimal digits: {error}")),
        )
    })?;
    Ok(key)
}

async fn create_pool(control: &Control, pool: Pool) -> Result<(), Refusal> {
    match control.pool(&Principal::Operator, &pool.name).await {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.code == Code::NotFound => {
            control.put_pool(&Principal::Operator, pool).await
        }
        Err(refusal) => Err(refusal),
    }
}
