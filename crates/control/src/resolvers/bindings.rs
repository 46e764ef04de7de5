//! Bindings: which resolver decides, which one is tried out beside it.

use jiff::Timestamp;
use model::{Binding, Code, Refusal, ReleaseRef, Scope, Shadow};

use super::invalid;
use crate::authority::{Action, Resource};
use crate::catalogue::{Answer, Seen, TRIES, Tx, lost_race};
use crate::ports::{Condition, Index, SortKeys};
use crate::records::{BindingRecord, ReleaseRecord};
use crate::{Control, Principal, keys};

/// The most bindings of an installation: one query reads all of them.
const MAX_BINDINGS: u32 = 1000;

impl Control {
    /// Has a release decide for a scope; without a version the one published last. The one
    /// before becomes where [`Control::rollback_resolver`] leads. Health and quarantine
    /// begin anew; a shadow stays.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` for a scope or a release that does
    /// not exist; `InvalidRequest` for one that was withdrawn, or with 1,000 bindings.
    pub async fn bind_resolver(
        &self,
        who: &Principal,
        scope: Scope,
        name: &str,
        version: Option<&str>,
    ) -> Answer<Binding> {
        self.authorize(who, Action::BindResolver, Resource::from(&scope))?;
        self.check_scope(&scope).await?;
        for _ in 0..TRIES {
            let release = self.bindable(name, version).await?;
            let id = &release.value.release.id;
            let found = self.get::<BindingRecord>(&keys::binding(&scope)).await?;
            let mut tx = Tx::new();
            let record = match &found {
                Some(seen) => {
                    let mut record = seen.value.clone();
                    if record.binding.live != *id {
                        record.binding.previous = Some(record.binding.live.clone());
                    }
                    record.limits = release.value.release.limits;
                    fresh(&mut record.binding, id.clone(), self.now());
                    tx.replace(&record, seen.version);
                    record
                }
                None => {
                    if self.binding_records().await?.len() >= MAX_BINDINGS as usize {
                        return Err(invalid(format!(
                            "expected fewer than {MAX_BINDINGS} bindings; bind the pool instead"
                        ))
                        .at("scope"));
                    }
                    let record = BindingRecord {
                        binding: Binding {
                            scope: scope.clone(),
                            live: id.clone(),
                            since: self.now(),
                            previous: None,
                            shadow: None,
                            recent: Vec::new(),
                            quarantined: None,
                        },
                        limits: release.value.release.limits,
                        shadow_limits: release.value.release.limits,
                    };
                    tx.create(&record);
                    record
                }
            };
            // A withdrawal at the same time fails.
            tx.replace(&release.value, release.version);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                tracing::info!(%scope, resolver = %id, "bound");
                return answer.map(|()| record.binding);
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// Lets a scope go: what is wider decides for it again, in the end the native policy.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` where nothing is bound.
    pub async fn unbind_resolver(&self, who: &Principal, scope: &Scope) -> Answer<()> {
        self.authorize(who, Action::UnbindResolver, Resource::from(scope))?;
        for _ in 0..TRIES {
            let seen = self.binding_record(scope).await?;
            let mut tx = Tx::new();
            tx.delete(keys::binding(scope), Condition::Version(seen.version));
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// Tries a release out beside the live one: of a hundred decisions it sees `percent`,
    /// until `until`; what it decides is recorded and never applied.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` where nothing is bound or there is
    /// no such release; `InvalidRequest` for a percentage outside 1 to 100, an end in the
    /// past, a withdrawn release, or the live one itself.
    pub async fn shadow_resolver(
        &self,
        who: &Principal,
        scope: Scope,
        name: &str,
        version: Option<&str>,
        percent: u8,
        until: Option<Timestamp>,
    ) -> Answer<Binding> {
        self.authorize(who, Action::ShadowResolver, Resource::from(&scope))?;
        if !(1..=100).contains(&percent) {
            return Err(invalid(format!("expected 1 to 100, found {percent}")).at("percent"));
        }
        let now = self.now();
        if let Some(until) = until.filter(|until| *until <= now) {
            return Err(invalid(format!("expected an end after {now}, found {until}")).at("until"));
        }
        for _ in 0..TRIES {
            let release = self.bindable(name, version).await?;
            let id = &release.value.release.id;
            let seen = self.binding_record(&scope).await?;
            let mut record = seen.value;
            if record.binding.live.component == id.component {
                return Err(invalid(format!(
                    "expected another resolver than the live one, found {}",
                    record.binding.live
                ))
                .at("name"));
            }
            record.shadow_limits = release.value.release.limits;
            record.binding.shadow = Some(Shadow {
                release: id.clone(),
                since: now,
                percent,
                until,
                decided: 0,
                differing: 0,
                failed: 0,
            });
            let mut tx = Tx::new();
            tx.replace(&record, seen.version);
            tx.replace(&release.value, release.version);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer.map(|()| record.binding);
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// Ends a shadow.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` where nothing is bound;
    /// `InvalidRequest` where there is no shadow.
    pub async fn unshadow_resolver(&self, who: &Principal, scope: Scope) -> Answer<Binding> {
        self.authorize(who, Action::UnshadowResolver, Resource::from(&scope))?;
        self.change_binding(&scope, |record, _| {
            record.binding.shadow.take().map(drop).ok_or_else(no_shadow)
        })
        .await
    }

    /// Makes the shadow the live resolver, and the live one where rollback leads.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` where nothing is bound;
    /// `InvalidRequest` where there is no shadow.
    pub async fn promote_resolver(&self, who: &Principal, scope: Scope) -> Answer<Binding> {
        self.authorize(who, Action::PromoteResolver, Resource::from(&scope))?;
        self.change_binding(&scope, |record, now| {
            let shadow = record.binding.shadow.take().ok_or_else(no_shadow)?;
            record.binding.previous = Some(record.binding.live.clone());
            record.limits = record.shadow_limits;
            fresh(&mut record.binding, shadow.release, now);
            Ok(())
        })
        .await
    }

    /// Back to the resolver that was live before; the one that is live now becomes the one
    /// before. A shadow stays, unless it is the one that is live again.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` where nothing is bound;
    /// `InvalidRequest` where there was none before, or it was withdrawn.
    pub async fn rollback_resolver(&self, who: &Principal, scope: Scope) -> Answer<Binding> {
        self.authorize(who, Action::RollbackResolver, Resource::from(&scope))?;
        for _ in 0..TRIES {
            let seen = self.binding_record(&scope).await?;
            let mut record = seen.value;
            let Some(previous) = record.binding.previous.take() else {
                return Err(invalid(format!(
                    "expected {scope} to have had another resolver, found none"
                ))
                .at("scope"));
            };
            let release = self
                .bindable(&previous.name, Some(&previous.version))
                .await?;
            record.binding.previous = Some(record.binding.live.clone());
            record.limits = release.value.release.limits;
            record
                .binding
                .shadow
                .take_if(|shadow| shadow.release == previous);
            fresh(&mut record.binding, previous, self.now());
            let mut tx = Tx::new();
            tx.replace(&record, seen.version);
            tx.replace(&release.value, release.version);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer.map(|()| record.binding);
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// All bindings, by scope.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn bindings(&self, who: &Principal) -> Answer<Vec<Binding>> {
        self.authorize(who, Action::ViewBinding, Resource::Installation)?;
        let found = self.binding_records().await?;
        Ok(found.into_iter().map(|seen| seen.value.binding).collect())
    }

    /// All of them: one query.
    pub(crate) async fn binding_records(&self) -> Answer<Vec<Seen<BindingRecord>>> {
        self.first(
            Index::Main,
            keys::BINDINGS.to_owned(),
            SortKeys::All,
            MAX_BINDINGS,
        )
        .await
    }

    async fn binding_record(&self, scope: &Scope) -> Answer<Seen<BindingRecord>> {
        self.get(&keys::binding(scope)).await?.ok_or_else(|| {
            Refusal::new(Code::NotFound, format!("nothing is bound to {scope}")).at("scope")
        })
    }

    async fn change_binding(
        &self,
        scope: &Scope,
        change: impl Fn(&mut BindingRecord, Timestamp) -> Answer<()> + Send + Sync,
    ) -> Answer<Binding> {
        for _ in 0..TRIES {
            let seen = self.binding_record(scope).await?;
            let mut record = seen.value;
            change(&mut record, self.now())?;
            let mut tx = Tx::new();
            tx.replace(&record, seen.version);
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer.map(|()| record.binding);
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// A release that may be bound.
    async fn bindable(&self, name: &str, version: Option<&str>) -> Answer<Seen<ReleaseRecord>> {
        let seen = self.release_record(name, version).await?;
        if let Some(at) = seen.value.release.withdrawn_at {
            return Err(invalid(format!(
                "expected a release that may be bound, found {} withdrawn at {at}",
                seen.value.release.id
            ))
            .at("version"));
        }
        Ok(seen)
    }
}

/// Puts a release in charge; what the one before did counts no more.
fn fresh(binding: &mut Binding, live: ReleaseRef, now: Timestamp) {
    binding.live = live;
    binding.since = now;
    binding.recent.clear();
    binding.quarantined = None;
}

fn no_shadow() -> Refusal {
    invalid("expected a shadow, found none".to_owned()).at("scope")
}
