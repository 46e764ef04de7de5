//! Spans to an OTLP collector.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("traces: {0}")]
pub struct TracesError(String);

/// Sends spans to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names (by default
/// `http://localhost:4318`, where the layer of the AWS Distro for OpenTelemetry listens).
#[derive(Clone, Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// An exporter for the spans of a service.
    ///
    /// # Errors
    /// Where the endpoint is no URL.
    pub fn new(service: &str) -> Result<Self, TracesError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| TracesError(error.to_string()))?;
        let resource = Resource::builder()
            .with_service_name(service.to_owned())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Self(provider))
    }

    /// The layer that hands spans over, for `tracing_subscriber::registry().with(…)`.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("tapemark"))
    }

    /// Sends what waits: a function is frozen once it has answered. What the collector does
    /// not take is lost, and said so in the log.
    pub fn flush(&self) {
        if let Err(error) = self.0.force_flush() {
            tracing::warn!(%error, "spans were not exported");
        }
    }
}
