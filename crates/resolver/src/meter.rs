//! What one instance may take, and what it took.

use std::fmt;
use std::time::Instant;

use model::Limits;
use wasmtime::{Error, ResourceLimiter, Result};

use crate::engine::{MAX_INSTANCES, MAX_MEMORIES, MAX_TABLES};

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// All memories together.
    Memory { asked: usize, limit: usize },
    /// All tables together.
    Table { asked: usize, limit: usize },
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { asked, limit } => {
                write!(
                    f,
                    "expected at most {limit} bytes of memory, asked for {asked}"
                )
            }
            Self::Table { asked, limit } => {
                write!(
                    f,
                    "expected at most {limit} table elements, asked for {asked}"
                )
            }
        }
    }
}

impl std::error::Error for Reached {}

/// Counts memory and tables of all instances of a component together. wasmtime's own
/// `StoreLimits` counts each memory by itself, so that four memories had four limits.
///
/// Growing beyond a limit is a trap, not a `-1`: a resolver that meets it must not decide
/// otherwise than one that does not.
#[derive(Debug)]
pub(crate) struct Meter {
    memory: usize,
    memory_limit: usize,
    tables: usize,
    tables_limit: usize,
}

impl Meter {
    fn new(limits: &Limits) -> Self {
        Self {
            memory: 0,
            memory_limit: usize::try_from(limits.memory.0).unwrap_or(usize::MAX),
            tables: 0,
            tables_limit: usize::try_from(limits.table_elements).unwrap_or(usize::MAX),
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let asked = self.memory.saturating_add(desired.saturating_sub(current));
        let limit = self.memory_limit;
        if asked > limit {
            return Err(Error::new(Reached::Memory { asked, limit }));
        }
        self.memory = asked;
        Ok(true)
    }

    /// Beyond the maximum that the component itself declares, or refused by the system,
    /// which nobody could replay: a trap as well.
    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        Err(error.context(Reached::Memory {
            asked: self.memory,
            limit: self.memory_limit,
        }))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let asked = self.tables.saturating_add(desired.saturating_sub(current));
        let limit = self.tables_limit;
        if asked > limit {
            return Err(Error::new(Reached::Table { asked, limit }));
        }
        self.tables = asked;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        Err(error.context(Reached::Table {
            asked: self.tables,
            limit: self.tables_limit,
        }))
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MAX_TABLES as usize
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES as usize
    }
}

/// What a store of ours holds: no capability, only limits.
#[derive(Debug)]
pub(crate) struct State {
    /// Memory and tables.
    pub(crate) meter: Meter,
    /// When the phase that runs now is over.
    pub(crate) deadline: Instant,
}

impl State {
    pub(crate) fn new(limits: &Limits, deadline: Instant) -> Self {
        Self {
            meter: Meter::new(limits),
            deadline,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Bytes;

    use super::*;

    fn meter() -> Meter {
        Meter::new(&Limits {
            memory: Bytes(100),
            table_elements: 10,
            ..Limits::DEFAULT
        })
    }

    #[test]
    fn two_memories_share_one_limit() {
        let mut meter = meter();
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.memory_growing(0, 40, None).unwrap());
        let error = meter.memory_growing(40, 41, None).unwrap_err();
        assert_eq!(
            error.downcast_ref(),
            Some(&Reached::Memory {
                asked: 101,
                limit: 100
            })
        );
    }

    #[test]
    fn two_tables_share_one_limit() {
        let mut meter = meter();
        assert!(meter.table_growing(0, 5, None).unwrap());
        assert!(meter.table_growing(5, 10, None).unwrap());
        assert!(meter.table_growing(0, 1, None).is_err());
    }
}
