//! Resolvers: what was published, and what decides for whom.

mod bindings;

use model::{Code, Limits, MAX_COMPONENT_BYTES, Refusal, Release, ReleaseRef, Scope, ServiceName};

use crate::authority::{Action, Resource};
use crate::catalogue::{Answer, Seen, TRIES, Tx, lost_race, query};
use crate::ports::{Cursor, Index, SortKeys};
use crate::records::{BindingRecord, LibraryRecord, ReleaseRecord};
use crate::{Control, Principal, digest, keys};

/// So many releases of a name are read at once when the newest of them is looked for: an
/// operator's question, by the name's own partition, which shows what was just published.
const RELEASES_AT_ONCE: u32 = 200;

impl Control {
    /// Publishes a resolver: checks and compiles its component, and keeps it under a name
    /// and a version for good. The same component under the same name and version is the
    /// same release: published again, it is compiled again for the engine of today, and
    /// keeps its limits.
    ///
    /// # Errors
    /// `Forbidden`; `InvalidRequest` for a name, a version or
    /// limits out of bounds, naming the field; `VersionExists` where another component has
    /// the name and version; `ResolverInvalid` for what breaks the contract; `Transient`.
    pub async fn publish_resolver(
        &self,
        who: &Principal,
        name: &str,
        version: &str,
        component: Vec<u8>,
        limits: Limits,
    ) -> Answer<Release> {
        self.authorize(who, Action::PublishResolver, Resource::Resolver(name))?;
        check_name(name)?;
        check_version(version)?;
        if let Some((field, cap)) = limits.beyond_cap() {
            return Err(invalid(format!("expected 1 to {cap}, found another value"))
                .at(format!("limits.{field}")));
        }
        if component.len() > MAX_COMPONENT_BYTES {
            return Err(Refusal::new(
                Code::ResolverInvalid,
                format!(
                    "expected at most {MAX_COMPONENT_BYTES} bytes, found {}",
                    component.len()
                ),
            )
            .at("component"));
        }
        let id = ReleaseRef {
            name: name.to_owned(),
            version: version.to_owned(),
            component: digest(&component),
        };
        let key = keys::release(name, version);
        if let Some(seen) = self.get::<ReleaseRecord>(&key).await? {
            same_component(&seen.value.release, &id)?;
        }
        let published = self.ports.resolvers.publish(component).await?;
        if published.component != id.component {
            return Err(Refusal::new(
                Code::Internal,
                format!(
                    "expected component {} to be kept, found {}",
                    id.component, published.component
                ),
            ));
        }
        for _ in 0..TRIES {
            let mut tx = Tx::new();
            let release = match self.get::<ReleaseRecord>(&key).await? {
                Some(seen) => {
                    let mut release = seen.value.release;
                    same_component(&release, &id)?;
                    if release.engine == published.engine {
                        return Ok(release);
                    }
                    release.engine = published.engine.clone();
                    let record = ReleaseRecord { release };
                    tx.replace(&record, seen.version);
                    record.release
                }
                None => {
                    let release = Release {
                        id: id.clone(),
                        info: published.info.clone(),
                        bytes: published.bytes,
                        limits,
                        engine: published.engine.clone(),
                        published_at: self.now(),
                        withdrawn_at: None,
                    };
                    let record = ReleaseRecord { release };
                    tx.create(&record);
                    record.release
                }
            };
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                answer?;
                tracing::info!(resolver = %id, component = %id.component, "published");
                return Ok(release);
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// Releases by name, and of one name by time; at most `limit` (1 to 200), and where to
    /// go on.
    ///
    /// # Errors
    /// `Forbidden`; `Transient` where the catalogue could not be asked.
    pub async fn releases(
        &self,
        who: &Principal,
        limit: u32,
        after: Option<Cursor>,
    ) -> Answer<(Vec<Release>, Option<Cursor>)> {
        self.authorize(who, Action::ViewResolver, Resource::Installation)?;
        let mut question = query(
            Index::Gsi1,
            keys::RELEASES.to_owned(),
            SortKeys::All,
            limit.clamp(1, 200),
        );
        question.after = after;
        let (found, next) = self.page::<ReleaseRecord>(question).await?;
        let releases = found.into_iter().map(|seen| seen.value.release);
        Ok((releases.collect(), next))
    }

    /// One release; without a version the one published last that was not withdrawn.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn release(
        &self,
        who: &Principal,
        name: &str,
        version: Option<&str>,
    ) -> Answer<Release> {
        self.authorize(who, Action::ViewResolver, Resource::Resolver(name))?;
        Ok(self.release_record(name, version).await?.value.release)
    }

    async fn release_record(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Answer<Seen<ReleaseRecord>> {
        check_name(name)?;
        let missing = || Refusal::new(Code::NotFound, format!("no resolver {name}")).at("name");
        let Some(version) = version else {
            let all = SortKeys::All;
            let mut question = query(Index::Main, keys::releases_of(name), all, RELEASES_AT_ONCE);
            let mut newest: Option<Seen<ReleaseRecord>> = None;
            loop {
                let (found, next) = self.page::<ReleaseRecord>(question.clone()).await?;
                let age = |seen: &Seen<ReleaseRecord>| seen.value.release.published_at;
                let usable = found
                    .into_iter()
                    .filter(|seen| seen.value.release.withdrawn_at.is_none());
                newest = newest.into_iter().chain(usable).max_by_key(age);
                question.after = next;
                if question.after.is_none() {
                    return newest.ok_or_else(missing);
                }
            }
        };
        check_version(version)?;
        self.get::<ReleaseRecord>(&keys::release(name, version))
            .await?
            .ok_or_else(|| {
                Refusal::new(Code::NotFound, format!("no resolver {name}@{version}")).at("version")
            })
    }

    /// Withdraws a release: it cannot be bound any more. Withdrawing it again is no error.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`; `InvalidRequest` while something
    /// is bound to it, naming what.
    pub async fn withdraw_release(
        &self,
        who: &Principal,
        name: &str,
        version: &str,
    ) -> Answer<Release> {
        self.authorize(who, Action::WithdrawResolver, Resource::Resolver(name))?;
        for _ in 0..TRIES {
            let seen = self.release_record(name, Some(version)).await?;
            let mut release = seen.value.release;
            if release.withdrawn_at.is_some() {
                return Ok(release);
            }
            // Binding writes the release too: one of the two fails.
            let bindings = self.binding_records().await?;
            if let Some(seen) = bindings.iter().find(|seen| uses(&seen.value, &release.id)) {
                return Err(invalid(format!(
                    "expected a release that nothing is bound to, found {} bound to {}",
                    seen.value.binding.scope, release.id
                ))
                .at("version"));
            }
            release.withdrawn_at = Some(self.now());
            let record = ReleaseRecord { release };
            let mut tx = Tx::new();
            tx.replace(&record, seen.version);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer.map(|()| record.release);
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// What is named must exist.
    async fn check_scope(&self, scope: &Scope) -> Answer<()> {
        let known = match scope {
            Scope::Service(name) => self.knows_service(name).await?,
            Scope::Pool(name) => self.ports.table.get(&keys::pool(name)).await?.is_some(),
            Scope::Library(id) => self
                .get::<LibraryRecord>(&keys::library(id))
                .await?
                .is_some(),
        };
        if known {
            return Ok(());
        }
        Err(Refusal::new(Code::NotFound, format!("no {scope}")).at("scope"))
    }

    async fn knows_service(&self, name: &ServiceName) -> Answer<bool> {
        Ok(self.ports.table.get(&keys::service(name)).await?.is_some())
    }
}

fn uses(record: &BindingRecord, release: &ReleaseRef) -> bool {
    let shadow = record.binding.shadow.as_ref();
    record.binding.live == *release || shadow.is_some_and(|shadow| shadow.release == *release)
}

fn same_component(release: &Release, id: &ReleaseRef) -> Answer<()> {
    if release.id.component == id.component {
        return Ok(());
    }
    Err(Refusal::new(
        Code::VersionExists,
        format!(
            "expected component {} for {id}, found {}",
            release.id.component, id.component
        ),
    )
    .at("version"))
}

fn invalid(message: String) -> Refusal {
    Refusal::new(Code::InvalidRequest, message)
}

fn check_name(name: &str) -> Answer<()> {
    if ReleaseRef::is_name(name) {
        return Ok(());
    }
    Err(invalid(format!(
        "expected 1 to {} of a-z 0-9 -, found {:?}",
        ReleaseRef::MAX_BYTES,
        name.chars().take(80).collect::<String>()
    ))
    .at("name"))
}

fn check_version(version: &str) -> Answer<()> {
    if ReleaseRef::is_version(version) {
        return Ok(());
    }
    Err(invalid(format!(
        "expected a version such as 1.0.0 or 2.1.0-rc.1, at most {} bytes, found {:?}",
        ReleaseRef::MAX_BYTES,
        version.chars().take(80).collect::<String>()
    ))
    .at("version"))
}
