//! The messages of a room, and the order in which every client must receive them.

use super::Tally;

/// Bytes of every text.
const TEXT_LENGTH: usize = 64;

/// The contents of a message's text.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// Its number in the room.
    pub number: u32,
    /// The client that sent it.
    pub sender: usize,
    /// When it was sent, in microseconds since the load began.
    pub sent_at: u64,
}

/// One room.
#[derive(Default)]
pub struct Room {
    /// Number of messages sent to it.
    pub said: u32,
    /// Their numbers, in the order in which the first client received them.
    pub order: Vec<u32>,
    last_id: (u64, u64),
}

impl Said {
    /// The text: 64 bytes.
    pub fn text(&self) -> String {
        let text = format!("{:08x} {:08x} {:016x} ", self.number, self.sender, self.sent_at);
        format!("{text:.<TEXT_LENGTH$}")
    }

    /// Parses a text; `None` if the load did not send it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(Self {
            number: hex(text.get(0..8)?)? as u32,
            sender: hex(text.get(9..17)?)? as usize,
            sent_at: hex(text.get(18..34)?)?,
        })
    }
}

impl Room {
    /// Compares a received message with the one that is expected at this position.
    pub fn check(&mut self, id: &[u8], number: u32, position: &mut usize, tally: &mut Tally) {
        if *position == self.order.len() {
            return self.hear_first(id, number, position, tally);
        }
        if self.order[*position] == number {
            *position += 1;
        } else if self.order[..*position].contains(&number) {
            tally.doubled += 1;
        } else if let Some(skipped) = self.order[*position..].iter().position(|&n| n == number) {
            tally.lost += skipped as u64;
            *position += skipped + 1;
        } else {
            tally.disordered += 1;
        }
    }

    /// The first client that receives a message determines its position, and checks that the ids
    /// increase.
    fn hear_first(&mut self, id: &[u8], number: u32, position: &mut usize, tally: &mut Tally) {
        if self.order.iter().rev().take(4096).any(|&heard| heard == number) {
            tally.doubled += 1;
            return;
        }
        if let Some(id) = parse_id(id) {
            tally.disordered += u64::from(id <= self.last_id && self.last_id != FLOOR_ID);
            self.last_id = id;
        }
        self.order.push(number);
        *position += 1;
    }
}

/// The id of every message of the floor.
const FLOOR_ID: (u64, u64) = (1_700_000_000_000, 0);

fn parse_id(id: &[u8]) -> Option<(u64, u64)> {
    let (ms, sequence) = std::str::from_utf8(id).ok()?.split_once('-')?;
    Some((ms.parse().ok()?, sequence.parse().ok()?))
}

fn hex(digits: &[u8]) -> Option<u64> {
    let value = |digit: u8| char::from(digit).to_digit(16).map(u64::from);
    digits.iter().try_fold(0, |sum, &digit| Some(sum << 4 | value(digit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_64_bytes_and_come_back() {
        let said = Said { number: 7, sender: 4711, sent_at: 123_456_789 };
        assert_eq!(said.text().len(), TEXT_LENGTH);
        assert_eq!(Said::parse(said.text().as_bytes()), Some(said));
    }

    #[test]
    fn what_is_wrong_is_counted() {
        let (mut room, mut tally) = (Room::default(), Tally::default());
        let mut first = 0;
        for number in [3, 1, 2] {
            room.check(b"5-1", number, &mut first, &mut tally);
            room.last_id = (0, 0);
        }
        let mut second = 0;
        for number in [3, 3, 2] {
            room.check(b"", number, &mut second, &mut tally);
        }
        assert_eq!((tally.lost, tally.doubled, tally.disordered), (1, 1, 0));
        assert_eq!((first, second), (3, 3));
    }
}
