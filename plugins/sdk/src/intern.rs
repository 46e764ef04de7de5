//! Numbers for texts.

/// Gives each text a number, from 0 in the order of first appearance: a hash table with
/// open addressing, of fixed size and without random keys, so that it costs the same fuel on
/// each run. Texts that collide on purpose cost time, at most one comparison for each pair.
pub(crate) struct Names<'a> {
    texts: Vec<&'a str>,
    /// Numbers, plus one; 0 is free. At least twice as many places as texts.
    table: Vec<u32>,
}

impl<'a> Names<'a> {
    /// For at most `most` texts.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            texts: Vec::with_capacity(most),
            table: vec![0; (2 * most).max(1).next_power_of_two()],
        }
    }

    /// How many texts have a number.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The number of a text.
    pub(crate) fn number(&mut self, text: &'a str) -> usize {
        let mask = self.table.len() - 1;
        let mut place = hash(text) as usize & mask;
        loop {
            match self.table[place] {
                0 => {
                    self.texts.push(text);
                    self.table[place] = self.texts.len() as u32;
                    return self.texts.len() - 1;
                }
                number => {
                    let number = number as usize - 1;
                    if self.texts[number] == text {
                        return number;
                    }
                }
            }
            place = (place + 1) & mask;
        }
    }
}

/// Eight bytes at a time, multiplied and folded as FxHash does.
fn hash(text: &str) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mut hash = text.len() as u64;
    let mut chunks = text.as_bytes().chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    for byte in chunks.remainder() {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(FACTOR);
    }
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn equal_texts_have_one_number_and_others_another() {
        let texts: Vec<String> = (0..100)
            .map(|n| format!("payments/api-{}", n % 40))
            .collect();
        let mut names = Names::new(texts.len());
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(names.number(text), n % 40);
        }
        assert_eq!(names.len(), 40);
        assert_eq!(Names::new(0).len(), 0);
    }

    #[test]
    fn a_full_table_still_ends_each_search() {
        let texts: Vec<String> = (0..8).map(|n| "x".repeat(n)).collect();
        let mut names = Names::new(8);
        let numbers: Vec<_> = texts.iter().map(|text| names.number(text)).collect();
        assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    }
}
