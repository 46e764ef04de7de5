//! Several writes: all or none, and done once however often the request is sent.

use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{
    ConditionCheck, Delete, Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use control::ports::TableError;

use super::fault::{Fault, by_code, explain, fault};
use super::write::{Kind, Prepared, old_item};
use super::{DynamoTable, Expression, expression};
use crate::encode;
use crate::requests::count;

impl DynamoTable {
    /// One transaction. The token stays the same however often it is sent: DynamoDB
    /// answers a repeat within ten minutes without doing it again.
    pub(super) async fn write_all(
        &self,
        writes: &[Prepared],
        token: &str,
    ) -> Result<(), TableError> {
        let items = writes
            .iter()
            .map(|write| self.transact_item(write))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TableError::Limit(error.to_string()))?;
        let mut attempt = 0;
        loop {
            let answer = {
                let _turn = self.turn().await?;
                count(&self.counters.transactions, 1);
                count(&self.counters.transacted, items.len());
                self.client
                    .transact_write_items()
                    .set_transact_items(Some(items.clone()))
                    .client_request_token(token)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .send()
                    .await
            };
            let error = match answer {
                Ok(answer) => {
                    self.counters.wrote(answer.consumed_capacity());
                    return Ok(());
                }
                Err(error) => error,
            };
            let verdict = match &error {
                SdkError::ServiceError(context) => match context.err() {
                    TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                        Some(judge(cancelled, writes)?)
                    }
                    _ => None,
                },
                _ => None,
            };
            let (fault, at) = verdict.unwrap_or((fault(&error), None));
            let is_last = attempt + 1 >= self.backoff.attempts;
            match fault {
                Fault::Contended if is_last => return self.contended(at, writes).await,
                // Three tries of the SDK went before.
                Fault::Silent if !in_progress(&error) => return Err(explain(&error)),
                Fault::Contended | Fault::Throttled | Fault::Silent if !is_last => {}
                _ => return Err(explain(&error)),
            }
            count(&self.counters.repeats, 1);
            self.backoff.pause(attempt).await;
            attempt += 1;
        }
    }

    /// Another transaction was in the way each time: a race that was lost.
    async fn contended(&self, at: Option<usize>, writes: &[Prepared]) -> Result<(), TableError> {
        let Some(write) = at.and_then(|at| writes.get(at)) else {
            return Err(TableError::Unavailable(
                "other transactions were in the way each time".to_owned(),
            ));
        };
        Err(TableError::Conflict {
            write: write.at,
            old: self.read(&write.key).await?.map(Box::new),
        })
    }

    fn transact_item(&self, write: &Prepared) -> Result<TransactWriteItem, BuildError> {
        let (text, names, values) = match expression(write.condition) {
            Some(Expression {
                text,
                names,
                values,
            }) => (
                Some(text),
                Some(names),
                (!values.is_empty()).then_some(values),
            ),
            None => (None, None, None),
        };
        let old = text
            .is_some()
            .then_some(ReturnValuesOnConditionCheckFailure::AllOld);
        let item = TransactWriteItem::builder();
        Ok(match (write.kind, write.item()) {
            (Kind::Put, Some(attributes)) => item.put(
                Put::builder()
                    .table_name(&self.name)
                    .set_item(Some(attributes))
                    .set_condition_expression(text)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .set_return_values_on_condition_check_failure(old)
                    .build()?,
            ),
            (Kind::Put, None) => {
                let update = write.update();
                item.update(
                    Update::builder()
                        .table_name(&self.name)
                        .set_key(Some(encode::key(&write.key)))
                        .update_expression(update.text)
                        .set_expression_attribute_names(Some(update.names))
                        .set_expression_attribute_values(Some(update.values))
                        .build()?,
                )
            }
            (Kind::Delete, _) => item.delete(
                Delete::builder()
                    .table_name(&self.name)
                    .set_key(Some(encode::key(&write.key)))
                    .set_condition_expression(text)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .set_return_values_on_condition_check_failure(old)
                    .build()?,
            ),
            (Kind::Check, _) => item.condition_check(
                ConditionCheck::builder()
                    .table_name(&self.name)
                    .set_key(Some(encode::key(&write.key)))
                    .set_condition_expression(text)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .set_return_values_on_condition_check_failure(old)
                    .build()?,
            ),
        }
        .build())
    }
}

/// Why a transaction was cancelled, and which of its items is to blame: one reason each,
/// in the order of the items. A condition that failed is an answer; a limit is a mistake;
/// everything else is worth another try.
fn judge(
    cancelled: &TransactionCanceledException,
    writes: &[Prepared],
) -> Result<(Fault, Option<usize>), TableError> {
    let mut found: Option<(Fault, usize)> = None;
    for (at, reason) in cancelled.cancellation_reasons().iter().enumerate() {
        let code = reason.code().unwrap_or("None");
        if code == "None" {
            continue;
        }
        match by_code(code) {
            Some(Fault::Condition) => {
                return Err(TableError::Conflict {
                    write: writes.get(at).map_or(at, |write| write.at),
                    old: old_item(reason.item.clone())?,
                });
            }
            Some(Fault::Limit) => {
                let message = reason.message().unwrap_or(code);
                return Err(TableError::Limit(format!("write {at}: {message}")));
            }
            Some(fault) => found = found.or(Some((fault, at))),
            None => {
                let message = reason.message().unwrap_or_default();
                return Err(TableError::Unavailable(format!(
                    "write {at}: {code}: {message}"
                )));
            }
        }
    }
    Ok(match found {
        Some((fault, at)) => (fault, Some(at)),
        // Cancelled for a reason that is not given: nothing was written.
        None => (Fault::Throttled, None),
    })
}

fn in_progress(error: &SdkError<TransactWriteItemsError>) -> bool {
    error
        .as_service_error()
        .is_some_and(TransactWriteItemsError::is_transaction_in_progress_exception)
}
