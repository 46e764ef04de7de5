//! Metrics as CloudWatch reads them from log lines: the embedded metric format
//! (CloudWatch user guide, *Specification: Embedded metric format*).
//!
//! Written here and not taken from a crate: what we need of the format is one object, and
//! the crates there are bring a global recorder with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The unit of a metric, as CloudWatch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How many.
    Count,
    /// Thousandths of a second.
    Milliseconds,
}

impl Unit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    name: &'static str,
    unit: Unit,
    value: f64,
    by: Option<Dimension>,
}

impl Metric {
    /// A value.
    pub const fn new(name: &'static str, unit: Unit, value: f64) -> Self {
        Self {
            name,
            unit,
            value,
            by: None,
        }
    }

    /// The same under one more dimension, such as the code of a refusal.
    #[must_use]
    pub fn by(mut self, dimension: &'static str, value: impl Into<String>) -> Self {
        self.by = Some((dimension, value.into()));
        self
    }
}

/// A dimension and its value.
type Dimension = (&'static str, String);

/// The metrics of one piece of work, such as an invocation.
#[derive(Clone, Debug)]
pub struct Metrics {
    namespace: &'static str,
    dimensions: Vec<Dimension>,
    properties: BTreeMap<&'static str, Value>,
    metrics: Vec<Metric>,
}

impl Metrics {
    /// None yet, under dimensions that all of them share. CloudWatch sums them up under the
    /// first dimension, under the first two, and so on.
    pub fn new<V: Into<String>>(
        namespace: &'static str,
        dimensions: impl IntoIterator<Item = (&'static str, V)>,
    ) -> Self {
        Self {
            namespace,
            dimensions: dimensions
                .into_iter()
                .map(|(name, value)| (name, value.into()))
                .collect(),
            properties: BTreeMap::new(),
            metrics: Vec::new(),
        }
    }

    /// Something to find the line by that is no dimension, such as a request's id.
    pub fn property(&mut self, name: &'static str, value: impl Into<Value>) {
        self.properties.insert(name, value.into());
    }

    /// One more value. Of one name and dimension the last stands.
    pub fn add(&mut self, metric: Metric) {
        self.metrics.push(metric);
    }

    /// The lines: one for the metrics without a dimension of their own, and one for each
    /// value of such a dimension, because a member of the object has one value only.
    pub fn to_line(&self, now: Timestamp) -> String {
        let mut groups: Vec<(Option<&Dimension>, Vec<&Metric>)> = Vec::new();
        for metric in &self.metrics {
            let by = metric.by.as_ref();
            match groups.iter_mut().find(|(found, _)| *found == by) {
                Some((_, metrics)) => metrics.push(metric),
                None => groups.push((by, vec![metric])),
            }
        }
        let lines: Vec<String> = groups
            .into_iter()
            .map(|(by, metrics)| self.object(now, by, &metrics).to_string())
            .collect();
        lines.join("\n")
    }

    fn object(&self, now: Timestamp, by: Option<&Dimension>, metrics: &[&Metric]) -> Value {
        let mut object = Map::new();
        let dimensions = self.dimensions.iter().chain(by);
        let names: Vec<&str> = dimensions.clone().map(|(name, _)| *name).collect();
        let sets: Vec<&[&str]> = match by {
            None => (1..=names.len()).map(|n| &names[..n]).collect(),
            Some(_) => vec![&names],
        };
        let directive: Vec<Value> = metrics
            .iter()
            .map(|metric| json!({"Name": metric.name, "Unit": metric.unit.as_str()}))
            .collect();
        object.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": now.as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": self.namespace,
                    "Dimensions": sets,
                    "Metrics": directive,
                }],
            }),
        );
        for (name, value) in dimensions {
            object.insert((*name).to_owned(), json!(value));
        }
        for (name, value) in &self.properties {
            object.insert((*name).to_owned(), value.clone());
        }
        for metric in metrics {
            // Whole numbers without a fraction: lines are read by people too.
            let value = if metric.value.fract() == 0.0 && metric.value.abs() < 1e15 {
                json!(metric.value as i64)
            } else {
                json!(metric.value)
            };
            object.insert(metric.name.to_owned(), value);
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_line_is_what_cloudwatch_documents() {
        let mut metrics = Metrics::new("Tapemark", [("FunctionName", "f"), ("Op", "check")]);
        metrics.property("request_id", "r-1");
        metrics.add(Metric::new("Duration", Unit::Milliseconds, 1.5));
        metrics.add(Metric::new("ColdStart", Unit::Count, 1.0));
        metrics.add(Metric::new("Refusals", Unit::Count, 1.0).by("Code", "Tapemark.PoolFull"));
        expect![[r#"
            {"_aws":{"Timestamp":0,"CloudWatchMetrics":[{"Namespace":"Tapemark","Dimensions":[["FunctionName"],["FunctionName","Op"]],"Metrics":[{"Name":"Duration","Unit":"Milliseconds"},{"Name":"ColdStart","Unit":"Count"}]}]},"FunctionName":"f","Op":"check","request_id":"r-1","Duration":1.5,"ColdStart":1}
            {"_aws":{"Timestamp":0,"CloudWatchMetrics":[{"Namespace":"Tapemark","Dimensions":[["FunctionName","Op","Code"]],"Metrics":[{"Name":"Refusals","Unit":"Count"}]}]},"FunctionName":"f","Op":"check","Code":"Tapemark.PoolFull","request_id":"r-1","Refusals":1}"#]]
        .assert_eq(&metrics.to_line(Timestamp::UNIX_EPOCH));
    }
}
