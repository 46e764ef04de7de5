//! Limits of the engine, in the units AWS states them (Step Functions quotas).

/// Events in one execution's history; the last one is always the end of the execution.
pub const MAX_EVENTS: usize = 25_000;
/// Bytes of UTF-8 of one state's input, output or task result.
pub const MAX_DATA_BYTES: usize = 262_144;
/// Bytes of a definition.
pub const MAX_DEFINITION_BYTES: usize = 1_048_576;
/// Characters of a state's name, and of an execution's or a state machine's name.
pub const MAX_NAME_CHARS: usize = 80;
/// Levels of nesting of a JSON document that the engine passes on; deeper ones end the execution.
pub const MAX_DEPTH: usize = 256;
/// Iterations of one inline Map that run at once, whatever its `MaxConcurrency` says.
pub const MAX_INLINE_CONCURRENCY: usize = 40;
/// Seconds a task may take when its state names no timeout (about three years: no timer is set).
pub const DEFAULT_TASK_TIMEOUT_SECONDS: u64 = 99_999_999;
/// Longest wait, retry delay or timeout the clock arithmetic accepts, in seconds.
pub(crate) const MAX_WAIT_SECONDS: u64 = 3_155_760_000;
/// Levels of nested calls in one intrinsic function expression.
pub(crate) const MAX_INTRINSIC_DEPTH: usize = 10;
/// Characters of text that `States.Base64Encode`, `Base64Decode` and `Hash` accept.
pub(crate) const MAX_INTRINSIC_TEXT: usize = 10_000;
/// Items `States.ArrayRange` may produce.
pub(crate) const MAX_RANGE_ITEMS: usize = 1_000;
