//! The agent protocol behind an HTTP API: claim, renew, complete. `gateway` checks who asks
//! and `control` answers; nothing is decided here.

use control::Control;
use lambda::Function;
use lambda::http::HttpFunction;

/// The function on a control plane.
pub fn function(function: Function, control: Control) -> HttpFunction {
    HttpFunction::new(function, gateway::router(control), op)
}

/// The operation of a path: its last word, of those there are.
fn op(path: &str) -> &'static str {
    const OPS: [&str; 9] = [
        "enrol",
        "rotate",
        "inventory",
        "open",
        "ready",
        "claim",
        "renew",
        "complete",
        "close",
    ];
    let last = path.rsplit('/').next().unwrap_or_default();
    OPS.into_iter().find(|op| *op == last).unwrap_or("unknown")
}
