//! The single table: names of its attributes and indexes, as `template.yaml` has them.

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata as _};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
    TimeToLiveSpecification,
};
use control::ports::TableError;

/// The partition key, text.
pub const PK: &str = "pk";
/// The sort key, text.
pub const SK: &str = "sk";
/// What rises by one with each write, a number.
pub const VERSION: &str = "version";
/// The record as JSON, text.
pub const BODY: &str = "body";
/// Unix seconds after which DynamoDB may delete the item (TTL), a number.
pub const EXPIRES: &str = "expires";
/// The same with its fraction, RFC 3339, where it has one.
pub const EXPIRES_EXACT: &str = "expires_exact";
/// Which call wrote the item last: how a writer that lost its answer knows its own write.
pub const WRITER: &str = "writer";
/// A global index: its name, its partition and sort key. All attributes are projected,
/// because every query of the control plane wants the record.
pub struct IndexSchema {
    /// Its name.
    pub name: &'static str,
    /// Its partition key.
    pub pk: &'static str,
    /// Its sort key.
    pub sk: &'static str,
}

/// The first index.
pub const GSI1: IndexSchema = IndexSchema {
    name: "gsi1",
    pk: "gsi1pk",
    sk: "gsi1sk",
};
/// The second index.
pub const GSI2: IndexSchema = IndexSchema {
    name: "gsi2",
    pk: "gsi2pk",
    sk: "gsi2sk",
};

/// Makes the table, for tests and development; in AWS the template makes it, with
/// point-in-time recovery, a key of its own and deletion protection besides.
///
/// On demand, so that there is no capacity to plan; a stream of new and old images for the
/// events function; TTL on [`EXPIRES`]. A table that is there already is left as it is.
///
/// # Errors
/// [`TableError::Unavailable`] where DynamoDB refuses or cannot be asked.
pub async fn create_table(client: &aws_sdk_dynamodb::Client, name: &str) -> Result<(), TableError> {
    let made = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(attributes()?))
        .set_key_schema(Some(key_schema(PK, SK)?))
        .global_secondary_indexes(index(&GSI1)?)
        .global_secondary_indexes(index(&GSI2)?)
        .stream_specification(
            StreamSpecification::builder()
                .stream_enabled(true)
                .stream_view_type(StreamViewType::NewAndOldImages)
                .build()
                .map_err(invalid)?,
        )
        .send()
        .await;
    match made {
        Ok(_) => {}
        Err(error) if error.code() == Some("ResourceInUseException") => return Ok(()),
        Err(error) => return Err(unavailable(&error)),
    }
    // DynamoDB makes tables in seconds; a minute is one that will not come.
    for attempt in 0..60 {
        let found = client
            .describe_table()
            .table_name(name)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        let status = found.table().and_then(|table| table.table_status());
        if status == Some(&TableStatus::Active) {
            break;
        }
        if attempt == 59 {
            return Err(TableError::Unavailable(format!(
                "table {name}: expected it active after a minute, found {status:?}"
            )));
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    client
        .update_time_to_live()
        .table_name(name)
        .time_to_live_specification(
            TimeToLiveSpecification::builder()
                .attribute_name(EXPIRES)
                .enabled(true)
                .build()
                .map_err(invalid)?,
        )
        .send()
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(())
}

fn attributes() -> Result<Vec<AttributeDefinition>, TableError> {
    [PK, SK, GSI1.pk, GSI1.sk, GSI2.pk, GSI2.sk]
        .into_iter()
        .map(|name| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .map_err(invalid)
        })
        .collect()
}

fn key_schema(pk: &str, sk: &str) -> Result<Vec<KeySchemaElement>, TableError> {
    [(pk, KeyType::Hash), (sk, KeyType::Range)]
        .into_iter()
        .map(|(name, kind)| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build()
                .map_err(invalid)
        })
        .collect()
}

fn index(schema: &IndexSchema) -> Result<GlobalSecondaryIndex, TableError> {
    GlobalSecondaryIndex::builder()
        .index_name(schema.name)
        .set_key_schema(Some(key_schema(schema.pk, schema.sk)?))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::All)
                .build(),
        )
        .build()
        .map_err(invalid)
}

fn invalid(error: aws_sdk_dynamodb::error::BuildError) -> TableError {
    TableError::Limit(error.to_string())
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> TableError {
    TableError::Unavailable(DisplayErrorContext(error).to_string())
}
