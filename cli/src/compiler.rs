//! Compiling resolvers in a process of its own: this program once more, under limits that
//! the kernel enforces. A component made to kill its compiler kills that process alone.

use std::io::{Read, Write};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use embedded::Compiler;
use model::{Code, MAX_COMPONENT_BYTES, Refusal};
use resolver::Arch;
use rustix::process::{Resource, Rlimit, nice, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::failure::Failure;

/// The hidden subcommand of `tapemark resolver` that compiles.
pub(crate) const SUBCOMMAND: &str = "compile-component";

/// Address space of a compiler. The largest components (Python, 18 MB) take 430 MB; the
/// rest is what threads reserve and never use: 64 MiB of arena each.
const ADDRESS_SPACE: u64 = 3 << 30;
/// CPU seconds of a compiler. The largest components take 18; machines that are six times
/// slower are served too.
const CPU_SECONDS: u64 = 120;
/// Wall time of a compiler: its CPU seconds on one busy core.
const WALL: Duration = Duration::from_secs(140);
/// The largest native code taken: 18 MB of Python become 35 MB.
const MAX_CODE_BYTES: u64 = 128 << 20;
/// The most that is taken of what a compiler says went wrong.
const MAX_WORDS: u64 = 64 << 10;
/// Serving goes before compiling.
const NICE: i32 = 10;
/// How many compile at once: memory is for the data path.
const AT_ONCE: usize = 2;

/// Compiles in child processes of this program.
pub(crate) struct ChildCompiler(Semaphore);

impl ChildCompiler {
    /// A compiler; no process runs until it is used.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Semaphore::new(AT_ONCE)))
    }
}

fn not_started(error: &std::io::Error) -> Refusal {
    Refusal::new(Code::Transient, format!("the compiler: {error}"))
}

#[async_trait]
impl Compiler for ChildCompiler {
    async fn compile(&self, component: Arc<Vec<u8>>, arch: Arch) -> Result<Vec<u8>, Refusal> {
        // It is never closed.
        let _place = self.0.acquire().await;
        let program = std::env::current_exe().map_err(|error| not_started(&error))?;
        let mut child = Command::new(program)
            .args(["resolver", SUBCOMMAND, arch.name()])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| not_started(&error))?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(not_started(&std::io::Error::other("expected three pipes")));
        };
        let (mut code, mut words) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (stdout.take(MAX_CODE_BYTES + 1), stderr.take(MAX_WORDS));
        let talk = async {
            let ((), coded, said) = tokio::join!(
                async {
                    // One that died before it read all of it says why below.
                    let _ = stdin.write_all(&component).await;
                    drop(stdin);
                },
                stdout.read_to_end(&mut code),
                stderr.read_to_end(&mut words),
            );
            coded.and(said)?;
            child.wait().await
        };
        let status = match tokio::time::timeout(WALL, talk).await {
            Ok(ended) => ended.map_err(|error| not_started(&error))?,
            Err(_) => return Err(beyond(&format!("{} seconds", WALL.as_secs()))),
        };
        if status.success() && code.len() as u64 <= MAX_CODE_BYTES {
            return Ok(code);
        }
        Err(why(status, code.len() as u64, &words))
    }
}

fn beyond(what: &str) -> Refusal {
    Refusal::new(
        Code::ResolverInvalid,
        format!(
            "expected a component that compiles within {} MiB and {CPU_SECONDS} s, found one \
             whose compiler ended with {what}",
            ADDRESS_SPACE >> 20
        ),
    )
    .at("component")
}

/// What a compiler that did not compile means.
fn why(status: ExitStatus, code: u64, words: &[u8]) -> Refusal {
    if code > MAX_CODE_BYTES {
        return beyond(&format!("more than {MAX_CODE_BYTES} bytes of code"));
    }
    // It says a refusal, or it was ended.
    serde_json::from_slice(words).unwrap_or_else(|_| beyond(&status.to_string()))
}

/// The child: a component from standard input, native code to standard output, a refusal
/// as JSON to standard error.
///
/// # Errors
/// [`Failure::Silent`] after the refusal.
pub(crate) fn compile(arch: &str) -> Result<(), Failure> {
    let limited = limit();
    let compiled = limited.map_err(|error| not_started(&error)).and_then(|()| {
        let arch = Arch::ALL
            .into_iter()
            .find(|known| known.name() == arch)
            .ok_or_else(|| {
                Refusal::new(Code::InvalidRequest, format!("no architecture {arch:?}"))
            })?;
        let mut component = Vec::new();
        let most = MAX_COMPONENT_BYTES as u64;
        std::io::stdin()
            .take(most + 1)
            .read_to_end(&mut component)
            .map_err(|error| not_started(&error))?;
        if component.len() as u64 > most {
            let message = format!("expected at most {most} bytes, found more");
            return Err(Refusal::new(Code::ResolverInvalid, message));
        }
        resolver::compile(&component, arch)
    });
    match compiled {
        Ok(code) => Ok(std::io::stdout().write_all(&code)?),
        Err(refusal) => {
            // Where nobody reads it any more, the exit code says enough.
            let _ = serde_json::to_writer(std::io::stderr(), &refusal);
            Err(Failure::Silent)
        }
    }
}

/// Takes this process's own liberties away.
fn limit() -> std::io::Result<()> {
    let set = |resource, most| {
        let most = Some(most);
        setrlimit(
            resource,
            Rlimit {
                current: most,
                maximum: most,
            },
        )
    };
    set(Resource::As, ADDRESS_SPACE)?;
    set(Resource::Cpu, CPU_SECONDS)?;
    set(Resource::Core, 0)?;
    // It writes to pipes only.
    set(Resource::Fsize, 0)?;
    nice(NICE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_end_without_words_names_the_limits_and_words_are_passed_on() {
        let killed = ExitStatus::from_raw(9);
        let refusal = why(killed, 0, b"memory allocation of 5 bytes failed");
        assert_eq!(refusal.code, Code::ResolverInvalid);
        assert!(refusal.message.contains("signal: 9"), "{}", refusal.message);
        let said = Refusal::new(Code::ResolverInvalid, "expected x, found y").at("component");
        let words = serde_json::to_vec(&said).unwrap();
        assert_eq!(why(ExitStatus::from_raw(256), 0, &words), said);
        assert!(
            why(ExitStatus::from_raw(0), MAX_CODE_BYTES + 1, b"")
                .message
                .contains("code")
        );
    }
}
