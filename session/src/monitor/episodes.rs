//! When the webhook is told what: an episode is a first crash, what follows it, and the recovery.

use std::time::Duration;

use crate::machine::{Generation, Time};

/// So many messages may follow one another at once: a first crash, escalations up to the 128th,
/// and a recovery, with one to spare.
const BURST: u32 = 10;
/// After that there is one in this time. A server that dies and recovers for days reaches its
/// operator a minute late, and does not drown what else reaches them.
const PAUSE: Duration = Duration::from_secs(60);

/// What is worth a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first crash of an episode.
    Crashed,
    /// So many crashes by now: told at 2, 4, 8, …, so that a crash loop is told ever more rarely.
    Escalated,
    /// A worker was ready for as long as makes it stable.
    Recovered,
    /// The session ended by itself, in the middle of an episode.
    Ended,
}

/// One message, and how many crashes its episode has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) kind: Kind,
    pub(super) crashes: u64,
}

/// Knows no clock: whoever asks says how late it is.
#[derive(Debug)]
pub(super) struct Episodes {
    /// Ready for so long, a worker has ended an episode.
    stable: Duration,
    /// Of this episode; 0: there is none.
    crashes: u64,
    /// The crash that is told next.
    next_at: u64,
    serving: Option<(Generation, Time)>,
    /// Up to here the messages so far have used their share, each of them one pause.
    used: Time,
    /// One at a time.
    under_way: bool,
    ends: bool,
}

impl Episodes {
    pub(super) fn new(stable: Duration) -> Episodes {
        Episodes {
            stable,
            crashes: 0,
            next_at: 1,
            serving: None,
            used: Time::ZERO,
            under_way: false,
            ends: false,
        }
    }

    pub(super) fn crashed(&mut self) {
        self.crashes += 1;
    }

    /// The worker that is ready now, if one is.
    pub(super) fn observe(&mut self, now: Time, serving: Option<Generation>) {
        if self.serving.map(|(generation, _)| generation) != serving {
            self.serving = serving.map(|generation| (generation, now));
        }
    }

    /// The session ends although nobody has asked it to.
    pub(super) fn end(&mut self) {
        self.ends = true;
    }

    /// The message that was under way has arrived, or never will. It is not sent again: the next
    /// one has the count.
    pub(super) fn delivered(&mut self) {
        self.under_way = false;
    }

    /// When there may be something to tell, if nothing else happens.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.due().map(|(at, _)| at)
    }

    /// What is to be sent now; it is under way from here on.
    pub(super) fn next(&mut self, now: Time) -> Option<News> {
        let (_, kind) = self.due().filter(|(at, _)| *at <= now)?;
        let crashes = self.crashes;
        match kind {
            Kind::Crashed | Kind::Escalated => self.next_at = (crashes + 1).next_power_of_two(),
            Kind::Recovered | Kind::Ended => (self.crashes, self.next_at) = (0, 1),
        }
        self.used = self.used.max(now) + PAUSE;
        self.under_way = true;
        Some(News { kind, crashes })
    }

    fn due(&self) -> Option<(Time, Kind)> {
        if self.under_way || self.crashes == 0 {
            return None;
        }
        if self.ends {
            return Some((Time::ZERO, Kind::Ended));
        }
        let allowed = self.used.saturating_sub(PAUSE * (BURST - 1));
        if self.crashes >= self.next_at {
            let kind = match self.next_at {
                1 => Kind::Crashed,
                _ => Kind::Escalated,
            };
            return Some((allowed, kind));
        }
        let (_, since) = self.serving?;
        Some((allowed.max(since + self.stable), Kind::Recovered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: u64 = 10;

    /// Episodes with a clock in seconds, and a courier that is there at once.
    struct Clocked(Episodes);

    impl Clocked {
        fn new() -> Clocked {
            Clocked(Episodes::new(Duration::from_secs(STABLE)))
        }

        /// All that is sent at this second.
        fn sent(&mut self, now: u64) -> Vec<(Kind, u64)> {
            let mut sent = Vec::new();
            while let Some(news) = self.0.next(Duration::from_secs(now)) {
                sent.push((news.kind, news.crashes));
                assert_eq!(self.0.next_deadline(), None, "one is under way");
                self.0.delivered();
            }
            sent
        }

        fn crash(&mut self, now: u64) -> Vec<(Kind, u64)> {
            self.0.observe(Duration::from_secs(now), None);
            self.0.crashed();
            self.sent(now)
        }

        fn ready(&mut self, now: u64, generation: Generation) {
            self.0.observe(Duration::from_secs(now), Some(generation));
        }

        fn deadline(&self) -> Option<u64> {
            self.0.next_deadline().map(|at| at.as_secs())
        }
    }

    #[test]
    fn the_first_crash_is_told_at_once_then_each_doubling() {
        let mut episodes = Clocked::new();
        assert_eq!((episodes.deadline(), episodes.sent(0)), (None, vec![]));
        let mut told = Vec::new();
        for _ in 0..200 {
            told.extend(episodes.crash(5));
        }
        let mut expected = vec![(Kind::Crashed, 1)];
        expected.extend([2, 4, 8, 16, 32, 64, 128].map(|count| (Kind::Escalated, count)));
        assert_eq!(told, expected);
        // Nobody serves, so there is nothing to wait for.
        assert_eq!(episodes.deadline(), None);
    }

    #[test]
    fn a_worker_that_stays_ends_the_episode_with_one_message() {
        let mut episodes = Clocked::new();
        episodes.crash(1);
        episodes.crash(2);
        episodes.crash(3);
        episodes.ready(4, 4);
        assert_eq!(episodes.deadline(), Some(4 + STABLE));
        // That it still serves is no news.
        episodes.ready(9, 4);
        assert_eq!(episodes.sent(3 + STABLE), []);
        assert_eq!(episodes.sent(4 + STABLE), [(Kind::Recovered, 3)]);
        assert_eq!((episodes.deadline(), episodes.sent(1_000)), (None, vec![]));
        assert_eq!(episodes.crash(1_001), [(Kind::Crashed, 1)]);
    }

    #[test]
    fn the_time_of_one_worker_does_not_count_for_the_next() {
        let mut episodes = Clocked::new();
        episodes.crash(0);
        episodes.ready(1, 2);
        assert_eq!(episodes.crash(9), [(Kind::Escalated, 2)]);
        assert_eq!(episodes.deadline(), None);
        episodes.ready(9, 3);
        // A reload: another one serves, and has to prove itself too.
        episodes.ready(15, 4);
        assert_eq!(episodes.sent(24), []);
        assert_eq!(episodes.sent(25), [(Kind::Recovered, 2)]);
    }

    #[test]
    fn a_report_may_come_after_the_next_worker_is_ready() {
        let mut episodes = Clocked::new();
        episodes.ready(0, 1);
        episodes.ready(20, 2);
        episodes.0.crashed();
        assert_eq!(episodes.sent(21), [(Kind::Crashed, 1)]);
        assert_eq!(episodes.sent(30), [(Kind::Recovered, 1)]);
    }

    #[test]
    fn one_at_a_time_and_the_next_has_the_count_of_all() {
        let mut episodes = Episodes::new(Duration::ZERO);
        let now = Duration::from_secs(7);
        episodes.crashed();
        assert!(episodes.next(now).is_some());
        for _ in 1..6 {
            episodes.crashed();
            assert_eq!((episodes.next(now), episodes.next_deadline()), (None, None));
        }
        episodes.delivered();
        let news = |kind| News { kind, crashes: 6 };
        assert_eq!(episodes.next(now), Some(news(Kind::Escalated)));
        episodes.observe(now, Some(7));
        episodes.delivered();
        assert_eq!(episodes.next(now), Some(news(Kind::Recovered)));
        episodes.delivered();
        assert_eq!(episodes.next(now), None);
    }

    #[test]
    fn a_server_that_dies_and_recovers_for_hours_is_told_once_a_minute_at_most() {
        let mut episodes = Clocked::new();
        let mut told = Vec::new();
        for second in 0..7200_u64 {
            let generation = second / 15;
            match second % 15 {
                0 => {
                    let sent = episodes.crash(second);
                    told.extend(sent.into_iter().map(|(kind, _)| (second, kind)));
                }
                _ => episodes.ready(second, generation),
            }
            let sent = episodes.sent(second);
            told.extend(sent.into_iter().map(|(kind, _)| (second, kind)));
        }
        for (index, (at, _)) in told.iter().enumerate().skip(BURST as usize) {
            let (before, _) = told[index - BURST as usize];
            assert!(at - before >= PAUSE.as_secs(), "{told:?}");
        }
        let most = 7200 / PAUSE.as_secs() + u64::from(BURST);
        assert!(told.len() as u64 <= most, "{}", told.len());
        assert!(told.len() > BURST as usize);
        // What was held back is made up for.
        episodes.ready(7200, 10_000);
        assert_eq!(episodes.sent(7_500).len(), 1);
    }

    #[test]
    fn what_is_held_back_has_a_deadline() {
        let mut episodes = Clocked::new();
        for generation in 0..u64::from(BURST) / 2 {
            assert_eq!(episodes.crash(0), [(Kind::Crashed, 1)]);
            episodes.ready(0, generation);
            episodes.0.stable = Duration::ZERO;
            assert_eq!(episodes.sent(0), [(Kind::Recovered, 1)]);
        }
        assert_eq!(episodes.crash(1), []);
        assert_eq!(episodes.deadline(), Some(60));
        assert_eq!(episodes.crash(2), []);
        assert_eq!(episodes.sent(59), []);
        assert_eq!(episodes.sent(60), [(Kind::Crashed, 2)]);
    }

    #[test]
    fn a_session_that_ends_by_itself_says_so_whatever_the_count() {
        let mut calm = Clocked::new();
        calm.0.end();
        assert_eq!(calm.sent(0), []);
        let mut episodes = Clocked::new();
        episodes.crash(0);
        episodes.crash(0);
        assert_eq!(episodes.crash(0), []);
        episodes.0.end();
        assert_eq!(episodes.sent(0), [(Kind::Ended, 3)]);
        assert_eq!(episodes.sent(100), []);
    }
}
