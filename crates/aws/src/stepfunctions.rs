//! Executions of the state machine: started, answered and looked at.

mod history;

use aws_sdk_sfn::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sfn::types::ExecutionStatus;
use control::Effect;
use jiff::Timestamp;
use model::{Code, Refusal, RunId};
use serde::Serialize;
use serde_json::Value;

use crate::Connection;

/// The longest input of an execution and output of a task, in bytes (API reference,
/// StartExecution and SendTaskSuccess: 262,144 characters; developer guide, *Quotas*:
/// 256 KiB as UTF-8).
pub const MAX_PAYLOAD_BYTES: usize = 262_144;
/// The longest error name, in characters (API reference, SendTaskFailure).
const MAX_ERROR_CHARS: usize = 256;
/// The longest cause, in characters (the same).
const MAX_CAUSE_CHARS: usize = 32_768;

/// What became of an effect: whatever it is, it need not be told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The execution began, or goes on with it.
    Taken,
    /// The execution was started before with the same input.
    Known,
    /// No task waits for it: the token was used, its task is over, or it never was one.
    Over,
    /// It cannot be told, now or ever: an input that is too large, a name that stands for
    /// another input. Somebody has to look at it.
    Never(Refusal),
}

/// An execution, seen from outside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExecutionView {
    /// Its name.
    pub run: RunId,
    /// AWS's word: `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT`, `ABORTED`,
    /// `PENDING_REDRIVE`.
    pub status: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its output, when it succeeded.
    pub output: Option<Value>,
    /// The error's name, when it failed.
    pub error: Option<String>,
    /// What happened, when it failed.
    pub cause: Option<String>,
}

/// The state machine on Step Functions.
///
/// Needs `states:StartExecution` on the machine, `states:SendTaskSuccess` and
/// `states:SendTaskFailure` (which IAM knows for all machines only), and
/// `states:DescribeExecution` and `states:GetExecutionHistory` on its executions.
#[derive(Clone, Debug)]
pub struct StepFunctions {
    client: aws_sdk_sfn::Client,
    machine: String,
}

impl StepFunctions {
    /// The machine of that ARN, through a client built from the environment.
    pub async fn connect(connection: &Connection, machine: impl Into<String>) -> Self {
        Self::with_client(connection.step_functions().await, machine)
    }

    /// The machine of that ARN, through a client that somebody else set up.
    pub fn with_client(client: aws_sdk_sfn::Client, machine: impl Into<String>) -> Self {
        Self {
            client,
            machine: machine.into(),
        }
    }

    /// Tells one effect. It may be told any number of times: an execution's name is its
    /// run's, and a token is good once.
    ///
    /// A task whose output is too large is failed instead, with the error name that Step
    /// Functions itself has for it: `States.DataLimitExceeded`.
    ///
    /// # Errors
    /// `Transient`: it is not known whether it was told; tell it again. `Internal` where
    /// Step Functions refuses for a reason of the installation, such as a permission; once
    /// that is put right, it can be told.
    pub async fn tell(&self, effect: Effect) -> Result<Told, Refusal> {
        match effect {
            Effect::StartRun { run, input } => self.start(&run, &input).await,
            Effect::TaskSucceeded { token, output } => {
                let output = output.to_string();
                if output.len() > MAX_PAYLOAD_BYTES {
                    let cause = format!(
                        "expected an output of at most {MAX_PAYLOAD_BYTES} bytes, found {}",
                        output.len()
                    );
                    return self.fail(token, "States.DataLimitExceeded", &cause).await;
                }
                let request = self.client.send_task_success();
                let answer = request.task_token(token).output(output).send().await;
                task(answer.map(drop))
            }
            Effect::TaskFailed {
                token,
                error,
                cause,
            } => self.fail(token, &error, &cause).await,
        }
    }

    async fn fail(&self, token: String, error: &str, cause: &str) -> Result<Told, Refusal> {
        let request = self.client.send_task_failure();
        let answer = request
            .task_token(token)
            .error(cut(error, MAX_ERROR_CHARS))
            .cause(cut(cause, MAX_CAUSE_CHARS))
            .send()
            .await;
        task(answer.map(drop))
    }

    async fn start(&self, run: &RunId, input: &Value) -> Result<Told, Refusal> {
        let text = input.to_string();
        if text.len() > MAX_PAYLOAD_BYTES {
            return Ok(Told::Never(Refusal::new(
                Code::InvalidRequest,
                format!(
                    "{run}: expected an input of at most {MAX_PAYLOAD_BYTES} bytes, found {}",
                    text.len()
                ),
            )));
        }
        let answer = self
            .client
            .start_execution()
            .state_machine_arn(&self.machine)
            .name(run.as_str())
            .input(text)
            .send()
            .await;
        let error = match answer {
            Ok(_) => return Ok(Told::Taken),
            Err(error) => error,
        };
        match error.code() {
            // Also for the same input, once the execution is over.
            Some("ExecutionAlreadyExists") => self.known(run, input).await,
            Some("InvalidName" | "InvalidExecutionInput" | "ValidationException") => {
                Ok(Told::Never(explain(&error, run.as_str())))
            }
            _ => Err(explain(&error, run.as_str())),
        }
    }

    /// Whether the execution of that name has this input. Step Functions keeps names for 90
    /// days after their execution; runs are told within seconds.
    async fn known(&self, run: &RunId, input: &Value) -> Result<Told, Refusal> {
        let found = self.described(run).await?;
        let before = found.input().map(serde_json::from_str::<Value>);
        if matches!(&before, Some(Ok(before)) if before == input) {
            return Ok(Told::Known);
        }
        Ok(Told::Never(Refusal::new(
            Code::Conflict,
            format!("{run}: expected an execution of this input, found one of another"),
        )))
    }

    async fn described(
        &self,
        run: &RunId,
    ) -> Result<aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput, Refusal> {
        self.client
            .describe_execution()
            .execution_arn(self.execution(run)?)
            .send()
            .await
            .map_err(|error| explain(&error, run.as_str()))
    }

    /// An execution.
    ///
    /// # Errors
    /// `NotFound`, `Transient`, `Internal`.
    pub async fn describe(&self, run: &RunId) -> Result<ExecutionView, Refusal> {
        let found = self.described(run).await?;
        let time = |at: &aws_sdk_sfn::primitives::DateTime| {
            Timestamp::new(at.secs(), i32::try_from(at.subsec_nanos()).unwrap_or(0))
        };
        let odd = |_| Refusal::new(Code::Internal, format!("{run}: a time out of range"));
        let status: &ExecutionStatus = found.status();
        Ok(ExecutionView {
            run: run.clone(),
            status: status.as_str().to_owned(),
            started_at: time(found.start_date()).map_err(odd)?,
            ended_at: found.stop_date().map(time).transpose().map_err(odd)?,
            output: found
                .output()
                .map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))),
            error: found.error().map(str::to_owned),
            cause: found.cause().map(str::to_owned),
        })
    }

    /// `arn:aws:states:REGION:ACCOUNT:stateMachine:NAME` has executions
    /// `…:execution:NAME:RUN`.
    fn execution(&self, run: &RunId) -> Result<String, Refusal> {
        let parts: Vec<_> = self.machine.split(':').collect();
        match parts.as_slice() {
            [
                arn,
                partition,
                states,
                region,
                account,
                "stateMachine",
                name,
            ] => Ok(format!(
                "{arn}:{partition}:{states}:{region}:{account}:execution:{name}:{run}"
            )),
            _ => Err(Refusal::new(
                Code::Internal,
                format!(
                    "expected arn:PARTITION:states:REGION:ACCOUNT:stateMachine:NAME as the \
                     state machine, found {:?}",
                    self.machine
                ),
            )),
        }
    }
}

/// What became of a task's outcome.
fn task<E>(answer: Result<(), SdkError<E>>) -> Result<Told, Refusal>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(error) = answer else {
        return Ok(Told::Taken);
    };
    match error.code() {
        Some("TaskTimedOut" | "TaskDoesNotExist" | "InvalidToken") => Ok(Told::Over),
        // Its task then ends by its own time limit.
        Some("InvalidOutput" | "ValidationException") => Ok(Told::Never(explain(&error, "task"))),
        _ => Err(explain(&error, "task")),
    }
}

/// The beginning of a text, whole characters.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// What an error means to whoever asked. Says nothing of the request: its token is secret.
fn explain<E>(error: &SdkError<E>, what: &str) -> Refusal
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let code = match (error, error.code()) {
        (_, Some("ExecutionDoesNotExist")) => Code::NotFound,
        (_, Some("InvalidName" | "InvalidExecutionInput" | "InvalidOutput")) => {
            Code::InvalidRequest
        }
        (_, Some(code)) if is_passing(code) => Code::Transient,
        (SdkError::ServiceError(context), _) if !context.raw().status().is_server_error() => {
            Code::Internal
        }
        (SdkError::ConstructionFailure(_), _) => Code::Internal,
        _ => Code::Transient,
    };
    Refusal::new(
        code,
        format!("Step Functions, {what}: {}", DisplayErrorContext(error)),
    )
}

/// Throttling, and what passes by itself.
fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "ExecutionLimitExceeded"
            | "KmsThrottlingException"
            | "ServiceUnavailable"
            | "InternalFailure"
            | "InternalError"
            | "RequestTimeout"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("größe", 4), "größ");
        assert_eq!(cut("a", 4), "a");
    }
}
