//! What the API says of resolvers, and what is asked for.

use std::str::FromStr;

use model::Bytes;
use serde::{Deserialize, Serialize};

/// The fields of a release, as a selection set.
pub(super) const RELEASE: &str = "name version component summary bytes engine compatibility \
    limits { fuel wallMs memory tableElements hostcallFuel } publishedAt withdrawnAt";

/// The fields of a binding, as a selection set.
pub(super) const BINDING: &str = "scope live { name version component } since \
    previous { name version component } shadow { release { name version component } since \
    percent until decided differing failed } recent quarantinedAt";

/// A release by name, and by version where one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The name.
    pub(super) name: String,
    /// The version; none: the newest published.
    pub(super) version: Option<String>,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        if name.is_empty() || version.is_some_and(str::is_empty) {
            return Err(format!("expected NAME or NAME@VERSION, found {text:?}"));
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReleaseRef {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) component: String,
}

impl std::fmt::Display for ReleaseRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(super) struct Limits {
    pub(super) fuel: u64,
    pub(super) wall_ms: u32,
    pub(super) memory: Bytes,
    pub(super) table_elements: u32,
    pub(super) hostcall_fuel: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(super) struct Release {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) component: String,
    pub(super) summary: String,
    pub(super) bytes: Bytes,
    pub(super) engine: String,
    pub(super) compatibility: String,
    pub(super) limits: Limits,
    pub(super) published_at: String,
    pub(super) withdrawn_at: Option<String>,
}

impl From<model::Release> for Release {
    fn from(release: model::Release) -> Self {
        Self {
            name: release.id.name,
            version: release.id.version,
            component: release.id.component.to_hex(),
            summary: release.info.summary,
            bytes: release.bytes,
            engine: release.engine.version,
            compatibility: release.engine.compatibility,
            limits: Limits {
                fuel: release.limits.fuel,
                wall_ms: release.limits.wall_ms,
                memory: release.limits.memory,
                table_elements: release.limits.table_elements,
                hostcall_fuel: release.limits.hostcall_fuel,
            },
            published_at: release.published_at.to_string(),
            withdrawn_at: release.withdrawn_at.map(|at| at.to_string()),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Shadow {
    pub(super) release: ReleaseRef,
    pub(super) since: String,
    pub(super) percent: u8,
    pub(super) until: Option<String>,
    pub(super) decided: u64,
    pub(super) differing: u64,
    pub(super) failed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(super) struct Binding {
    pub(super) scope: String,
    pub(super) live: ReleaseRef,
    pub(super) since: String,
    pub(super) previous: Option<ReleaseRef>,
    pub(super) shadow: Option<Shadow>,
    pub(super) recent: Vec<bool>,
    pub(super) quarantined_at: Option<String>,
}

impl Binding {
    /// How its latest calls went, in words.
    pub(super) fn health(&self) -> String {
        let failed = self.recent.iter().filter(|decided| !**decided).count();
        match (&self.quarantined_at, self.recent.len()) {
            (Some(since), _) => format!("quarantined since {since}"),
            (None, 0) => "not called yet".to_owned(),
            (None, all) => format!("{} of {all} decided", all - failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_named_with_or_without_its_version() {
        let named = |text: &str| text.parse::<Named>();
        assert_eq!(named("a").unwrap().version, None);
        assert_eq!(
            named("a@1.0.0-rc.1").unwrap().version.unwrap(),
            "1.0.0-rc.1"
        );
        for bad in ["", "@1", "a@"] {
            assert!(named(bad).is_err(), "{bad:?}");
        }
    }
}
