//! What decides for a scope: `bind`, `unbind`, `unshadow`, `promote`, `rollback`,
//! `withdraw`.

use clap::Args;
use model::Scope;
use serde_json::json;

use super::types::{BINDING, Binding, Named, RELEASE, Release};
use crate::client::Client;
use crate::failure::Failure;
use crate::out::{Out, Style};

/// What `tapemark resolver bind` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct BindArgs {
    /// For what: service:NAME, pool:NAME or library:NAME. The narrowest decides
    scope: Scope,
    /// Which release; the newest published where no version is named
    #[arg(value_name = "NAME[@VERSION]")]
    release: Named,
}

/// A scope.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScopeArgs {
    /// For what: service:NAME, pool:NAME or library:NAME
    pub(super) scope: Scope,
}

/// What `tapemark resolver withdraw` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct WithdrawArgs {
    /// Which release
    #[arg(value_name = "NAME@VERSION")]
    release: Named,
}

/// A binding for people.
pub(super) fn text(style: Style, binding: &Binding) -> String {
    let mut text = format!(
        "{}  {}  since {}\n",
        style.bold(&binding.scope),
        binding.live,
        binding.since
    );
    text.push_str(&format!("  health    {}\n", binding.health()));
    if let Some(previous) = &binding.previous {
        text.push_str(&format!("  previous  {previous}\n"));
    }
    if let Some(shadow) = &binding.shadow {
        text.push_str(&format!(
            "  shadow    {}, sees {} % since {}{}\n",
            shadow.release,
            shadow.percent,
            shadow.since,
            shadow
                .until
                .as_ref()
                .map_or_else(String::new, |until| format!(" until {until}")),
        ));
    }
    text
}

/// Carries out `tapemark resolver bind`.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn bind(out: &Out, client: &Client, args: BindArgs) -> Result<(), Failure> {
    let order = format!(
        "mutation($s: String!, $n: String!, $v: String) {{ \
         bindResolver(scope: $s, name: $n, version: $v) {{ {BINDING} }} }}"
    );
    let variables = json!({
        "s": args.scope.to_string(), "n": args.release.name, "v": args.release.version,
    });
    let binding: Binding = client.ask("bindResolver", &order, variables).await?;
    out.show(&binding, |style| text(style, &binding))
}

/// Carries out `tapemark resolver unbind`.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn unbind(out: &Out, client: &Client, scope: &Scope) -> Result<(), Failure> {
    let order = "mutation($s: String!) { unbindResolver(scope: $s) }";
    let scope = scope.to_string();
    let unbound: bool = client
        .ask("unbindResolver", order, json!({ "s": scope }))
        .await?;
    out.show(&json!({ "scope": scope, "unbound": unbound }), |_| {
        format!("{scope} unbound\n")
    })
}

/// Carries out the orders that take a scope alone and answer with its binding.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn change(
    out: &Out,
    client: &Client,
    field: &str,
    scope: &Scope,
) -> Result<(), Failure> {
    let order = format!("mutation($s: String!) {{ {field}(scope: $s) {{ {BINDING} }} }}");
    let binding: Binding = client
        .ask(field, &order, json!({ "s": scope.to_string() }))
        .await?;
    out.show(&binding, |style| text(style, &binding))
}

/// Carries out `tapemark resolver withdraw`.
///
/// # Errors
/// [`Failure::Usage`] without a version; as [`Client::ask`].
pub(crate) async fn withdraw(
    out: &Out,
    client: &Client,
    args: WithdrawArgs,
) -> Result<(), Failure> {
    let Named { name, version } = args.release;
    let Some(version) = version else {
        return Err(Failure::Usage(format!(
            "expected the version too, as in {name}@1.0.0, found the name alone"
        )));
    };
    let order = format!(
        "mutation($n: String!, $v: String!) {{ \
         withdrawResolver(name: $n, version: $v) {{ {RELEASE} }} }}"
    );
    let release: Release = client
        .ask(
            "withdrawResolver",
            &order,
            json!({ "n": name, "v": version }),
        )
        .await?;
    out.show(&release, |_| format!("{name}@{version} withdrawn\n"))
}
