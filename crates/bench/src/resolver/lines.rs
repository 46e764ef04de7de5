//! A file of records that is never on disk: a few lines, over and over.

use std::io::{self, BufRead, Read};

use kit::{generate, records};

/// Generated lines, repeated.
pub struct Repeated {
    text: Vec<u8>,
    /// Where each line of the text ends.
    ends: Vec<usize>,
    at: usize,
    left: u64,
}

impl Repeated {
    /// `count` lines in all, of which the first `distinct` differ: seed 1, `requests` each.
    ///
    /// # Errors
    /// Where a record cannot be written.
    pub fn generated(distinct: u64, requests: usize, count: u64) -> io::Result<Self> {
        let mut text = Vec::new();
        let mut ends = Vec::new();
        for index in 0..distinct.max(1) {
            records::write(&mut text, &generate::record(1, index, requests))?;
            ends.push(text.len());
        }
        Ok(Self {
            text,
            ends,
            at: 0,
            left: count,
        })
    }

    /// Bytes of a line, on average.
    pub fn line_bytes(&self) -> u64 {
        (self.text.len() / self.ends.len().max(1)) as u64
    }

    /// How many lines end in the first `end` bytes.
    fn lines_until(&self, end: usize) -> u64 {
        self.ends.partition_point(|at| *at <= end) as u64
    }
}

impl Read for Repeated {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut from = self.fill_buf()?;
        let read = from.read(to)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Repeated {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        // To the end of the text, or of the last line that is wanted.
        let done = self.lines_until(self.at);
        let last = usize::try_from(done + self.left).unwrap_or(usize::MAX);
        let end = self.ends[last.min(self.ends.len()) - 1];
        Ok(&self.text[self.at..end])
    }

    fn consume(&mut self, amount: usize) {
        let before = self.lines_until(self.at);
        self.at += amount;
        self.left = self.left.saturating_sub(self.lines_until(self.at) - before);
        if self.at >= self.text.len() {
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_lines_come_as_were_asked_for_and_they_repeat() {
        for (distinct, count) in [(3, 7), (3, 3), (5, 2), (1, 4)] {
            let lines: Vec<_> = Repeated::generated(distinct, 2, count)
                .unwrap()
                .lines()
                .map(Result::unwrap)
                .collect();
            assert_eq!(lines.len() as u64, count, "{distinct} {count}");
            let period = usize::try_from(distinct).unwrap();
            for (n, line) in lines.iter().enumerate().skip(period) {
                assert_eq!(*line, lines[n - period]);
            }
            if lines.len() > 1 && distinct > 1 {
                assert_ne!(lines[0], lines[1]);
            }
        }
    }
}
