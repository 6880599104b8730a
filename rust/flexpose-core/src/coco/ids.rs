//! Ids of records: unique, and found again.

use std::collections::HashMap;

/// Ids in the order of their records.
///
/// In most files ids ascend, and those that refer to them do so in order as well: then a list and a guess do
/// the work of a hash table.
#[derive(Default)]
pub(super) struct Ids {
    /// Ids up to the first that did not ascend, with their records.
    ascending: Vec<(i64, usize)>,
    /// All others.
    others: HashMap<i64, usize>,
    count: usize,
    /// Index into `ascending` of what was found last.
    last: usize,
}

impl Ids {
    /// Add the id of the next record; false, and nothing is added, if it came before.
    pub fn add(&mut self, id: i64) -> bool {
        if self.find(id).is_some() {
            return false;
        }
        if self.ascending.last().is_none_or(|&(last, _)| last < id) {
            self.ascending.push((id, self.count));
        } else {
            self.others.insert(id, self.count);
        }
        self.count += 1;
        true
    }

    /// Record of an id.
    pub fn find(&mut self, id: i64) -> Option<usize> {
        let (&(first, _), &(last, _)) = (self.ascending.first()?, self.ascending.last()?);
        if (first..=last).contains(&id) {
            let guesses = self.ascending.iter().enumerate().skip(self.last).take(2);
            let guess = guesses
                .filter(|(_, pair)| pair.0 == id)
                .map(|(index, _)| Ok(index))
                .next();
            if let Ok(index) =
                guess.unwrap_or_else(|| self.ascending.binary_search_by_key(&id, |pair| pair.0))
            {
                self.last = index;
                return Some(self.ascending[index].1);
            }
        }
        if self.others.is_empty() {
            None
        } else {
            self.others.get(&id).copied()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn does_what_a_table_does(ids in prop::collection::vec((-5i64..30, any::<bool>()), 0..60)) {
            let (mut found, mut table) = (Ids::default(), HashMap::new());
            for (id, add) in ids {
                if add {
                    let count = table.len();
                    let new = *table.entry(id).or_insert(count) == count && table.len() > count;
                    prop_assert_eq!(found.add(id), new);
                } else {
                    prop_assert_eq!(found.find(id), table.get(&id).copied());
                }
            }
        }
    }
}
