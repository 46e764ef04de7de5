//! What a function is told by its environment.

use std::str::FromStr;
use std::sync::Arc;

use model::LibraryId;

/// A variable that is missing or malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: expected {expected}, found {found}; set it in the function's environment")]
pub struct Wrong {
    /// The variable.
    pub name: &'static str,
    /// What should stand there.
    pub expected: &'static str,
    /// What stands there.
    pub found: String,
}

/// Buckets, or prefixes in them, that artifacts may come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub Vec<String>);

/// The variables of a function, read where they are needed: each function has only those
/// of what it does.
#[derive(Clone)]
pub struct Environment(Arc<Get>);

/// How a variable is read.
type Get = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// That of the process.
    pub fn of_process() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// Variables from elsewhere, as tests have them.
    pub fn of(get: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(get))
    }

    /// A variable as it is; none where it is empty.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|text| !text.is_empty())
    }

    fn required(&self, name: &'static str, expected: &'static str) -> Result<String, Wrong> {
        self.get(name).ok_or_else(|| Wrong {
            name,
            expected,
            found: "nothing".to_owned(),
        })
    }

    fn parsed<T: FromStr>(&self, name: &'static str, expected: &'static str) -> Result<T, Wrong> {
        let text = self.required(name, expected)?;
        text.parse().map_err(|_| Wrong {
            name,
            expected,
            found: format!("{:?}", text.chars().take(80).collect::<String>()),
        })
    }

    /// `TAPEMARK_TABLE`.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn table(&self) -> Result<String, Wrong> {
        self.required("TAPEMARK_TABLE", "the name of the catalogue's table")
    }

    /// `TAPEMARK_PINS_BUCKET`.
    ///
    /// # Errors
    /// Where it is missing or no bucket's name.
    pub fn pins_bucket(&self) -> Result<String, Wrong> {
        self.bucket("TAPEMARK_PINS_BUCKET", "the bucket of pinned artifacts")
    }

    /// `TAPEMARK_DOCUMENTS_BUCKET`.
    ///
    /// # Errors
    /// Where it is missing or no bucket's name.
    pub fn documents_bucket(&self) -> Result<String, Wrong> {
        self.bucket(
            "TAPEMARK_DOCUMENTS_BUCKET",
            "the bucket of manifests and reports",
        )
    }

    /// `TAPEMARK_RESOLVERS_BUCKET`.
    ///
    /// # Errors
    /// Where it is missing or no bucket's name.
    pub fn resolvers_bucket(&self) -> Result<String, Wrong> {
        self.bucket(
            "TAPEMARK_RESOLVERS_BUCKET",
            "the bucket of resolver components",
        )
    }

    fn bucket(&self, name: &'static str, expected: &'static str) -> Result<String, Wrong> {
        let text = self.required(name, expected)?;
        if is_bucket(&text) {
            return Ok(text);
        }
        Err(Wrong {
            name,
            expected,
            found: format!("{:?}", text.chars().take(80).collect::<String>()),
        })
    }

    /// `TAPEMARK_SOURCES`: `bucket` or `bucket/prefix/`, separated by commas. Without any, no
    /// artifact may be submitted, which is what nobody means: it is required.
    ///
    /// # Errors
    /// Where it is missing, or one of them is no bucket, or a prefix does not end in `/`.
    pub fn sources(&self) -> Result<Sources, Wrong> {
        const NAME: &str = "TAPEMARK_SOURCES";
        const EXPECTED: &str = "`bucket` or `bucket/prefix/`, separated by commas";
        let text = self.required(NAME, EXPECTED)?;
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let bad = parts.iter().find(|part| match part.split_once('/') {
            None => !is_bucket(part),
            Some((bucket, prefix)) => {
                !is_bucket(bucket) || !(prefix.is_empty() || prefix.ends_with('/'))
            }
        });
        match bad {
            None => Ok(Sources(parts.into_iter().map(str::to_owned).collect())),
            Some(bad) => Err(Wrong {
                name: NAME,
                expected: EXPECTED,
                found: format!("{:?}", bad.chars().take(80).collect::<String>()),
            }),
        }
    }

    /// `TAPEMARK_RESTORE_ROOT`: an absolute directory on the agent's machine, as a path or a
    /// `file://` URL. Empty where restores are delivered otherwise.
    ///
    /// # Errors
    /// Where it is relative or climbs.
    pub fn restore_root(&self) -> Result<String, Wrong> {
        let Some(text) = self.get("TAPEMARK_RESTORE_ROOT") else {
            return Ok(String::new());
        };
        let path = text.strip_prefix("file://").unwrap_or(&text);
        if path.starts_with('/') && path.split('/').all(|part| part != "..") {
            return Ok(path.trim_end_matches('/').to_owned());
        }
        Err(Wrong {
            name: "TAPEMARK_RESTORE_ROOT",
            expected: "an absolute directory such as file:///var/lib/tapemark/restore",
            found: format!("{:?}", text.chars().take(80).collect::<String>()),
        })
    }

    /// `TAPEMARK_LIBRARY`.
    ///
    /// # Errors
    /// Where it is missing or no library's id.
    pub fn library(&self) -> Result<LibraryId, Wrong> {
        self.parsed(
            "TAPEMARK_LIBRARY",
            "the id of the library that is meant by default",
        )
    }

    /// `TAPEMARK_STATE_MACHINE_ARN`.
    ///
    /// # Errors
    /// Where it is missing or no ARN of a state machine.
    pub fn state_machine(&self) -> Result<String, Wrong> {
        const NAME: &str = "TAPEMARK_STATE_MACHINE_ARN";
        const EXPECTED: &str = "the ARN of the state machine";
        let text = self.required(NAME, EXPECTED)?;
        if text.starts_with("arn:") && text.contains(":stateMachine:") {
            return Ok(text);
        }
        Err(Wrong {
            name: NAME,
            expected: EXPECTED,
            found: format!("{:?}", text.chars().take(80).collect::<String>()),
        })
    }

    /// `TAPEMARK_BELL_QUEUE_URL`.
    ///
    /// # Errors
    /// Where it is missing or no URL.
    pub fn bell_queue(&self) -> Result<String, Wrong> {
        const NAME: &str = "TAPEMARK_BELL_QUEUE_URL";
        const EXPECTED: &str = "the URL of the queue that wakes agents";
        let text = self.required(NAME, EXPECTED)?;
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(text);
        }
        Err(Wrong {
            name: NAME,
            expected: EXPECTED,
            found: format!("{:?}", text.chars().take(80).collect::<String>()),
        })
    }

    /// `TAPEMARK_EVENT_BUS`.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn event_bus(&self) -> Result<String, Wrong> {
        self.required("TAPEMARK_EVENT_BUS", "the name of the event bus")
    }

    /// `TAPEMARK_COMPILE_FUNCTION`.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn compile_function(&self) -> Result<String, Wrong> {
        self.required(
            "TAPEMARK_COMPILE_FUNCTION",
            "the name of the function that compiles resolvers",
        )
    }

    /// `TAPEMARK_RESOLVER_KEY`.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn resolver_key(&self) -> Result<String, Wrong> {
        self.required(
            "TAPEMARK_RESOLVER_KEY",
            "the id of the key that signs records of resolvers",
        )
    }
}

/// 3 to 63 of `a-z 0-9 . -` (S3 user guide, *Bucket naming rules*).
fn is_bucket(text: &str) -> bool {
    (3..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Environment {
        Environment::of(move |asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn sources_are_buckets_or_prefixes_that_end() {
        let sources = with("TAPEMARK_SOURCES", "releases, team-b/out/").sources();
        assert_eq!(
            sources,
            Ok(Sources(vec![
                "releases".to_owned(),
                "team-b/out/".to_owned()
            ]))
        );
        for bad in ["", "A", "releases,,x", "team/out", "s3://team", "team b"] {
            let wrong = with("TAPEMARK_SOURCES", bad).sources().unwrap_err();
            assert_eq!(wrong.name, "TAPEMARK_SOURCES", "{bad:?}");
        }
    }

    #[test]
    fn what_is_malformed_names_itself_and_what_was_found() {
        let wrong = with("TAPEMARK_STATE_MACHINE_ARN", "machine").state_machine();
        assert_eq!(
            wrong.unwrap_err().to_string(),
            "TAPEMARK_STATE_MACHINE_ARN: expected the ARN of the state machine, found \
             \"machine\"; set it in the function's environment"
        );
        assert!(
            with("TAPEMARK_RESTORE_ROOT", "file:///a/../b")
                .restore_root()
                .is_err()
        );
        assert!(
            with("TAPEMARK_BELL_QUEUE_URL", "bell")
                .bell_queue()
                .is_err()
        );
        assert!(with("TAPEMARK_LIBRARY", "a library").library().is_err());
        assert!(with("TAPEMARK_PINS_BUCKET", "Pins").pins_bucket().is_err());
    }

    #[test]
    fn a_restore_root_may_be_a_path_or_a_url_or_absent() {
        let root = |value| with("TAPEMARK_RESTORE_ROOT", value).restore_root().unwrap();
        assert_eq!(root("file:///var/restore/"), "/var/restore");
        assert_eq!(root("/var/restore"), "/var/restore");
        assert_eq!(root(""), "");
    }
}
