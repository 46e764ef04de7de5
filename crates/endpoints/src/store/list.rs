//! Listings.

use std::ops::Bound;

use s3s::S3Result;

use super::{Content, Store, Version};

/// What to list.
pub(crate) struct Wish<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: Option<&'a str>,
    /// Names up to this one are left out.
    pub(crate) after: Option<&'a str>,
    pub(crate) most: usize,
}

/// A page of a listing, in the order of the names' bytes.
#[derive(Default)]
pub(crate) struct Listed {
    /// Keys with their newest version, those with a delete marker left out.
    pub(crate) keys: Vec<(String, Version, Content)>,
    /// What stands for many keys, ending with the delimiter.
    pub(crate) prefixes: Vec<String>,
    /// The last name, where there are more.
    pub(crate) next: Option<String>,
}

/// A page of a listing of versions.
pub(crate) struct Versions {
    /// Keys with a version, newest first, and whether it is the newest.
    pub(crate) found: Vec<(String, Version, bool)>,
    /// Whether there are more.
    pub(crate) more: bool,
}

impl Store {
    pub(crate) fn list(&self, bucket: &str, wish: &Wish<'_>) -> S3Result<Listed> {
        let state = self.state.read();
        let keys = &state.bucket(bucket)?.keys;
        let from = wish
            .after
            .map_or(wish.prefix, |after| after.max(wish.prefix));
        let mut listed = Listed::default();
        let mut last: Option<String> = None;
        for (key, versions) in keys.range::<str, _>((Bound::Included(from), Bound::Unbounded)) {
            let Some(rest) = key.strip_prefix(wish.prefix) else {
                break;
            };
            let newest = versions.first();
            let Some((version, content)) =
                newest.and_then(|version| Some((version, version.content.as_ref()?)))
            else {
                continue;
            };
            let folded = wish.delimiter.filter(|delimiter| !delimiter.is_empty());
            let folded = folded.and_then(|delimiter| {
                let end = rest.find(delimiter)? + delimiter.len();
                Some(&key[..wish.prefix.len() + end])
            });
            let name = folded.unwrap_or(key);
            let is_before = wish.after.is_some_and(|after| name <= after);
            if is_before || last.as_deref() == Some(name) {
                continue;
            }
            if listed.keys.len() + listed.prefixes.len() >= wish.most {
                listed.next = last;
                return Ok(listed);
            }
            match folded {
                Some(prefix) => listed.prefixes.push(prefix.to_owned()),
                None => listed
                    .keys
                    .push((key.clone(), version.clone(), content.clone())),
            }
            last = Some(name.to_owned());
        }
        Ok(listed)
    }

    /// All versions of keys with a prefix, newest first, after a version of a key.
    pub(crate) fn versions(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<(&str, Option<&str>)>,
        most: usize,
    ) -> S3Result<Versions> {
        let state = self.state.read();
        let keys = &state.bucket(bucket)?.keys;
        let from = after.map_or(prefix, |(key, _)| key.max(prefix));
        let mut found = Vec::new();
        for (key, versions) in keys.range::<str, _>((Bound::Included(from), Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            let skip = match after {
                Some((last, id)) if last == key => id
                    .and_then(|id| versions.iter().position(|version| version.id == id))
                    .map_or(versions.len(), |at| at + 1),
                _ => 0,
            };
            for (at, version) in versions.iter().enumerate().skip(skip) {
                if found.len() >= most {
                    return Ok(Versions { found, more: true });
                }
                found.push((key.clone(), version.clone(), at == 0));
            }
        }
        Ok(Versions { found, more: false })
    }
}
