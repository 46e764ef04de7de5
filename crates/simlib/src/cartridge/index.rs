//! Where every object of a cartridge lies, as runs of objects of equal kind and length.
//!
//! A tape of 512 KiB records is a handful of runs whatever its size, so that LOCATE is a binary
//! search in memory and a full 18 TB cartridge costs kilobytes.

use super::frame::{HEADER, Kind};

/// Objects of one kind and length, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u64,
    count: u64,
    kind: Kind,
    len: u32,
    /// Place of the first object.
    start: Place,
}

/// What lies before an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Offset of its frame in the file.
    pub(crate) offset: u64,
    /// Record bytes before it: how much tape is behind the head.
    pub(crate) bytes: u64,
    /// Filemarks before it.
    pub(crate) marks: u64,
}

impl Place {
    /// The place behind `count` objects of this kind and length that start here.
    pub(crate) fn after(self, kind: Kind, len: u32, count: u64) -> Self {
        Self {
            offset: self.offset + count * (HEADER as u64 + u64::from(len)),
            bytes: self.bytes + count * u64::from(len),
            marks: self.marks + if kind == Kind::Filemark { count } else { 0 },
        }
    }
}

/// An object and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) len: u32,
    pub(crate) place: Place,
}

/// All objects of a cartridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    runs: Vec<Run>,
    end: Place,
    objects: u64,
}

impl Index {
    /// No objects; the first frame will lie at `offset`.
    pub(crate) fn new(offset: u64) -> Self {
        Self {
            runs: Vec::new(),
            end: Place {
                offset,
                bytes: 0,
                marks: 0,
            },
            objects: 0,
        }
    }

    /// Number of objects: the object number of end of data.
    pub(crate) fn objects(&self) -> u64 {
        self.objects
    }

    /// The place of end of data.
    pub(crate) fn end(&self) -> Place {
        self.end
    }

    pub(crate) fn push(&mut self, kind: Kind, len: u32, count: u64) {
        if count == 0 {
            return;
        }
        match self.runs.last_mut() {
            Some(run) if run.kind == kind && run.len == len => run.count += count,
            _ => {
                self.runs.push(Run {
                    first: self.objects,
                    count,
                    kind,
                    len,
                    start: self.end,
                });
            }
        }
        self.objects += count;
        self.end = self.end.after(kind, len, count);
    }

    /// Forgets `object` and everything behind it.
    pub(crate) fn truncate(&mut self, object: u64) {
        if object >= self.objects {
            return;
        }
        self.end = self.place(object);
        self.objects = object;
        self.runs
            .truncate(self.runs.partition_point(|run| run.first < object));
        if let Some(last) = self.runs.last_mut() {
            last.count = object - last.first;
        }
    }

    /// The object of this number, `None` at or behind end of data.
    pub(crate) fn get(&self, object: u64) -> Option<Object> {
        if object >= self.objects {
            return None;
        }
        let at = self
            .runs
            .partition_point(|run| run.first <= object)
            .checked_sub(1)?;
        let run = self.runs.get(at)?;
        let place = run.start.after(run.kind, run.len, object - run.first);
        Some(Object {
            kind: run.kind,
            len: run.len,
            place,
        })
    }

    /// The place of an object number; behind end of data it is the end.
    pub(crate) fn place(&self, object: u64) -> Place {
        self.get(object).map_or(self.end, |object| object.place)
    }

    /// The object number of the filemark that has `before` filemarks before it.
    pub(crate) fn mark(&self, before: u64) -> Option<u64> {
        if before >= self.end.marks {
            return None;
        }
        // Of the runs with at most `before` marks before them the last is the one of filemarks
        // that holds it: a run of records behind it has more.
        let at = self
            .runs
            .partition_point(|run| run.start.marks <= before)
            .checked_sub(1)?;
        let run = self.runs.get(at)?;
        debug_assert_eq!(run.kind, Kind::Filemark);
        Some(run.first + (before - run.start.marks))
    }

    /// Kind, length and count of every run.
    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = (Kind, u32, u64)> {
        self.runs.iter().map(|run| (run.kind, run.len, run.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One object a letter: `r` a record of 10 bytes, `s` one of 3, `|` a filemark.
    fn index(tape: &str) -> Index {
        let mut index = Index::new(100);
        for object in tape.chars() {
            match object {
                'r' => index.push(Kind::Record, 10, 1),
                's' => index.push(Kind::Record, 3, 1),
                _ => index.push(Kind::Filemark, 0, 1),
            }
        }
        index
    }

    #[test]
    fn equal_records_share_a_run_and_places_add_up() {
        let index = index("rrrs|r||");
        assert_eq!(index.runs().len(), 5);
        let place = index.get(5).map(|object| object.place);
        assert_eq!(
            place,
            Some(Place {
                offset: 100 + 5 * 32 + 33,
                bytes: 33,
                marks: 1
            })
        );
        assert_eq!(index.get(8), None);
        assert_eq!(index.place(8), index.end());
        assert_eq!(index.end().marks, 3);
    }

    #[test]
    fn marks_are_found_by_count() {
        let index = index("r|s||rr|");
        let marks: Vec<_> = (0..5).map(|before| index.mark(before)).collect();
        assert_eq!(marks, [Some(1), Some(3), Some(4), Some(7), None]);
    }

    #[test]
    fn truncating_equals_never_having_written() {
        let tape = "rrs|rr||rs";
        for keep in 0..=tape.len() {
            let mut cut = index(tape);
            cut.truncate(keep as u64);
            assert_eq!(cut, index(&tape[..keep]), "cut at {keep}");
        }
    }
}
