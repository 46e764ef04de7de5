//! A function that does what a test says: it passes every event on to the address in
//! `SCRIPT`, as `POST /<name of the function>`, and answers what comes back: the body of a 200
//! as its result, any other body as its error (`{"errorType", "errorMessage"}`).
//!
//! It speaks Lambda's Runtime API by itself, so that building it takes seconds.

use std::io;

use aws_stories::http::{self, Request};

fn main() -> io::Result<()> {
    let runtime = variable("AWS_LAMBDA_RUNTIME_API")?;
    let script = variable("SCRIPT")?;
    let name = format!("/{}", variable("AWS_LAMBDA_FUNCTION_NAME")?);
    let base = "/2018-06-01/runtime/invocation";
    loop {
        let event = http::send(&runtime, &Request::get(&format!("{base}/next")))?;
        let id = event
            .header("lambda-runtime-aws-request-id")
            .unwrap_or_default()
            .to_owned();
        let answer = http::send(&script, &Request::post(&name, event.body))?;
        let way = if answer.status == 200 {
            "response"
        } else {
            "error"
        };
        let said = Request::post(&format!("{base}/{id}/{way}"), answer.body)
            .with("content-type", "application/json");
        http::send(&runtime, &said)?;
    }
}

fn variable(name: &str) -> io::Result<String> {
    std::env::var(name).map_err(|_| io::Error::other(format!("{name} is not set")))
}
