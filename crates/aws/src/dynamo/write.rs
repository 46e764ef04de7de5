//! One write: as one request of its own.
//!
//! A put that got no answer is sent again, and then meets itself: its condition fails, and
//! the item that comes back carries this call's token as its writer. So a lost answer is no
//! lost claim.

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use control::ports::{Condition, Item, Key, TableError, Write};

use super::fault::{Fault, explain, fault};
use super::{DynamoTable, Expression, expression, names};
use crate::client::TABLE_ATTEMPTS;
use crate::encode::{self, Attributes, check_key, number, text};
use crate::requests::count;
use crate::schema::{BODY, EXPIRES, EXPIRES_EXACT, GSI1, GSI2, VERSION, WRITER};

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Delete,
    Check,
}

/// A write, checked and encoded.
pub(super) struct Prepared {
    /// Which write of the call it is.
    pub(super) at: usize,
    pub(super) key: Key,
    pub(super) kind: Kind,
    pub(super) condition: Condition,
    /// Of a put: all but key and version.
    pub(super) rest: Attributes,
    /// What it adds to a transaction.
    pub(super) bytes: usize,
}

impl Prepared {
    pub(super) fn new(at: usize, write: Write, token: &str) -> Result<Self, TableError> {
        let (key, kind, condition, (rest, bytes)) = match write {
            Write::Put(item, condition) => {
                let rest = encode::rest(&item, token)?;
                (item.key, Kind::Put, condition, rest)
            }
            Write::Delete(key, condition) => (key, Kind::Delete, condition, Default::default()),
            Write::Check(key, condition) => (key, Kind::Check, condition, Default::default()),
        };
        check_key(&key)?;
        Ok(Self {
            at,
            key,
            kind,
            condition,
            rest,
            bytes,
        })
    }

    /// True where the write needs no transaction to be said twice. A conditional delete
    /// does: once the item is gone, nothing tells who deleted it.
    pub(super) fn is_single(&self) -> bool {
        self.kind != Kind::Delete || self.condition == Condition::None
    }

    /// The whole item, where the condition says which version it gets.
    pub(super) fn item(&self) -> Option<Attributes> {
        let version = match self.condition {
            Condition::Absent => 1,
            // 2^64 writes of one item do not happen.
            Condition::Version(version) => version.saturating_add(1),
            Condition::None => return None,
        };
        let mut item = self.rest.clone();
        item.extend(encode::key(&self.key));
        item.insert(VERSION.to_owned(), number(version));
        Some(item)
    }

    /// An update that puts the item whatever its version is, and counts that up.
    pub(super) fn update(&self) -> Expression {
        let all = [
            ("#b", BODY),
            ("#w", WRITER),
            ("#g1p", GSI1.pk),
            ("#g1s", GSI1.sk),
            ("#g2p", GSI2.pk),
            ("#g2s", GSI2.sk),
            ("#x", EXPIRES),
            ("#xe", EXPIRES_EXACT),
        ];
        let mut values = Attributes::from([
            (":none".to_owned(), number(0)),
            (":one".to_owned(), number(1)),
        ]);
        let mut set = vec!["#v = if_not_exists(#v, :none) + :one".to_owned()];
        let mut remove = Vec::new();
        for (short, name) in all {
            match self.rest.get(name) {
                Some(value) => {
                    let placeholder = short.replace('#', ":");
                    set.push(format!("{short} = {placeholder}"));
                    values.insert(placeholder, value.clone());
                }
                None => remove.push(short),
            }
        }
        let mut text = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            text.push_str(" REMOVE ");
            text.push_str(&remove.join(", "));
        }
        let mut names = names(&all);
        names.insert("#v".to_owned(), VERSION.to_owned());
        Expression {
            text,
            names,
            values,
        }
    }
}

impl DynamoTable {
    /// One write by itself.
    pub(super) async fn write_one(&self, write: &Prepared, token: &str) -> Result<(), TableError> {
        if write.kind == Kind::Check {
            return self.check(write).await;
        }
        // Requests without an answer: they may have been done.
        let mut silent = 0;
        let mut attempt = 0;
        loop {
            let answer = match (write.kind, write.item()) {
                (Kind::Put, Some(item)) => self.put(item, write.condition).await,
                (Kind::Put, None) => self.put_over(write, token).await,
                _ => self.delete(&write.key).await,
            };
            let failure = match answer {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            match failure.fault {
                Fault::Condition if failure.is_by(token) => return Ok(()),
                // Ours may have been there before the one that is there now.
                Fault::Condition if silent > 0 => {
                    return Err(TableError::Unavailable(format!(
                        "{}/{} was written meanwhile, and an answer was lost",
                        write.key.pk, write.key.sk
                    )));
                }
                Fault::Condition => return failure.conflict(write),
                Fault::Contended | Fault::Throttled => {}
                Fault::Silent if silent + 1 >= TABLE_ATTEMPTS => return Err(failure.error),
                Fault::Silent => silent += 1,
                Fault::Limit | Fault::Refused => return Err(failure.error),
            }
            attempt += 1;
            if attempt >= self.backoff.attempts {
                return match failure.fault {
                    Fault::Contended if silent == 0 => Err(TableError::Conflict {
                        write: write.at,
                        old: self.read(&write.key).await?.map(Box::new),
                    }),
                    _ => Err(failure.error),
                };
            }
            count(&self.counters.repeats, 1);
            self.backoff.pause(attempt - 1).await;
        }
    }

    /// A check by itself is a consistent read: half the price, and as true.
    async fn check(&self, write: &Prepared) -> Result<(), TableError> {
        let old = self.read(&write.key).await?;
        let holds = match write.condition {
            Condition::Absent => old.is_none(),
            Condition::Version(version) => old.as_ref().is_some_and(|old| old.version == version),
            Condition::None => true,
        };
        if holds {
            return Ok(());
        }
        Err(TableError::Conflict {
            write: write.at,
            old: old.map(Box::new),
        })
    }

    async fn put(&self, item: Attributes, condition: Condition) -> Result<(), Failure> {
        let _turn = self.turn().await?;
        count(&self.counters.single_writes, 1);
        let mut request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if let Some(Expression {
            text,
            names,
            values,
        }) = expression(condition)
        {
            request = request
                .condition_expression(text)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values((!values.is_empty()).then_some(values))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
        }
        let answer = request.customize().config_override(once()).send().await;
        match answer {
            Ok(answer) => {
                self.counters.wrote(answer.consumed_capacity());
                Ok(())
            }
            Err(error) => Err(Failure::new(&error, |error| {
                use aws_sdk_dynamodb::operation::put_item::PutItemError::*;
                match error {
                    ConditionalCheckFailedException(failed) => failed.item.clone(),
                    _ => None,
                }
            })),
        }
    }

    /// A put without a condition: not by the same call twice.
    async fn put_over(&self, write: &Prepared, token: &str) -> Result<(), Failure> {
        let _turn = self.turn().await?;
        count(&self.counters.single_writes, 1);
        let Expression {
            text: update,
            names,
            mut values,
        } = write.update();
        values.insert(":token".to_owned(), text(token));
        let answer = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(encode::key(&write.key)))
            .update_expression(update)
            .condition_expression("attribute_not_exists(#w) OR #w <> :token")
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .customize()
            .config_override(once())
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.counters.wrote(answer.consumed_capacity());
                Ok(())
            }
            Err(error) => Err(Failure::new(&error, |error| {
                use aws_sdk_dynamodb::operation::update_item::UpdateItemError::*;
                match error {
                    ConditionalCheckFailedException(failed) => failed.item.clone(),
                    _ => None,
                }
            })),
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        let _turn = self.turn().await?;
        count(&self.counters.single_writes, 1);
        let answer = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(encode::key(key)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .customize()
            .config_override(once())
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.counters.wrote(answer.consumed_capacity());
                Ok(())
            }
            Err(error) => Err(Failure::new(&error, |_| None)),
        }
    }
}

/// The SDK must not repeat what only this module can tell apart afterwards.
fn once() -> aws_sdk_dynamodb::config::Builder {
    aws_sdk_dynamodb::config::Builder::new().retry_config(RetryConfig::disabled())
}

/// A request that failed.
struct Failure {
    fault: Fault,
    /// The item in the way of a condition.
    old: Option<Attributes>,
    error: TableError,
}

impl Failure {
    fn new<E>(error: &SdkError<E>, old: impl Fn(&E) -> Option<Attributes>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        Self {
            fault: fault(error),
            old: error.as_service_error().and_then(old),
            error: explain(error),
        }
    }

    fn is_by(&self, token: &str) -> bool {
        self.old.as_ref().and_then(encode::writer) == Some(token)
    }

    fn conflict(self, write: &Prepared) -> Result<(), TableError> {
        Err(TableError::Conflict {
            write: write.at,
            old: old_item(self.old)?,
        })
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Self {
            fault: Fault::Refused,
            old: None,
            error,
        }
    }
}

pub(super) fn old_item(old: Option<Attributes>) -> Result<Option<Box<Item>>, TableError> {
    match old {
        Some(old) if !old.is_empty() => Ok(Some(Box::new(encode::item(old)?))),
        _ => Ok(None),
    }
}
