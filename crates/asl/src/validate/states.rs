//! The checks of each state type.

use serde_json::Value;

use super::{Checker, fields};

const TYPES: [&str; 8] = [
    "Task", "Wait", "Pass", "Succeed", "Fail", "Choice", "Parallel", "Map",
];

impl Checker {
    pub(super) fn state(&mut self, state: &Value, at: &str, machine_jsonata: bool) {
        let Some(members) = state.as_object() else {
            self.schema("Expected value of type Object", at);
            return;
        };
        let Some(found) = state.get("Type") else {
            self.schema("The field 'Type' is required", at);
            return;
        };
        let Some((state_type, allowed)) = found
            .as_str()
            .and_then(|name| fields::allowed(name).map(|fields| (name, fields)))
        else {
            let message = format!(
                "The field 'Type' should have one of these values: [{}]",
                TYPES.join(", ")
            );
            self.schema(message, format!("{at}/Type"));
            return;
        };
        for name in members.keys() {
            let common = matches!(name.as_str(), "Type" | "Comment" | "QueryLanguage");
            if !common && !allowed.contains(&name.as_str()) {
                self.schema(format!("Field '{name}' is not supported"), at);
            }
        }
        fields::string(self, state, "Comment", at);
        fields::one_of(self, state, "QueryLanguage", at, &["JSONPath", "JSONata"]);
        let own = state.get("QueryLanguage").and_then(Value::as_str);
        if machine_jsonata && own == Some("JSONPath") {
            let message =
                "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine";
            self.schema(message, at);
        }
        let jsonata = machine_jsonata || own == Some("JSONata");
        if jsonata && !machine_jsonata {
            let message = "QueryLanguage 'JSONata' is not supported by this engine yet";
            self.lacks(
                "UNSUPPORTED_QUERY_LANGUAGE",
                message,
                &format!("{at}/QueryLanguage"),
            );
        }
        self.language(state, state_type, at, jsonata);
        self.transition(state, state_type, at);
        match state_type {
            "Parallel" => self.parallel(state, at, machine_jsonata),
            "Map" => self.map(state, at, machine_jsonata, jsonata),
            _ => {}
        }
        if !jsonata {
            self.jsonpath_state(state, state_type, at);
        }
    }

    fn language(&mut self, state: &Value, state_type: &str, at: &str, jsonata: bool) {
        let Some(allowed) = fields::allowed(state_type) else {
            return;
        };
        let (language, other, wrong): (_, _, &[&str]) = if jsonata {
            ("JSONata", "JSONPath", &fields::JSONPATH_ONLY)
        } else {
            ("JSONPath", "JSONata", &fields::JSONATA_ONLY)
        };
        for field in wrong.iter().filter(|field| allowed.contains(field)) {
            if state.get(field).is_some() {
                let message = format!(
                    "The QueryLanguage is set to '{language}', but field '{field}' is only \
                     supported for the '{other}' QueryLanguage"
                );
                // AWS places these at the state for JSONata-only fields.
                let place = if jsonata {
                    format!("{at}/{field}")
                } else {
                    at.to_owned()
                };
                self.schema(message, place);
            }
        }
    }

    fn transition(&mut self, state: &Value, state_type: &str, at: &str) {
        if matches!(state_type, "Choice" | "Succeed" | "Fail") {
            return;
        }
        fields::string(self, state, "Next", at);
        if state.get("End").is_some_and(|end| !end.is_boolean()) {
            self.schema("Expected value of type Boolean", format!("{at}/End"));
            return;
        }
        let ends = state.get("End").and_then(Value::as_bool) == Some(true);
        let goes_on = state.get("Next").is_some();
        if ends && goes_on {
            self.schema(
                "There should only be one of the following fields: [Next, End]",
                at,
            );
        } else if !ends && !goes_on {
            let message = "This object should have only one of the following fields: [Next, End]";
            self.schema(message, at);
        }
    }

    fn jsonpath_state(&mut self, state: &Value, state_type: &str, at: &str) {
        fields::path(self, state, "InputPath", at, true);
        fields::path(self, state, "OutputPath", at, true);
        fields::result_path(self, state, at);
        for field in ["Parameters", "ResultSelector", "ItemSelector"] {
            fields::template(self, state, field, at);
        }
        fields::assign(self, state, at);
        match state_type {
            "Task" => self.task(state, at),
            "Choice" => self.choice(state, at),
            "Wait" => self.wait(state, at),
            "Fail" => {
                fields::string(self, state, "Error", at);
                fields::string(self, state, "Cause", at);
                fields::path(self, state, "ErrorPath", at, false);
                fields::path(self, state, "CausePath", at, false);
                fields::exclusive(self, state, &["Error", "ErrorPath"], at);
                fields::exclusive(self, state, &["Cause", "CausePath"], at);
            }
            _ => {}
        }
        if matches!(state_type, "Task" | "Parallel" | "Map") {
            self.retry(state, at);
            self.catch(state, at);
        }
    }

    fn task(&mut self, state: &Value, at: &str) {
        fields::required(self, state, &["Resource"], at);
        match state.get("Resource") {
            Some(Value::String(arn)) if !is_resource(arn) => {
                self.schema(
                    "Value is not a valid resource ARN",
                    format!("{at}/Resource"),
                );
            }
            Some(Value::String(arn)) if !is_offered(arn) => {
                let message = format!(
                    "The resource provided {arn} is not recognized. The value is not a valid \
                     resource ARN, or the resource is not available in this region."
                );
                self.schema(message, format!("{at}/Resource"));
            }
            Some(Value::String(_)) => {}
            Some(_) => self.schema("Expected value of type String", format!("{at}/Resource")),
            None => {}
        }
        for field in ["TimeoutSeconds", "HeartbeatSeconds"] {
            fields::integer(self, state, field, at, 1, fields::MAX_SECONDS);
            let path = format!("{field}Path");
            fields::reference(self, state, &path, at, false);
            fields::exclusive(self, state, &[field, &path], at);
        }
        let number = |field: &str| state.get(field).and_then(Value::as_u64);
        if let (Some(timeout), Some(heartbeat)) =
            (number("TimeoutSeconds"), number("HeartbeatSeconds"))
            && heartbeat >= timeout
        {
            self.schema("HeartbeatSeconds must be smaller than TimeoutSeconds", at);
        }
        if let Some(credentials) = state.get("Credentials") {
            if credentials.get("RoleArn").is_none() && credentials.get("RoleArn.$").is_none() {
                let message = "The field 'RoleArn' is required but was missing";
                self.schema(message, format!("{at}/Credentials"));
            }
            fields::template(self, state, "Credentials", at);
        }
    }

    fn wait(&mut self, state: &Value, at: &str) {
        const FIELDS: [&str; 4] = ["SecondsPath", "Seconds", "TimestampPath", "Timestamp"];
        fields::exactly_one(self, state, &FIELDS, at);
        fields::integer(self, state, "Seconds", at, 0, fields::MAX_SECONDS);
        fields::timestamp(self, state, "Timestamp", at);
        fields::path(self, state, "SecondsPath", at, false);
        fields::path(self, state, "TimestampPath", at, false);
    }

    fn retry(&mut self, state: &Value, at: &str) {
        let Some(retriers) = self.list(state, "Retry", at, false) else {
            return;
        };
        for (index, retrier) in retriers.iter().enumerate() {
            let here = format!("{at}/Retry[{index}]");
            const KNOWN: [&str; 7] = [
                "ErrorEquals",
                "IntervalSeconds",
                "MaxAttempts",
                "BackoffRate",
                "MaxDelaySeconds",
                "JitterStrategy",
                "Comment",
            ];
            self.known(retrier, &KNOWN, &here);
            self.errors(retrier, index + 1 == retriers.len(), &here);
            fields::integer(
                self,
                retrier,
                "IntervalSeconds",
                &here,
                0,
                fields::MAX_SECONDS,
            );
            fields::integer(self, retrier, "MaxAttempts", &here, 0, fields::MAX_SECONDS);
            fields::integer(self, retrier, "MaxDelaySeconds", &here, 1, 31_622_400);
            fields::number(self, retrier, "BackoffRate", &here, 1.0, f64::MAX);
            fields::one_of(self, retrier, "JitterStrategy", &here, &["NONE", "FULL"]);
        }
    }

    fn catch(&mut self, state: &Value, at: &str) {
        let Some(catchers) = self.list(state, "Catch", at, false) else {
            return;
        };
        for (index, catcher) in catchers.iter().enumerate() {
            let here = format!("{at}/Catch[{index}]");
            const KNOWN: [&str; 6] = [
                "ErrorEquals",
                "Next",
                "ResultPath",
                "Comment",
                "Assign",
                "Output",
            ];
            self.known(catcher, &KNOWN, &here);
            self.errors(catcher, index + 1 == catchers.len(), &here);
            fields::required(self, catcher, &["Next"], &here);
            fields::string(self, catcher, "Next", &here);
            fields::result_path(self, catcher, &here);
            fields::assign(self, catcher, &here);
            if catcher.get("Output").is_some() {
                let message = "The QueryLanguage is set to 'JSONPath', but field 'Output' is only \
                               supported for the 'JSONata' QueryLanguage";
                self.schema(message, here);
            }
        }
    }

    fn errors(&mut self, value: &Value, last: bool, at: &str) {
        fields::required(self, value, &["ErrorEquals"], at);
        let Some(found) = value.get("ErrorEquals") else {
            return;
        };
        let place = format!("{at}/ErrorEquals");
        let Some(errors) = found.as_array() else {
            self.schema("Expected value of type Array", place);
            return;
        };
        if errors.is_empty() {
            self.schema("Value cannot be empty", place);
        } else if errors.iter().any(|error| !error.is_string()) {
            self.schema("Expected value of type String", place);
        } else if errors.iter().any(|error| error == "States.ALL") && (errors.len() > 1 || !last) {
            self.schema("States.ALL must appear alone and at end of list", place);
        }
    }

    fn parallel(&mut self, state: &Value, at: &str, jsonata: bool) {
        fields::required(self, state, &["Branches"], at);
        let Some(branches) = self.list(state, "Branches", at, true) else {
            return;
        };
        for (index, branch) in branches.iter().enumerate() {
            let here = format!("{at}/Branches[{index}]");
            self.known(branch, &["StartAt", "States", "Comment"], &here);
            self.scope(branch, &here, jsonata);
        }
    }

    fn map(&mut self, state: &Value, at: &str, machine_jsonata: bool, jsonata: bool) {
        fields::exactly_one(self, state, &["ItemProcessor", "Iterator"], at);
        for field in ["ItemProcessor", "Iterator"] {
            let Some(processor) = state.get(field) else {
                continue;
            };
            let here = format!("{at}/{field}");
            if !processor.is_object() {
                self.schema("Expected value of type Object", here);
                continue;
            }
            self.known(
                processor,
                &["StartAt", "States", "Comment", "ProcessorConfig"],
                &here,
            );
            self.processor(processor, &here);
            self.scope(processor, &here, machine_jsonata);
        }
        const LATER: [&str; 7] = [
            "ItemReader",
            "ItemBatcher",
            "ResultWriter",
            "ToleratedFailureCount",
            "ToleratedFailureCountPath",
            "ToleratedFailurePercentage",
            "ToleratedFailurePercentagePath",
        ];
        for field in LATER {
            if state.get(field).is_some() {
                let message =
                    format!("Field '{field}' of a Map is not supported by this engine yet");
                self.lacks("UNSUPPORTED_FIELD", message, &format!("{at}/{field}"));
            }
        }
        if let Some(label) = state.get("Label").and_then(Value::as_str) {
            self.label(label, &format!("{at}/Label"));
        }
        if jsonata {
            return;
        }
        for field in ["MaxConcurrency", "ToleratedFailureCount"] {
            fields::integer(self, state, field, at, 0, u64::MAX);
            let path = format!("{field}Path");
            fields::reference(self, state, &path, at, false);
            fields::exclusive(self, state, &[field, &path], at);
        }
        fields::number(self, state, "ToleratedFailurePercentage", at, 0.0, 100.0);
        fields::reference(self, state, "ToleratedFailurePercentagePath", at, false);
        fields::exclusive(
            self,
            state,
            &[
                "ToleratedFailurePercentage",
                "ToleratedFailurePercentagePath",
            ],
            at,
        );
        fields::reference(self, state, "ItemsPath", at, true);
        fields::exclusive(self, state, &["ItemSelector", "Parameters"], at);
    }

    fn processor(&mut self, processor: &Value, at: &str) {
        let Some(config) = processor.get("ProcessorConfig") else {
            return;
        };
        let here = format!("{at}/ProcessorConfig");
        self.known(config, &["Mode", "ExecutionType"], &here);
        fields::one_of(self, config, "Mode", &here, &["INLINE", "DISTRIBUTED"]);
        if config.get("Mode").and_then(Value::as_str) == Some("DISTRIBUTED") {
            fields::required(self, config, &["ExecutionType"], &here);
            fields::one_of(
                self,
                config,
                "ExecutionType",
                &here,
                &["STANDARD", "EXPRESS"],
            );
            let message = "Map mode 'DISTRIBUTED' is not supported by this engine yet";
            self.lacks("UNSUPPORTED_MAP_MODE", message, &format!("{here}/Mode"));
        } else if config.get("ExecutionType").is_some() {
            self.schema("Field 'ExecutionType' is not supported", here);
        }
    }

    /// The items of a list field; `filled` says that it may not be empty.
    pub(super) fn list<'a>(
        &mut self,
        value: &'a Value,
        field: &str,
        at: &str,
        filled: bool,
    ) -> Option<&'a Vec<Value>> {
        let found = value.get(field)?;
        let place = format!("{at}/{field}");
        let Some(items) = found.as_array() else {
            self.schema("Expected value of type Array", place);
            return None;
        };
        if filled && items.is_empty() {
            self.schema("Value cannot be empty", place.clone());
        }
        for (index, item) in items.iter().enumerate() {
            if !item.is_object() {
                self.schema("Expected value of type Object", format!("{place}[{index}]"));
            }
        }
        Some(items)
    }

    pub(super) fn known(&mut self, value: &Value, names: &[&str], at: &str) {
        for name in value
            .as_object()
            .into_iter()
            .flat_map(|members| members.keys())
        {
            if !names.contains(&name.as_str()) {
                self.schema(format!("Field '{name}' is not supported"), at);
            }
        }
    }
}

/// An ARN, or a placeholder that stands for one until the definition is deployed.
fn is_resource(text: &str) -> bool {
    text.starts_with("arn:") || text.contains("${") || text.contains('<')
}

/// Whether the service has the pattern that the resource's suffix asks for (measured on
/// `ValidateStateMachineDefinition`; what is not listed is taken to be offered).
fn is_offered(arn: &str) -> bool {
    const NO_JOBS: [&str; 7] = [
        "lambda",
        "sns",
        "sqs",
        "dynamodb",
        "events",
        "apigateway",
        "aws-sdk",
    ];
    const NO_TOKENS: [&str; 11] = [
        "athena",
        "batch",
        "codebuild",
        "elasticmapreduce",
        "emr-containers",
        "emr-serverless",
        "glue",
        "databrew",
        "mediaconvert",
        "sagemaker",
        "dynamodb",
    ];
    let mut parts = arn.splitn(6, ':');
    let (partition, rest) = (parts.nth(2), parts.nth(2));
    let (Some("states"), Some(rest)) = (partition, rest) else {
        return true;
    };
    let service = rest.split(':').next().unwrap_or_default();
    if rest.ends_with(".waitForTaskToken") {
        return !NO_TOKENS.contains(&service);
    }
    if rest.ends_with(".sync:2") {
        return service == "states";
    }
    !(rest.ends_with(".sync") && NO_JOBS.contains(&service))
}
