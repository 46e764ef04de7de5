//! What is to be submitted: from the command line, or from a file.

use std::io::Read;
use std::path::{Path, PathBuf};

use model::Code;
use serde::Deserialize;

use super::SubmitArgs;
use crate::failure::Failure;

/// The largest group file: a group of 24 members with 10,000 written-out artifacts each
/// would be more than the API takes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// One service's part.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberPlan {
    pub(crate) service: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) parent: Option<String>,
    #[serde(default)]
    pub(crate) branch: Option<String>,
    /// Files and directories to look through.
    #[serde(default)]
    pub(crate) paths: Vec<PathBuf>,
    /// Artifacts written out.
    #[serde(default)]
    pub(crate) artifacts: Vec<ArtifactPlan>,
    #[serde(default)]
    pub(crate) provenance: Option<String>,
}

/// An artifact written out. Size and digest are taken from the file where they are left out.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArtifactPlan {
    pub(crate) name: String,
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) size: Option<u64>,
    #[serde(default)]
    pub(crate) sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupFile {
    members: Vec<MemberPlan>,
}

/// The members that the command line asks for.
pub(super) fn members(args: &SubmitArgs) -> Result<Vec<MemberPlan>, Failure> {
    if let (Some(service), Some(version)) = (&args.service, &args.version) {
        return Ok(vec![MemberPlan {
            service: service.clone(),
            version: version.clone(),
            parent: args.parent.clone(),
            branch: args.branch.clone(),
            paths: args.paths.clone(),
            ..MemberPlan::default()
        }]);
    }
    let mut members = Vec::new();
    for text in &args.group {
        let extension = Path::new(text)
            .extension()
            .and_then(|extension| extension.to_str());
        if text == "-" || (matches!(extension, Some("toml" | "json")) && !text.contains('=')) {
            members.extend(from_file(text)?);
        } else {
            members.push(from_spec(text)?);
        }
    }
    Ok(members)
}

/// `SERVICE=VERSION:PATH[,PATH…]`
fn from_spec(text: &str) -> Result<MemberPlan, Failure> {
    let parts = text.split_once('=').and_then(|(service, rest)| {
        rest.split_once(':')
            .map(|(version, paths)| (service, version, paths))
    });
    let Some((service, version, paths)) = parts.filter(|(service, version, paths)| {
        !service.is_empty() && !version.is_empty() && !paths.is_empty()
    }) else {
        return Err(Failure::Usage(format!(
            "--group: expected SERVICE=VERSION:PATH[,PATH…] or a .toml or .json file, found {text:?}"
        )));
    };
    Ok(MemberPlan {
        service: service.to_owned(),
        version: version.to_owned(),
        paths: paths.split(',').map(PathBuf::from).collect(),
        ..MemberPlan::default()
    })
}

/// A file with `members`; paths in it are relative to the file.
fn from_file(name: &str) -> Result<Vec<MemberPlan>, Failure> {
    let path = Path::new(name);
    let mut text = String::new();
    if name == "-" {
        std::io::stdin()
            .take(MAX_FILE_BYTES)
            .read_to_string(&mut text)?;
    } else {
        let file = std::fs::File::open(path).map_err(|error| {
            Failure::Usage(format!("--group: expected a file, found {name:?}: {error}"))
        })?;
        file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    }
    let invalid = |error: String| Failure::no(Code::InvalidRequest, format!("{name}: {error}"));
    let mut file: GroupFile = if path
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        toml::from_str(&text).map_err(|error| invalid(error.to_string()))?
    } else {
        serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?
    };
    let base = path.parent().unwrap_or(Path::new(""));
    for member in &mut file.members {
        for found in &mut member.paths {
            *found = base.join(&*found);
        }
    }
    Ok(file.members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_names_service_version_and_paths() {
        let plan = from_spec("pay/api=1.2:a,b").unwrap();
        assert_eq!(
            (plan.service.as_str(), plan.version.as_str()),
            ("pay/api", "1.2")
        );
        assert_eq!(plan.paths, [PathBuf::from("a"), PathBuf::from("b")]);
        for bad in ["", "a", "a=b", "a=:p", "=v:p", "a=v:"] {
            assert!(from_spec(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_toml_file_says_the_same_as_a_json_file() {
        let dir = tempfile::tempdir().unwrap();
        let toml = dir.path().join("g.toml");
        let json = dir.path().join("g.json");
        std::fs::write(
            &toml,
            "[[members]]\nservice='a'\nversion='1'\npaths=['x']\n",
        )
        .unwrap();
        std::fs::write(
            &json,
            r#"{"members":[{"service":"a","version":"1","paths":["x"]}]}"#,
        )
        .unwrap();
        let from_toml = from_file(toml.to_str().unwrap()).unwrap();
        assert_eq!(from_toml, from_file(json.to_str().unwrap()).unwrap());
        assert_eq!(from_toml[0].paths, [dir.path().join("x")]);
        std::fs::write(&json, r#"{"members":[{"service":"a"}]}"#).unwrap();
        assert!(from_file(json.to_str().unwrap()).is_err());
    }
}
