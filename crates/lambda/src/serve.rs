//! From the start of the process to the first poll, and after.

use std::fmt::Debug;
use std::future::Future;
use std::time::Instant;

use lambda_runtime::{Diagnostic, LambdaEvent};
use serde::Serialize;
use serde::de::DeserializeOwned;
use telemetry::Logs;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::Environment;

/// The name under which Lambda knows us as an extension: without one it kills a function
/// and sends no signal before (Lambda developer guide, *Shutdown phase*).
const EXTENSION: &str = "tapemark-graceful-shutdown";

/// What ends with the process.
#[derive(Clone)]
pub struct Started {
    at: Instant,
    #[cfg(feature = "otel")]
    traces: telemetry::Traces,
}

/// Sets up logs, and traces with the feature `otel`. To be called once, first.
///
/// # Errors
/// Where the environment names a filter that is none.
pub fn start(environment: &Environment) -> Result<Started, lambda_runtime::Error> {
    let logs = Logs::from_env(|name| environment.get(name))?;
    let registry = tracing_subscriber::registry().with(telemetry::layer(logs, std::io::stdout));
    let at = Instant::now();
    #[cfg(feature = "otel")]
    {
        let name = environment.get("AWS_LAMBDA_FUNCTION_NAME");
        let traces = telemetry::Traces::new(name.as_deref().unwrap_or("tapemark"))?;
        registry.with(traces.layer()).try_init()?;
        Ok(Started { at, traces })
    }
    #[cfg(not(feature = "otel"))]
    {
        registry.try_init()?;
        Ok(Started { at })
    }
}

impl Started {
    /// What must be done before the process is frozen or ends.
    pub(crate) fn flush(&self) {
        #[cfg(feature = "otel")]
        self.traces.flush();
    }
}

/// Polls Lambda for events until the process is told to end.
///
/// # Errors
/// Where the Runtime API cannot be asked.
pub async fn serve<A, R, F, Fut, E>(
    started: Started,
    handler: F,
) -> Result<(), lambda_runtime::Error>
where
    A: DeserializeOwned,
    R: Serialize,
    F: Fn(LambdaEvent<A>) -> Fut,
    Fut: Future<Output = Result<R, E>>,
    E: Into<Diagnostic> + Debug,
{
    watch_for_the_end(started.clone()).await;
    let service = lambda_runtime::service_fn(move |event| {
        let answer = handler(event);
        let started = started.clone();
        async move {
            let answer = answer.await;
            started.flush();
            answer
        }
    });
    lambda_runtime::Runtime::new(service).run().await
}

/// Sees to it that Lambda tells before it ends the process, and that what waits is sent
/// then. Where it does not take extensions, as some emulators, functions end without a word.
pub(crate) async fn watch_for_the_end(started: Started) {
    let registered = lambda_extension::Extension::new()
        .with_events(&[])
        .with_extension_name(EXTENSION)
        .register()
        .await;
    match registered {
        Ok(extension) => {
            // It asks once for events it did not subscribe to, which ends the init phase,
            // and waits for ever.
            tokio::spawn(async move {
                if let Err(error) = extension.run().await {
                    tracing::debug!(%error, "no more an extension");
                }
            });
        }
        Err(error) => tracing::debug!(%error, "nobody tells before the end"),
    }
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!(seconds = started.at.elapsed().as_secs(), "told to end");
        started.flush();
        std::process::exit(0);
    });
}
