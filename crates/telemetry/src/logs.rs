//! Logs: one line an event, JSON on servers, text for people, secrets hidden in both.

use std::fmt;
use std::str::FromStr as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::redact;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line: `timestamp`, `level`, `target`, `message`, then the fields of
    /// the event and of the spans around it, the innermost last.
    Json,
    /// For people.
    Text,
}

/// What is logged: `level` or `level,target=level,…`.
#[derive(Clone, Debug)]
pub struct Filter(Targets);

/// A filter that is none.
#[derive(Debug, thiserror::Error)]
#[error("expected a level or `level,target=level`, found {found:?}: {why}")]
pub struct LogError {
    found: String,
    why: String,
}

impl Filter {
    /// A filter of directives as in `RUST_LOG`, such as `info,aws_smithy_runtime=debug`.
    ///
    /// # Errors
    /// Where a directive is none; spans and fields in them are not known here.
    pub fn parse(text: &str) -> Result<Self, LogError> {
        // CloudWatch knows a level that we have not.
        let text = if text.eq_ignore_ascii_case("fatal") {
            "error"
        } else {
            text
        };
        Targets::from_str(text).map(Self).map_err(|error| LogError {
            found: text.to_owned(),
            why: error.to_string(),
        })
    }
}

/// How to log.
#[derive(Clone, Debug)]
pub struct Logs {
    /// How lines look.
    pub format: Format,
    /// What is logged.
    pub filter: Filter,
}

impl Logs {
    /// As a function on Lambda is told: `AWS_LAMBDA_LOG_FORMAT` (`JSON`, else text),
    /// `AWS_LAMBDA_LOG_LEVEL`, and over it `RUST_LOG`; information and above where neither
    /// says anything. JSON also where nobody says a format: those are servers.
    ///
    /// # Errors
    /// Where a filter is none, with the name of its variable.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self, LogError> {
        let format = match get("AWS_LAMBDA_LOG_FORMAT") {
            Some(text) if text.eq_ignore_ascii_case("text") => Format::Text,
            _ => Format::Json,
        };
        let set = |name: &str| get(name).filter(|text| !text.is_empty());
        let (name, text) = match (set("RUST_LOG"), set("AWS_LAMBDA_LOG_LEVEL")) {
            (Some(text), _) => ("RUST_LOG", text),
            (None, Some(text)) => ("AWS_LAMBDA_LOG_LEVEL", text),
            (None, None) => ("RUST_LOG", "info".to_owned()),
        };
        let filter = Filter::parse(&text).map_err(|error| LogError {
            found: format!("{name}={}", error.found),
            why: error.why,
        })?;
        Ok(Self { format, filter })
    }
}

/// The layer that writes the lines, for `tracing_subscriber::registry().with(…)`.
pub fn layer<S, W>(logs: Logs, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let fmt = tracing_subscriber::fmt::layer().with_writer(writer);
    match logs.format {
        Format::Json => fmt
            .fmt_fields(JsonFields::new())
            .event_format(Redacted(Json))
            .with_filter(logs.filter.0)
            .boxed(),
        Format::Text => fmt
            .with_ansi(false)
            .fmt_fields(DefaultFields::new())
            .event_format(Redacted(tracing_subscriber::fmt::format()))
            .with_filter(logs.filter.0)
            .boxed(),
    }
}

/// A format without its secrets.
struct Redacted<F>(F);

impl<S, N, F> FormatEvent<S, N> for Redacted<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&redact(&line))
    }
}

/// One flat object a line.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut object = Map::new();
        let metadata = event.metadata();
        let now = jiff::Timestamp::now();
        object.insert("timestamp".to_owned(), format!("{now:.3}").into());
        object.insert("level".to_owned(), metadata.level().as_str().into());
        object.insert("target".to_owned(), metadata.target().into());
        object.insert("message".to_owned(), Value::Null);
        let fixed = object.len();
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                let extensions = span.extensions();
                let Some(fields) = extensions.get::<FormattedFields<N>>() else {
                    continue;
                };
                if let Ok(Value::Object(fields)) = serde_json::from_str(fields) {
                    object.extend(fields);
                }
            }
        }
        event.record(&mut Fields(&mut object));
        if object.get("message").is_some_and(Value::is_null) {
            object.insert("message".to_owned(), metadata.name().into());
        }
        debug_assert!(object.len() >= fixed);
        writeln!(writer, "{}", Value::Object(object))
    }
}

/// The fields of an event, into an object.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(environment: &[(&str, &str)], work: impl FnOnce()) -> String {
        let kept = Kept::default();
        let out = kept.clone();
        let get = |name: &str| {
            let found = environment.iter().find(|(found, _)| *found == name)?;
            Some(found.1.to_owned())
        };
        let logs = Logs::from_env(get).unwrap();
        let subscriber = tracing_subscriber::registry().with(layer(logs, move || out.clone()));
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_is_one_object_with_the_fields_of_all_spans() {
        let text = logged(&[("AWS_LAMBDA_LOG_FORMAT", "JSON")], || {
            let outer = tracing::info_span!("invocation", request_id = "r-1", cold_start = true);
            let _outer = outer.enter();
            let inner = tracing::info_span!("phase", run = "run-1", step = 1);
            let _inner = inner.enter();
            tracing::warn!(step = 2, text_of_two = %"a\nb", "said");
        });
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text.lines().count(), 1);
        for (name, value) in [
            ("level", Value::from("WARN")),
            ("message", "said".into()),
            ("request_id", "r-1".into()),
            ("cold_start", true.into()),
            ("run", "run-1".into()),
            ("step", 2.into()),
            ("text_of_two", "a\nb".into()),
        ] {
            assert_eq!(line[name], value, "{name} in {text}");
        }
        assert!(
            line["timestamp"]
                .as_str()
                .is_some_and(|text| text.ends_with('Z'))
        );
    }

    #[test]
    fn no_format_shows_a_secret() {
        for format in ["JSON", "Text"] {
            let text = logged(&[("AWS_LAMBDA_LOG_FORMAT", format)], || {
                let span = tracing::info_span!("invocation", authorization = "Bearer sesame-opens");
                let _span = span.enter();
                tracing::error!(
                    task_token = "sesame-opens-the-task",
                    url = "https://b/k?X-Amz-Signature=sesame-opens-all&x=1",
                    "header authorization: Bearer sesame-opens-up"
                );
            });
            assert!(!text.contains("sesame"), "{format}: {text}");
            assert!(text.contains("x=1"), "{format}: {text}");
        }
    }

    #[test]
    fn what_is_logged_follows_the_environment() {
        let speak = || {
            tracing::error!("one");
            tracing::info!("two");
            tracing::debug!("three");
        };
        let count = |environment: &[(&str, &str)]| logged(environment, speak).lines().count();
        assert_eq!(count(&[]), 2);
        assert_eq!(count(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")]), 1);
        assert_eq!(count(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]), 3);
        let both = [("AWS_LAMBDA_LOG_LEVEL", "DEBUG"), ("RUST_LOG", "warn")];
        assert_eq!(count(&both), 1);
        let other = [("RUST_LOG", "error,telemetry=debug")];
        assert_eq!(count(&other), 3);
    }

    #[test]
    fn a_filter_that_is_none_names_its_variable() {
        let get = |name: &str| (name == "RUST_LOG").then(|| "telemetry=loud".to_owned());
        let error = Logs::from_env(get).unwrap_err().to_string();
        assert!(error.contains("RUST_LOG=telemetry=loud"), "{error}");
    }
}
