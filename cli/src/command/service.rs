//! Who may have checkpoints: `service`.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::client::Client;
use crate::client::types::{Page, Service};
use crate::failure::Failure;
use crate::out::{Out, Style, table};

/// The fields of a service, as a selection set.
const FIELDS: &str = "name pool retention frozen provenanceKey";
/// The most services of one order.
const BATCH: usize = 1_000;
/// The largest page that the API gives.
const PAGE: u32 = 200;

/// What `tapemark service` is told.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ServiceCommand {
    /// Register services, or change them
    Register {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// The pool their checkpoints go to
        #[arg(long, value_name = "POOL", default_value = "main")]
        pool: String,
        /// A retention class they may use, may be given several times; the first is the
        /// default
        #[arg(long, value_name = "CLASS")]
        retention: Vec<String>,
        /// Take no new checkpoints
        #[arg(long)]
        frozen: bool,
        /// The Ed25519 public key (base64) that manifests must be signed with
        #[arg(long, value_name = "KEY")]
        provenance_key: Option<String>,
    },
    /// List all services
    List,
    /// Show one service
    Show {
        /// Its name
        name: String,
    },
}

fn rows(style: Style, list: &[Service]) -> String {
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|service| {
            let yes = |flag: bool| if flag { "yes" } else { "" }.to_owned();
            vec![
                service.name.clone(),
                service.pool.clone(),
                service.retention.join(","),
                yes(service.frozen),
                yes(service.provenance_key.is_some()),
            ]
        })
        .collect();
    table(
        style,
        &["SERVICE", "POOL", "RETENTION", "FROZEN", "SIGNED"],
        &rows,
    )
}

/// Registers services, in as many orders as it takes.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn register(client: &Client, inputs: &[Value]) -> Result<Vec<Service>, Failure> {
    let order = format!(
        "mutation($s: [ServiceInput!]!) {{ registerServices(services: $s) {{ {FIELDS} }} }}"
    );
    let mut done = Vec::new();
    for some in inputs.chunks(BATCH) {
        let list: Vec<Service> = client
            .ask("registerServices", &order, json!({ "s": some }))
            .await?;
        done.extend(list);
    }
    Ok(done)
}

/// Carries out `tapemark service`.
///
/// # Errors
/// As [`Client::ask`].
pub(crate) async fn service(
    out: &Out,
    client: &Client,
    command: ServiceCommand,
) -> Result<(), Failure> {
    match command {
        ServiceCommand::Register {
            names,
            pool,
            retention,
            frozen,
            provenance_key,
        } => {
            let inputs: Vec<Value> = names
                .iter()
                .map(|name| {
                    json!({
                        "name": name, "pool": pool, "retention": retention, "frozen": frozen,
                        "provenanceKey": provenance_key,
                    })
                })
                .collect();
            let list = register(client, &inputs).await?;
            out.show(&json!({ "services": list }), |style| rows(style, &list))
        }
        ServiceCommand::List => {
            let query = format!(
                "query($first: Int!, $after: String) {{ services(first: $first, after: $after) \
                 {{ nodes {{ {FIELDS} }} pageInfo {{ hasNextPage endCursor }} }} }}"
            );
            let mut list: Vec<Service> = Vec::new();
            let mut after: Option<String> = None;
            loop {
                let variables = json!({ "first": PAGE, "after": after });
                let page: Page<Service> = client.ask("services", &query, variables).await?;
                list.extend(page.nodes);
                if !page.page_info.has_next_page {
                    break;
                }
                after = page.page_info.end_cursor;
            }
            out.show(&json!({ "services": list }), |style| rows(style, &list))
        }
        ServiceCommand::Show { name } => {
            let query = format!("query($n: String!) {{ service(name: $n) {{ {FIELDS} }} }}");
            let service: Service = client.ask("service", &query, json!({ "n": name })).await?;
            out.show(&service, |style| {
                rows(style, std::slice::from_ref(&service))
            })
        }
    }
}
