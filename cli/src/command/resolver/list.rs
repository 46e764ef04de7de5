//! What is published and what decides: `list`.

use serde_json::json;

use super::types::{BINDING, Binding, RELEASE, Release};
use crate::client::Client;
use crate::client::types::Page;
use crate::failure::Failure;
use crate::out::{Out, Style, bytes, table};

/// Carries out `tapemark resolver list`.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn list(out: &Out, client: &Client) -> Result<(), Failure> {
    let releases = releases(client).await?;
    let bindings = bindings(client).await?;
    let all = json!({ "releases": releases, "bindings": bindings });
    out.show(&all, |style| {
        format!(
            "{}\n{}",
            release_table(style, &releases),
            binding_table(style, &bindings)
        )
    })
}

/// Every release, by name.
pub(super) async fn releases(client: &Client) -> Result<Vec<Release>, Failure> {
    let query = format!(
        "query($after: String) {{ resolvers(first: 200, after: $after) {{ nodes {{ {RELEASE} }} \
         pageInfo {{ hasNextPage endCursor }} }} }}"
    );
    let mut list = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page: Page<Release> = client
            .ask("resolvers", &query, json!({ "after": after }))
            .await?;
        list.extend(page.nodes);
        if !page.page_info.has_next_page {
            return Ok(list);
        }
        after = page.page_info.end_cursor;
    }
}

/// Every binding.
pub(super) async fn bindings(client: &Client) -> Result<Vec<Binding>, Failure> {
    let query = format!("{{ resolverBindings {{ {BINDING} }} }}");
    client.ask("resolverBindings", &query, json!({})).await
}

fn release_table(style: Style, releases: &[Release]) -> String {
    let rows: Vec<Vec<String>> = releases
        .iter()
        .map(|release| {
            vec![
                format!("{}@{}", release.name, release.version),
                release.component.chars().take(12).collect(),
                bytes(release.bytes.0),
                release.engine.clone(),
                if release.withdrawn_at.is_some() {
                    "withdrawn".to_owned()
                } else {
                    release.summary.clone()
                },
            ]
        })
        .collect();
    let head = ["RESOLVER", "COMPONENT", "SIZE", "ENGINE", "WHAT IT DOES"];
    table(style, &head, &rows)
}

fn binding_table(style: Style, bindings: &[Binding]) -> String {
    let rows: Vec<Vec<String>> = bindings
        .iter()
        .map(|binding| {
            let shadow = binding.shadow.as_ref().map_or_else(String::new, |shadow| {
                format!(
                    "{}: {} decided, {} differ, {} failed",
                    shadow.release, shadow.decided, shadow.differing, shadow.failed
                )
            });
            vec![
                binding.scope.clone(),
                binding.live.to_string(),
                binding.health(),
                shadow,
            ]
        })
        .collect();
    table(style, &["SCOPE", "DECIDES", "HEALTH", "SHADOW"], &rows)
}
