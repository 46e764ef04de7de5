//! Executions in the store: a header each, and the records of its steps.

use asl::Record;
use control::ports::Cursor;
use jiff::Timestamp;
use redb::ReadableTable;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Page, RunnerError, Status};
use crate::store::{DEFINITIONS, RUNS, RUNS_BY_STATE, STEPS, Store, StoreError, Tables, Work};

/// What is known of an execution without its records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// The digest of its definition.
    pub(super) definition: String,
    pub(super) status: Status,
    pub(super) started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<String>,
}

/// What became of a request to begin an execution.
pub(super) enum Begun {
    /// It is new.
    New,
    /// There is one of that name; this is its first record.
    Known(Vec<u8>),
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Begins an execution unless there is one of that name.
struct Begin {
    run: String,
    header: Header,
    first: Vec<u8>,
    definition: String,
    known: Option<Vec<u8>>,
    answer: Answer<Begun>,
}

impl Work for Begin {
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        if let Some(first) = tables.steps.get((self.run.as_str(), 0))? {
            self.known = Some(first.value().to_vec());
            return Ok(false);
        }
        tables
            .steps
            .insert((self.run.as_str(), 0), self.first.as_slice())?;
        write_header(tables, &self.run, None, &self.header)?;
        let digest = self.header.definition.as_str();
        if tables.definitions.get(digest)?.is_none() {
            tables
                .definitions
                .insert(digest, self.definition.as_str())?;
        }
        Ok(true)
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let begun = self.known.map_or(Begun::New, Begun::Known);
        let _ = self.answer.send(committed.map(|()| begun));
    }
}

/// Appends records, and the end where it came.
struct Append {
    run: String,
    records: Vec<(u64, Vec<u8>)>,
    ended: Option<(Header, Header)>,
    answer: Answer<()>,
}

impl Work for Append {
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        for (number, record) in &self.records {
            tables
                .steps
                .insert((self.run.as_str(), *number), record.as_slice())?;
        }
        if let Some((before, after)) = &self.ended {
            write_header(tables, &self.run, Some(before), after)?;
        }
        Ok(true)
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let _ = self.answer.send(committed);
    }
}

/// Forgets executions that are over.
struct Forget {
    runs: Vec<(String, Header)>,
    answer: Answer<()>,
}

impl Work for Forget {
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<bool, StoreError> {
        for (run, header) in &self.runs {
            tables.runs.remove(run.as_str())?;
            tables.runs_by_state.remove(state_key(run, header))?;
            let steps = (run.as_str(), 0)..=(run.as_str(), u64::MAX);
            tables.steps.retain_in(steps, |_, _| false)?;
        }
        Ok(true)
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let _ = self.answer.send(committed);
    }
}

fn state_key<'a>(run: &'a str, header: &Header) -> (&'static str, i128, &'a str) {
    (
        header.status.as_str(),
        header.started_at.as_nanosecond(),
        run,
    )
}

fn write_header(
    tables: &mut Tables<'_>,
    run: &str,
    before: Option<&Header>,
    after: &Header,
) -> Result<(), StoreError> {
    if let Some(before) = before {
        tables.runs_by_state.remove(state_key(run, before))?;
    }
    tables.runs_by_state.insert(state_key(run, after), ())?;
    tables.runs.insert(run, encode(after)?.as_slice())?;
    Ok(())
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError(format!("not JSON: {error}")))
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError(format!("an execution's record is damaged: {error}")))
}

async fn answered<T>(
    store: &Store,
    work: Box<dyn Work>,
    answer: oneshot::Receiver<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    store.write(work).await?;
    answer
        .await
        .map_err(|_| StoreError("the store was closed meanwhile".to_owned()))?
}

pub(super) async fn begin(
    store: &Store,
    run: &str,
    header: Header,
    first: &Record,
    definition: &str,
) -> Result<Begun, StoreError> {
    let (answer, receiver) = oneshot::channel();
    let work = Begin {
        run: run.to_owned(),
        header,
        first: encode(first)?,
        definition: definition.to_owned(),
        known: None,
        answer,
    };
    answered(store, Box::new(work), receiver).await
}

/// `ended` is the header before and after the end.
pub(super) async fn append(
    store: &Store,
    run: &str,
    records: &[Record],
    ended: Option<(Header, Header)>,
) -> Result<(), StoreError> {
    let (answer, receiver) = oneshot::channel();
    let encoded = records
        .iter()
        .map(|record| Ok((record.number, encode(record)?)));
    let records = encoded.collect::<Result<_, StoreError>>()?;
    let work = Append {
        run: run.to_owned(),
        records,
        ended,
        answer,
    };
    answered(store, Box::new(work), receiver).await
}

/// Forgets up to `limit` executions that are over and began before a moment.
pub(super) async fn forget(
    store: &Store,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let mut runs = Vec::new();
    {
        let snapshot = store.read()?;
        let by_state = snapshot.open_table(RUNS_BY_STATE)?;
        for status in Status::ALL
            .iter()
            .filter(|status| **status != Status::Running)
        {
            let span =
                (status.as_str(), i128::MIN, "")..(status.as_str(), before.as_nanosecond(), "");
            for entry in by_state.range(span)?.take(limit - runs.len()) {
                let run = entry?.0.value().2.to_owned();
                if let Some(header) = header(store, &run)? {
                    runs.push((run, header));
                }
            }
        }
    }
    let count = runs.len();
    if count > 0 {
        let (answer, receiver) = oneshot::channel();
        answered(store, Box::new(Forget { runs, answer }), receiver).await?;
    }
    Ok(count)
}

pub(super) fn header(store: &Store, run: &str) -> Result<Option<Header>, StoreError> {
    let snapshot = store.read()?;
    let runs = snapshot.open_table(RUNS)?;
    runs.get(run)?
        .map(|bytes| decode(bytes.value()))
        .transpose()
}

pub(super) fn records(store: &Store, run: &str) -> Result<Vec<Record>, StoreError> {
    let snapshot = store.read()?;
    let steps = snapshot.open_table(STEPS)?;
    let range = steps.range((run, 0)..=(run, u64::MAX))?;
    range.map(|entry| decode(entry?.1.value())).collect()
}

pub(super) fn first_input(first: &[u8]) -> Result<Value, StoreError> {
    match decode::<Record>(first)?.input {
        asl::Input::Start { input, .. } => Ok(input),
        _ => Err(StoreError(
            "an execution does not begin with its start".to_owned(),
        )),
    }
}

pub(super) fn definition(store: &Store, digest: &str) -> Result<Option<String>, StoreError> {
    let snapshot = store.read()?;
    let definitions = snapshot.open_table(DEFINITIONS)?;
    Ok(definitions.get(digest)?.map(|text| text.value().to_owned()))
}

/// Names of executions of a status, newest first.
pub(super) fn list(
    store: &Store,
    status: Status,
    limit: usize,
    after: Option<&Cursor>,
) -> Result<Page<String>, RunnerError> {
    let name = status.as_str();
    let place = match after {
        None => None,
        Some(cursor) => Some(
            cursor
                .0
                .split_once('/')
                .and_then(|(at, run)| Some((at.parse::<i128>().ok()?, run)))
                .ok_or(RunnerError::Cursor)?,
        ),
    };
    let end = place.unwrap_or((i128::MAX, ""));
    let snapshot = store.read()?;
    let by_state = snapshot
        .open_table(RUNS_BY_STATE)
        .map_err(StoreError::from)?;
    let range = by_state
        .range((name, i128::MIN, "")..(name, end.0, end.1))
        .map_err(StoreError::from)?;
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let mut last = None;
    for entry in range.rev() {
        let key = entry.map_err(StoreError::from)?.0;
        let (_, at, run) = key.value();
        if page.items.len() == limit {
            page.next = last.map(|(at, run): (i128, String)| Cursor(format!("{at}/{run}")));
            break;
        }
        page.items.push(run.to_owned());
        last = Some((at, run.to_owned()));
    }
    Ok(page)
}
