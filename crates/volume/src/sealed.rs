//! The sealed part of a manifest: names and sources, and where each artifact lies.

use model::{
    Artifact, ArtifactName, ArtifactSource, Bytes, CheckpointId, ServiceName, Sha256, Version,
};
use serde::{Deserialize, Serialize};

use crate::FORMAT_VERSION;
use crate::manifest::{Manifest, MemberKind, digest};

/// What `format` says in the sealed part.
const SEALED_FORMAT: &str = "tapemark/sealed";

/// The sealed part, once opened: names and sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// `tapemark/sealed`.
    pub format: String,
    /// The format's version, 1.
    pub version: u32,
    /// The checkpoint, so that a sealed part cannot be put under another manifest.
    pub checkpoint: CheckpointId,
    /// The service.
    pub service: ServiceName,
    /// The version of the service.
    pub service_version: Version,
    /// The checkpoint it follows.
    pub parent: Option<CheckpointId>,
    /// The artifact ranges of this part, in the order of the checkpoint's list.
    pub artifacts: Vec<SealedArtifact>,
}

/// An artifact range in the sealed part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedArtifact {
    /// The artifact's index in the checkpoint's list.
    pub index: u32,
    /// Its name.
    pub name: ArtifactName,
    /// Where the submitter had it.
    pub source: ArtifactSource,
    /// Its whole size.
    pub size: Bytes,
    /// The digest of the whole.
    pub sha256: Sha256,
    /// Where the range begins in the artifact.
    pub offset: Bytes,
    /// How long the range is.
    pub length: Bytes,
    /// The digest of the range's bytes, as read when it was written. Equal to `sha256` where
    /// the range is the whole artifact.
    pub range_sha256: Sha256,
    /// The index, in the clear part's list, of the (first) member that holds it.
    pub member: u32,
    /// How many members hold it, one after the other in the list.
    pub members: u32,
    /// Where its bytes begin in the opened member: in a bundle the byte of the inner tar,
    /// otherwise 0.
    pub at: Bytes,
}

impl SealedArtifact {
    /// True where the range is the whole artifact.
    pub fn is_whole(&self) -> bool {
        self.offset == Bytes::ZERO && self.length == self.size
    }

    /// The range in the model's words.
    pub const fn range(&self) -> model::ArtifactRange {
        model::ArtifactRange {
            artifact: self.index,
            offset: self.offset,
            length: self.length,
        }
    }

    /// The artifact in the model's words.
    pub fn artifact(&self) -> Artifact {
        Artifact {
            name: self.name.clone(),
            source: self.source.clone(),
            size: self.size,
            sha256: self.sha256,
        }
    }
}

impl Sealed {
    /// An empty sealed part of this version of the format.
    pub fn new(
        checkpoint: CheckpointId,
        service: ServiceName,
        service_version: Version,
        parent: Option<CheckpointId>,
    ) -> Self {
        Self {
            format: SEALED_FORMAT.to_owned(),
            version: FORMAT_VERSION,
            checkpoint,
            service,
            service_version,
            parent,
            artifacts: Vec::new(),
        }
    }

    /// The sealed part as JSON, with one artifact a line, so that a line editor can take names
    /// out of it.
    ///
    /// # Errors
    /// None in practice: [`crate::VolumeError::Damaged`] where it cannot be put into JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, crate::VolumeError> {
        let failed =
            |error: serde_json::Error| crate::VolumeError::Damaged(format!("sealed part: {error}"));
        let head = Self {
            format: self.format.clone(),
            service: self.service.clone(),
            service_version: self.service_version.clone(),
            artifacts: Vec::new(),
            ..*self
        };
        let mut json = serde_json::to_vec(&head).map_err(failed)?;
        // `artifacts` is the last field: the text ends with `[]}`.
        json.truncate(json.len().saturating_sub(2));
        for (at, artifact) in self.artifacts.iter().enumerate() {
            json.extend_from_slice(if at == 0 { b"\n" } else { b",\n" });
            serde_json::to_writer(&mut json, artifact).map_err(failed)?;
        }
        json.extend_from_slice(b"\n]}\n");
        Ok(json)
    }

    /// SHA-256 of `work::part_text` of the ranges.
    pub fn part_content(&self) -> Sha256 {
        let text = model::work::part_text(
            self.artifacts
                .iter()
                .map(|a| (&a.name, a.sha256, a.size, a.range())),
        );
        digest(text.as_bytes())
    }

    /// Reads a sealed part and checks it against the clear part.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(json: &[u8], manifest: &Manifest) -> Result<Self, String> {
        let sealed: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        let check = |what: &str, ok: bool| ok.then_some(()).ok_or_else(|| what.to_owned());
        check(
            "format is not tapemark/sealed",
            sealed.format == SEALED_FORMAT,
        )?;
        check("version is not 1", sealed.version == FORMAT_VERSION)?;
        check(
            "the sealed part is of another checkpoint",
            sealed.checkpoint == manifest.head.checkpoint,
        )?;
        check(
            "the sealed part has another number of artifacts",
            sealed.artifacts.len() == manifest.artifacts as usize,
        )?;
        check(
            "the sealed part lists other artifacts",
            sealed.part_content() == manifest.part_content,
        )?;
        for artifact in &sealed.artifacts {
            let first = artifact.member as usize;
            let members = first
                .checked_add(artifact.members as usize)
                .and_then(|end| manifest.members.get(first..end))
                .filter(|members| !members.is_empty())
                .ok_or("an artifact's members are not in the list")?;
            let bundled = members[0].kind == MemberKind::Bundle;
            check(
                "a bundled artifact lies in one member, another begins at byte 0",
                if bundled {
                    members.len() == 1
                } else {
                    artifact.at == Bytes::ZERO
                        && members.iter().all(|m| m.kind == MemberKind::Artifact)
                },
            )?;
            check(
                "a range leaves its artifact",
                artifact
                    .offset
                    .0
                    .checked_add(artifact.length.0)
                    .is_some_and(|end| end <= artifact.size.0),
            )?;
        }
        Ok(sealed)
    }
}
