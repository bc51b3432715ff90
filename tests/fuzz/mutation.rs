//! Mutations of corpus entries: cut, mixed and damaged.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

/// One change of an entry.
#[derive(Clone, Debug)]
enum Edit {
    /// Removes bytes.
    Cut(Index, usize),
    /// Inserts bytes.
    Insert(Index, Vec<u8>),
    /// Changes one byte.
    Flip(Index, u8),
    /// Repeats a part.
    Repeat(Index, usize),
}

fn edit(corpus: &[Vec<u8>]) -> impl Strategy<Value = Edit> + use<> {
    let at = any::<Index>;
    // Parts of other entries are more likely to be valid than bytes, and letters more than either.
    let part = (select(corpus.to_vec()), at(), 1..12usize).prop_map(|(entry, at, length)| {
        let start = if entry.is_empty() { 0 } else { at.index(entry.len()) };
        entry[start..entry.len().min(start + length)].to_vec()
    });
    let letters = any::<String>().prop_map(|text| text.chars().take(4).collect::<String>());
    prop_oneof![
        (at(), 1..8usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        (at(), part).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at(), letters).prop_map(|(at, text)| Edit::Insert(at, text.into())),
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Flip(at, byte)),
        (at(), 1..40usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
    ]
}

fn apply(mut entry: Vec<u8>, edits: Vec<Edit>) -> Vec<u8> {
    for edit in edits {
        let place = |at: Index, entry: &[u8]| at.index(entry.len() + 1);
        let end = |start: usize, length: usize, entry: &[u8]| entry.len().min(start + length);
        match edit {
            Edit::Cut(at, length) => {
                let start = place(at, &entry);
                entry.drain(start..end(start, length, &entry));
            }
            Edit::Insert(at, bytes) => {
                let start = place(at, &entry);
                entry.splice(start..start, bytes);
            }
            Edit::Flip(at, byte) => {
                let start = place(at, &entry);
                entry.splice(start..end(start, 1, &entry), [byte]);
            }
            Edit::Repeat(at, length) => {
                let start = place(at, &entry);
                let again = entry[start..end(start, length, &entry)].to_vec();
                entry.splice(start..start, again);
            }
        }
    }
    entry
}

/// Entries with up to seven mutations, and sometimes random bytes.
pub fn of(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec(edit(&corpus), 0..8);
    prop_oneof![
        9 => (select(corpus), edits).prop_map(|(entry, edits)| apply(entry, edits)),
        1 => vec(any::<u8>(), 0..64),
    ]
}
