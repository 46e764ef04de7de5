//! Who may do what: the built-in policies, or an operator's.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use authz::{Policies, Setting};
use control::authority::Authority;

use crate::failure::Failure;

/// What `--policies` is told to go back to the built-in ones.
const BUILT_IN: &str = "built-in";

/// What `--policies` was told, with a path that holds in whatever directory the next start is.
///
/// # Errors
/// When there is no such file.
pub(super) fn setting(told: &str) -> Result<Option<String>, Failure> {
    if told == BUILT_IN {
        return Ok(None);
    }
    let Ok(Setting { beside, place }) = told.parse::<Setting>();
    let path = Path::new(&place).canonicalize().map_err(|error| {
        Failure::Usage(format!(
            "--policies: expected a file of Cedar policies, found {place}: {error}"
        ))
    })?;
    let path = path.to_str().ok_or_else(|| {
        Failure::Usage(format!(
            "--policies: expected a path in UTF-8, found {}",
            path.display()
        ))
    })?;
    let beside = if beside { "+" } else { "" };
    Ok(Some(format!("{beside}{path}")))
}

/// The authority of an installation.
///
/// # Errors
/// When the file cannot be read, or its policies cannot be used; with file and line.
pub(super) fn load(setting: Option<&str>) -> Result<Arc<dyn Authority>, Failure> {
    let Some(told) = setting else {
        return Ok(Arc::new(Policies::built_in()));
    };
    let Ok(setting) = told.parse::<Setting>();
    let mut text = String::new();
    std::fs::File::open(&setting.place)
        .and_then(|file| {
            file.take(authz::MAX_BYTES as u64 + 1)
                .read_to_string(&mut text)
        })
        .map_err(|error| Failure::Usage(format!("--policies: {}: {error}", setting.place)))?;
    let policies = setting
        .policies(&text)
        .map_err(|error| Failure::Usage(format!("--policies: {error}")))?;
    Ok(Arc::new(policies))
}

#[cfg(test)]
mod tests {
    use control::Principal;
    use control::authority::{Action, Resource, Verdict};

    use super::*;

    #[test]
    fn an_operators_policies_stand_beside_the_built_in_ones_or_instead_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("own.cedar");
        let text = "@id(\"nobody\") forbid (principal, action == Tapemark::Action::\"Restore\", \
                    resource);";
        std::fs::write(&file, text).unwrap();
        let path = file.to_str().unwrap();
        for (told, expected) in [
            (BUILT_IN.to_owned(), Verdict::Permitted),
            (format!("+{path}"), Verdict::Permitted),
            (path.to_owned(), Verdict::NotPermitted),
        ] {
            let kept = setting(&told).unwrap();
            let authority = load(kept.as_deref()).unwrap();
            let on = Resource::Installation;
            let found = authority.allows(&Principal::Operator, Action::ReadLedger, on);
            assert_eq!(found, expected, "{told}");
        }
        assert!(setting("no such file").is_err());
    }

    #[test]
    fn policies_that_are_wrong_stop_the_start_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("own.cedar");
        std::fs::write(&file, "@id(\"a\")\npermit (principal, action, nothing);").unwrap();
        let path = file.to_str().unwrap();
        let Err(Failure::Usage(text)) = load(Some(path)) else {
            panic!("expected the policies to be refused");
        };
        assert!(
            text.starts_with(&format!("--policies: {path}:2:")),
            "{text}"
        );
    }
}
