//! `tapemark up`, with a door in front of its API.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_stories::http::{self, Server};

use crate::Place;
use crate::support::Stack;

pub(crate) struct OneMachine {
    stack: Stack,
    door: Server,
    to_lose: Arc<AtomicU64>,
    // Where the stack is now: another port after each start.
    behind: Arc<std::sync::Mutex<String>>,
}

impl OneMachine {
    pub(crate) fn start() -> Self {
        let stack = Stack::start();
        let to_lose = Arc::new(AtomicU64::new(0));
        let behind = Arc::new(std::sync::Mutex::new(address(&stack)));
        let door = {
            let (to_lose, behind) = (Arc::clone(&to_lose), Arc::clone(&behind));
            Server::answering("127.0.0.1:0", move |request| {
                let to = behind.lock().unwrap().clone();
                let answer = http::send(&to, request).ok()?;
                let lost = request.target == "/graphql"
                    && to_lose
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                        .is_ok();
                (!lost).then_some(answer)
            })
        };
        Self {
            stack,
            door: door.unwrap(),
            to_lose,
            behind,
        }
    }
}

fn address(stack: &Stack) -> String {
    stack.url().trim_start_matches("http://").to_owned()
}

impl Place for OneMachine {
    fn source(&self, name: &str, bytes: &[u8]) -> String {
        format!("file://{}", self.stack.file(name, bytes).display())
    }

    fn command(&self) -> Command {
        // The token of the data directory is for the URL there alone.
        let token = self.stack.data().join("keys/operator.token");
        let mut command = self.stack.command();
        command
            .env("TAPEMARK_URL", format!("http://{}", self.door.address()))
            .env(
                "TAPEMARK_TOKEN",
                std::fs::read_to_string(token).unwrap().trim(),
            );
        command
    }

    fn dir(&self) -> &Path {
        self.stack.dir()
    }

    fn kill_agent(&mut self) {
        self.stack.kill_agent();
    }

    fn kill_control(&mut self) {
        self.stack.kill_and_restart();
        *self.behind.lock().unwrap() = address(&self.stack);
    }

    fn lose_answers(&self, how_many: u64) {
        self.to_lose.store(how_many, Ordering::SeqCst);
    }

    fn tell_again(&mut self) {
        // What the stack had told and not noted, it tells again when it starts.
        self.kill_control();
    }

    fn logs(&self) -> String {
        self.stack.logs()
    }
}
