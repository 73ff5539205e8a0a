//! What waits to be written: bounded in lines and in bytes, the oldest goes when it is full.

use std::collections::VecDeque;

/// Enough for any burst of the monitor, a report with all of its kept output (some 1030 lines of
/// usual length) among them; a reader that is this far behind reads a terminal by eye.
pub(crate) const MAX_QUEUED_LINES: usize = 2048;

/// What a stalled terminal may cost the monitor in memory.
pub(crate) const MAX_QUEUED_BYTES: usize = 256 * 1024;

/// Whose words a line carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Monitor,
    /// A worker's output, which gives way first: a flood of it must not wash away what the monitor
    /// says about that worker.
    Output,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    own: VecDeque<Entry>,
    output: VecDeque<Entry>,
    bytes: usize,
    pushed: u64,
}

#[derive(Debug)]
struct Entry {
    /// Its place in the order of all lines.
    number: u64,
    line: Box<[u8]>,
}

impl Queue {
    /// Adds a line and says how many had to go for it; the new one itself may be among them.
    pub(super) fn push(&mut self, line: Box<[u8]>, origin: Origin) -> u64 {
        let mut dropped = 0;
        while !self.has_room(line.len()) {
            dropped += 1;
            let victims = match origin {
                Origin::Monitor if self.output.is_empty() => &mut self.own,
                Origin::Monitor | Origin::Output => &mut self.output,
            };
            let Some(entry) = victims.pop_front() else {
                return dropped;
            };
            self.bytes -= entry.line.len();
        }
        self.bytes += line.len();
        self.pushed += 1;
        let entry = Entry {
            number: self.pushed,
            line,
        };
        match origin {
            Origin::Monitor => self.own.push_back(entry),
            Origin::Output => self.output.push_back(entry),
        }
        dropped
    }

    /// Takes the oldest line.
    pub(super) fn pop(&mut self) -> Option<Box<[u8]>> {
        let number = |queue: &VecDeque<Entry>| queue.front().map_or(u64::MAX, |e| e.number);
        let older = if number(&self.own) < number(&self.output) {
            &mut self.own
        } else {
            &mut self.output
        };
        let line = older.pop_front()?.line;
        self.bytes -= line.len();
        Some(line)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.own.len() + self.output.len()
    }

    fn has_room(&self, more: usize) -> bool {
        self.len() < MAX_QUEUED_LINES && self.bytes + more <= MAX_QUEUED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Box<[u8]> {
        text.as_bytes().into()
    }

    fn drain(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop())
            .map(|line| String::from_utf8(line.into_vec()).unwrap())
            .collect()
    }

    #[test]
    fn lines_leave_in_the_order_they_came_whoever_said_them() {
        let mut queue = Queue::default();
        for (text, origin) in [
            ("1", Origin::Output),
            ("2", Origin::Monitor),
            ("3", Origin::Monitor),
            ("4", Origin::Output),
            ("5", Origin::Monitor),
        ] {
            assert_eq!(queue.push(line(text), origin), 0);
        }
        assert_eq!(drain(&mut queue), ["1", "2", "3", "4", "5"]);
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn the_bound_in_lines() {
        for origin in [Origin::Monitor, Origin::Output] {
            for more in [0, 1, 5_000] {
                let mut queue = Queue::default();
                let mut dropped = 0;
                for n in 0..MAX_QUEUED_LINES + more {
                    dropped += queue.push(line(&n.to_string()), origin);
                    assert!(queue.len() <= MAX_QUEUED_LINES);
                }
                assert_eq!(dropped, more as u64);
                let left = drain(&mut queue);
                assert_eq!(left.len(), MAX_QUEUED_LINES);
                assert_eq!(left[0], more.to_string(), "the oldest go");
            }
        }
    }

    #[test]
    fn the_bound_in_bytes() {
        for origin in [Origin::Monitor, Origin::Output] {
            let kib: Box<[u8]> = vec![b'x'; 1024].into();
            let full = MAX_QUEUED_BYTES / kib.len();
            for more in [0, 1, 5_000] {
                let mut queue = Queue::default();
                let dropped: u64 = (0..full + more)
                    .map(|_| queue.push(kib.clone(), origin))
                    .sum();
                assert_eq!(dropped, more as u64);
                assert_eq!((queue.len(), queue.bytes), (full, MAX_QUEUED_BYTES));
            }
        }
    }

    #[test]
    fn one_line_against_the_bound_in_bytes() {
        for (len, left) in [
            (MAX_QUEUED_BYTES, 1),
            (MAX_QUEUED_BYTES + 1, 0),
            (10 * MAX_QUEUED_BYTES, 0),
        ] {
            let mut queue = Queue::default();
            let dropped = queue.push(vec![b'x'; len].into(), Origin::Monitor);
            assert_eq!((queue.len(), dropped), (left, 1 - left as u64), "{len}");
        }
    }

    #[test]
    fn output_gives_way_to_the_monitor_and_never_the_other_way() {
        let mut queue = Queue::default();
        queue.push(line("the worker was killed"), Origin::Monitor);
        for _ in 0..MAX_QUEUED_LINES {
            queue.push(line("flood"), Origin::Output);
        }
        assert_eq!(queue.push(line("and started again"), Origin::Monitor), 1);
        let left = drain(&mut queue);
        assert_eq!(left.len(), MAX_QUEUED_LINES);
        assert_eq!(left[0], "the worker was killed");
        assert_eq!(left[MAX_QUEUED_LINES - 1], "and started again");

        for _ in 0..MAX_QUEUED_LINES {
            queue.push(line("own"), Origin::Monitor);
        }
        assert_eq!(queue.push(line("flood"), Origin::Output), 1);
        assert!(drain(&mut queue).iter().all(|line| line == "own"));
    }
}
