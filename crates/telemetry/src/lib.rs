//! What Tapemark says of itself while it works: logs, metrics, traces.
//!
//! It formats and hides; it never decides what is worth saying, opens no port, and writes
//! no line that holds a token, a signature or a presigned URL's credentials: every line
//! passes [`redact`] last, whoever wrote it.
//!
//! ```
//! use telemetry::{Metric, Metrics, Unit, redact};
//!
//! let line = redact("GET https://b.s3.amazonaws.com/k?X-Amz-Signature=0123456789abcdef&x=1");
//! assert_eq!(line, "GET https://b.s3.amazonaws.com/k?X-Amz-Signature=[redacted]&x=1");
//!
//! // CloudWatch reads metrics from such lines of a function's output.
//! let mut metrics = Metrics::new("Tapemark", [("FunctionName", "validate")]);
//! metrics.add(Metric::new("ColdStart", Unit::Count, 1.0));
//! assert!(metrics.to_line(jiff::Timestamp::UNIX_EPOCH).contains("\"ColdStart\":1"));
//! ```

mod logs;
mod metrics;
#[cfg(feature = "otel")]
mod otel;
mod redact;

pub use logs::{Filter, Format, LogError, Logs, layer};
pub use metrics::{Metric, Metrics, Unit};
#[cfg(feature = "otel")]
pub use otel::{Traces, TracesError};
pub use redact::redact;
