//! What an installation has from the start: the built-in resolvers, and a default.

use std::borrow::Cow;

use control::{Control, Principal};
use model::{Code, LibraryId, Limits, Refusal, Release, ReleaseRef, Scope};
use tokio_util::sync::CancellationToken;

use super::{LocalResolvers, digest};
use control::ports::Resolvers as _;

const WHO: Principal = Principal::Operator;

/// Before anything is decided: makes sure that what is bound can be called, publishes the
/// default, and binds it to the library where nothing is bound at all.
///
/// A resolver that cannot be made ready does not keep the installation from starting: its
/// pool's fallback decides, and the decisions say why.
///
/// # Errors
/// Where the catalogue cannot be asked.
pub(crate) async fn set_up(
    control: &Control,
    local: &LocalResolvers,
    built_in: &[(String, Cow<'static, [u8]>)],
    library: &LibraryId,
) -> Result<(), Refusal> {
    let bindings = control.bindings(&WHO).await?;
    for binding in &bindings {
        let shadow = binding.shadow.as_ref().map(|shadow| &shadow.release);
        for id in std::iter::once(&binding.live).chain(shadow) {
            make_ready(control, local, id).await;
        }
    }
    let Some((name, component)) = built_in.first() else {
        return Ok(());
    };
    let release = match publish(control, local, name, component).await {
        Ok(release) => release,
        Err(refusal) => {
            tracing::error!(name, code = %refusal.code, message = refusal.message, "no default resolver");
            return Ok(());
        }
    };
    if bindings.is_empty() {
        let scope = Scope::Library(library.clone());
        control
            .bind_resolver(&WHO, scope, name, Some(&release.id.version))
            .await?;
    }
    Ok(())
}

/// In the background: publishes the other built-in resolvers, and compiles anew what an
/// older engine compiled. Ends early when told to stop.
pub(crate) async fn prepare(
    control: Control,
    local: LocalResolvers,
    built_in: Vec<(String, Cow<'static, [u8]>)>,
    stop: CancellationToken,
) {
    let work = async {
        for (name, component) in built_in.iter().skip(1) {
            if let Err(refusal) = publish(&control, &local, name, component).await {
                tracing::error!(name, code = %refusal.code, message = refusal.message, "a built-in resolver is missing");
            }
        }
        let mut after = None;
        loop {
            let (releases, next) = control.releases(&WHO, 200, after).await?;
            for release in releases.iter().filter(|one| one.withdrawn_at.is_none()) {
                make_ready(&control, &local, &release.id).await;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok::<_, Refusal>(()),
            }
        }
    };
    tokio::select! {
        done = work => if let Err(refusal) = done {
            tracing::warn!(code = %refusal.code, message = refusal.message, "releases were not looked through");
        },
        () = stop.cancelled() => {}
    }
}

/// Publishes a built-in resolver under its name and the version it says.
async fn publish(
    control: &Control,
    local: &LocalResolvers,
    name: &str,
    component: &[u8],
) -> Result<Release, Refusal> {
    let version = local.publish(component.to_vec()).await?.info.version;
    let published = control
        .publish_resolver(&WHO, name, &version, component.to_vec(), Limits::DEFAULT)
        .await;
    match published {
        // The same version of another build: what is published stays what it is.
        Err(refusal) if refusal.code == Code::VersionExists => {
            tracing::info!(name, version, ours = %digest(component), "published before, from another build");
            control.release(&WHO, name, Some(&version)).await
        }
        published => published,
    }
}

/// Compiles a release anew where its code cannot be loaded by this program's engine.
async fn make_ready(control: &Control, local: &LocalResolvers, id: &ReleaseRef) {
    if local.is_ready(id.component).await {
        return;
    }
    let again = async {
        let component = local.component(id.component).await?;
        control
            .publish_resolver(&WHO, &id.name, &id.version, component, Limits::DEFAULT)
            .await
    };
    match again.await {
        Ok(_) => tracing::info!(resolver = %id, "compiled anew"),
        Err(refusal) => {
            tracing::error!(resolver = %id, code = %refusal.code, message = refusal.message, "cannot be called");
        }
    }
}
