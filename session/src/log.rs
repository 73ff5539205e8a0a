//! The log: what a line looks like, and the handle through which everyone writes one.
//!
//! ```text
//! [Tue, 24 Nov 2026 01:45:00 GMT] __monitor__: spawned new server worker with process id 7
//! ```

mod queue;
mod sink;
mod writer;

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use termcolor::{Buffer, Color, ColorSpec, WriteColor as _};

use crate::text;

use self::sink::Descriptor;
pub(crate) use self::writer::{Lost, Writer};

/// The longest piece of a line, before escaping: what one line of a worker's output can hold.
pub(crate) const MAX_PIECE_BYTES: usize = crate::output::MAX_OUTPUT_LINE;

/// The last second of the year 9999: the format of the date has four digits for the year.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// On whose behalf a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Monitor,
    Worker,
}

/// What a piece of a line is, which gives it its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Fact,
    Good,
    Warn,
    Bad,
}

/// A stream of the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// One line of the log, put together from pieces.
///
/// Each piece is clipped and escaped as it is added, whoever it comes from: no text can reach the
/// terminal through a `Line` with a control character in it, a newline included.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    who: Who,
    pieces: Vec<(Style, String)>,
}

impl Line {
    pub(crate) fn new(who: Who) -> Self {
        Self {
            who,
            pieces: Vec::new(),
        }
    }

    pub(crate) fn plain(self, text: impl Display) -> Self {
        self.piece(Style::Plain, text)
    }

    pub(crate) fn fact(self, text: impl Display) -> Self {
        self.piece(Style::Fact, text)
    }

    pub(crate) fn good(self, text: impl Display) -> Self {
        self.piece(Style::Good, text)
    }

    pub(crate) fn warn(self, text: impl Display) -> Self {
        self.piece(Style::Warn, text)
    }

    pub(crate) fn bad(self, text: impl Display) -> Self {
        self.piece(Style::Bad, text)
    }

    pub(crate) fn piece(mut self, style: Style, text: impl Display) -> Self {
        let text = text.to_string();
        let text = text::escape(&text::clip(&text, MAX_PIECE_BYTES)).into_owned();
        self.pieces.push((style, text));
        self
    }
}

/// The handle that everyone holds; clones write to the same streams.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    identifiers: Arc<Mutex<Identifiers>>,
    stdout: Target,
    stderr: OnceLock<Target>,
}

/// What the monitor and its workers are called, without the colon.
#[derive(Debug)]
struct Identifiers {
    monitor: String,
    worker: String,
}

#[derive(Debug)]
enum Target {
    Stream {
        writer: Writer,
        colours: bool,
    },
    /// Lines without their date.
    #[cfg(test)]
    Memory(Arc<Mutex<Vec<String>>>),
}

impl Log {
    /// Starts the log on stdout, under the default identifiers.
    pub(crate) fn start() -> io::Result<Self> {
        let identifiers = Arc::new(Mutex::new(Identifiers::default()));
        let stdout = Target::start("session-stdout", io::stdout(), &identifiers)?;
        Ok(Self {
            shared: Arc::new(Shared {
                identifiers,
                stdout,
                stderr: OnceLock::new(),
            }),
        })
    }

    /// Gives stderr a writer of its own; until then what is meant for it goes to stdout.
    pub(crate) fn open_stderr(&self) -> io::Result<()> {
        if self.shared.stderr.get().is_none() {
            let target = Target::start("session-stderr", io::stderr(), &self.shared.identifiers)?;
            // Whoever was faster has opened the same stream.
            let _ = self.shared.stderr.set(target);
        }
        Ok(())
    }

    /// Takes the identifiers of the configuration, once it has been read.
    pub(crate) fn set_identifiers(&self, monitor: &str, worker: &str) {
        *lock(&self.shared.identifiers) = Identifiers::new(monitor, worker);
    }

    pub(crate) fn line(&self, line: &Line) {
        let identifiers = lock(&self.shared.identifiers);
        match &self.shared.stdout {
            Target::Stream { writer, colours } => {
                writer.push(render(SystemTime::now(), &identifiers, line, *colours));
            }
            #[cfg(test)]
            Target::Memory(lines) => lock(lines).push(body(&identifiers, line)),
        }
    }

    /// Passes a line of a worker's output on, without its line ending.
    pub(crate) fn output(&self, stream: Stream, line: &[u8]) {
        let target = match stream {
            Stream::Stdout => &self.shared.stdout,
            Stream::Stderr => self.shared.stderr.get().unwrap_or(&self.shared.stdout),
        };
        let line = text::lossy(line);
        match target {
            Target::Stream { writer, colours } => {
                let mut line = text::escape_output(&line, *colours).into_owned();
                line.push('\n');
                writer.push_raw(line.into_bytes());
            }
            #[cfg(test)]
            Target::Memory(lines) => {
                lock(lines).push(text::escape_output(&line, false).into_owned());
            }
        }
    }

    /// Waits until all lines are written; false when the time was over first.
    pub(crate) fn flush(&self, within: Duration) -> bool {
        let start = Instant::now();
        let left = || within.saturating_sub(start.elapsed());
        self.writers().all(|writer| writer.flush(left()))
    }

    /// The lines that never got out, on all streams together.
    pub(crate) fn lost(&self) -> Lost {
        self.writers()
            .map(Writer::lost)
            .fold(Lost::default(), |sum, lost| Lost {
                dropped: sum.dropped + lost.dropped,
                failed: sum.failed + lost.failed,
            })
    }

    fn writers(&self) -> impl Iterator<Item = &Writer> {
        let targets = [Some(&self.shared.stdout), self.shared.stderr.get()];
        targets.into_iter().flatten().filter_map(Target::writer)
    }
}

#[cfg(test)]
impl Log {
    /// A log that keeps its lines, without dates and colours, and needs neither thread nor stream.
    pub(crate) fn memory() -> (Self, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::default();
        let shared = Shared {
            identifiers: Arc::default(),
            stdout: Target::Memory(Arc::clone(&lines)),
            stderr: OnceLock::new(),
        };
        (
            Self {
                shared: Arc::new(shared),
            },
            lines,
        )
    }
}

impl Target {
    fn start<F>(name: &str, stream: F, identifiers: &Arc<Mutex<Identifiers>>) -> io::Result<Self>
    where
        F: AsFd + IsTerminal + Send + 'static,
    {
        let variable = |name| std::env::var_os(name).unwrap_or_default();
        let colours = colours(
            stream.is_terminal(),
            &variable("NO_COLOR"),
            &variable("TERM"),
        );
        let identifiers = Arc::clone(identifiers);
        let notice = move |count| {
            render(
                SystemTime::now(),
                &lock(&identifiers),
                &loss(count),
                colours,
            )
        };
        let writer = Writer::start(name, Descriptor(stream), notice)?;
        Ok(Self::Stream { writer, colours })
    }

    fn writer(&self) -> Option<&Writer> {
        match self {
            Self::Stream { writer, .. } => Some(writer),
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }
}

impl Identifiers {
    fn new(monitor: &str, worker: &str) -> Self {
        let safe = |text| text::escape(&text::clip(text, MAX_PIECE_BYTES)).into_owned();
        Self {
            monitor: safe(monitor),
            worker: safe(worker),
        }
    }

    fn of(&self, who: Who) -> &str {
        match who {
            Who::Monitor => &self.monitor,
            Who::Worker => &self.worker,
        }
    }
}

impl Default for Identifiers {
    fn default() -> Self {
        Self::new("__monitor__", "__server__")
    }
}

/// Colours are for a terminal that shows them and a user who wants them.
fn colours(terminal: bool, no_color: &OsStr, term: &OsStr) -> bool {
    terminal && no_color.is_empty() && term != "dumb"
}

/// The line that stands where lines are missing.
fn loss(count: u64) -> Line {
    Line::new(Who::Monitor).warn(format_args!("{} dropped", text::count(count, "line")))
}

fn render(now: SystemTime, identifiers: &Identifiers, line: &Line, colours: bool) -> Vec<u8> {
    let mut out = if colours {
        Buffer::ansi()
    } else {
        Buffer::no_color()
    };
    let identifier = match line.who {
        Who::Monitor => Color::Yellow,
        Who::Worker => Color::Magenta,
    };
    paint(
        &mut out,
        Some(Color::Blue),
        format_args!("[{}]", stamp(now)),
    );
    paint(&mut out, None, " ");
    paint(
        &mut out,
        Some(identifier),
        format_args!("{}:", identifiers.of(line.who)),
    );
    paint(&mut out, None, " ");
    for (style, text) in &line.pieces {
        paint(&mut out, style.colour(), text);
    }
    paint(&mut out, None, "\n");
    out.into_inner()
}

/// Adds to a buffer in memory, which cannot fail.
fn paint(out: &mut Buffer, colour: Option<Color>, text: impl Display) {
    let Some(colour) = colour else {
        let _ = write!(out, "{text}");
        return;
    };
    let _ = out.set_color(ColorSpec::new().set_reset(false).set_fg(Some(colour)));
    let _ = write!(out, "{text}");
    let _ = out.reset();
}

impl Style {
    fn colour(self) -> Option<Color> {
        match self {
            Self::Plain => None,
            Self::Fact => Some(Color::Cyan),
            Self::Good => Some(Color::Green),
            Self::Warn => Some(Color::Yellow),
            Self::Bad => Some(Color::Red),
        }
    }
}

/// The date, held within the years that the format can express: a board without a clock battery
/// may believe anything, and a wrong date must not end a monitor.
fn stamp(now: SystemTime) -> httpdate::HttpDate {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    (UNIX_EPOCH + since_epoch.min(LAST_SECOND)).into()
}

/// What is guarded here is whole between any two statements, so a panic does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
fn body(identifiers: &Identifiers, line: &Line) -> String {
    let text: String = line.pieces.iter().map(|(_, text)| text.as_str()).collect();
    format!("{}: {text}", identifiers.of(line.who))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Tue, 24 Nov 2026 01:45:00 GMT
    const MOMENT: u64 = 1_795_484_700;

    fn rendered(line: &Line, colours: bool) -> String {
        let bytes = render(at(MOMENT), &Identifiers::default(), line, colours);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_without_colours() {
        let line = Line::new(Who::Monitor)
            .fact("spawned ")
            .plain("worker ")
            .good(7);
        assert_eq!(
            rendered(&line, false),
            "[Tue, 24 Nov 2026 01:45:00 GMT] __monitor__: spawned worker 7\n"
        );
        let line = Line::new(Who::Worker).plain("lifecycle phase (listening)");
        assert_eq!(
            rendered(&line, false),
            "[Tue, 24 Nov 2026 01:45:00 GMT] __server__: lifecycle phase (listening)\n"
        );
    }

    #[test]
    fn a_line_with_colours() {
        let stamp = "\x1b[34m[Tue, 24 Nov 2026 01:45:00 GMT]\x1b[0m";
        let line = Line::new(Who::Monitor)
            .fact("f")
            .plain(" ")
            .good("g")
            .warn("w")
            .bad("b");
        let pieces = "\x1b[36mf\x1b[0m \x1b[32mg\x1b[0m\x1b[33mw\x1b[0m\x1b[31mb\x1b[0m";
        assert_eq!(
            rendered(&line, true),
            format!("{stamp} \x1b[33m__monitor__:\x1b[0m {pieces}\n")
        );
        assert_eq!(
            rendered(&Line::new(Who::Worker), true),
            format!("{stamp} \x1b[35m__server__:\x1b[0m \n")
        );
    }

    #[test]
    fn colours_are_for_terminals_and_can_be_refused() {
        for (terminal, no_color, term, expected) in [
            (true, "", "xterm", true),
            (true, "", "", true),
            (true, "1", "xterm", false),
            (true, "0", "xterm", false),
            (true, "", "dumb", false),
            (false, "", "xterm", false),
        ] {
            assert_eq!(
                colours(terminal, OsStr::new(no_color), OsStr::new(term)),
                expected,
                "terminal {terminal}, NO_COLOR `{no_color}`, TERM `{term}`"
            );
        }
    }

    #[test]
    fn no_piece_can_end_the_line_or_paint_it() {
        let evil = "x\n[now] __monitor__: all is well\x1b[2K\r\u{202e}";
        for style in [
            Style::Plain,
            Style::Fact,
            Style::Good,
            Style::Warn,
            Style::Bad,
        ] {
            let text = rendered(&Line::new(Who::Worker).piece(style, evil), false);
            let (line, newline) = text.split_at(text.len() - 1);
            assert_eq!(newline, "\n");
            assert!(
                !line.contains(char::is_control) && !line.contains('\u{202e}'),
                "{line}"
            );
        }
        let identifiers = Identifiers::new("a\nb", "c\x1b[31m");
        assert_eq!(identifiers.of(Who::Monitor), "a\\nb");
        assert_eq!(identifiers.of(Who::Worker), "c\\x1b[31m");
    }

    #[test]
    #[cfg_attr(miri, ignore = "a megabyte is much to interpret")]
    fn the_length_of_a_piece_is_bounded() {
        let piece = |len: usize| {
            Line::new(Who::Worker)
                .plain("x".repeat(len))
                .pieces
                .remove(0)
                .1
        };
        assert_eq!(piece(MAX_PIECE_BYTES).len(), MAX_PIECE_BYTES);
        assert!(piece(MAX_PIECE_BYTES + 1).ends_with("x… (1 byte cut)"));
        assert!(piece(1 << 20).len() < MAX_PIECE_BYTES + 40);
    }

    #[test]
    fn no_clock_is_too_wrong_for_a_date() {
        for (now, expected) in [
            (at(0), "Thu, 01 Jan 1970 00:00:00 GMT"),
            (
                UNIX_EPOCH - Duration::from_secs(1),
                "Thu, 01 Jan 1970 00:00:00 GMT",
            ),
            (at(LAST_SECOND.as_secs()), "Fri, 31 Dec 9999 23:59:59 GMT"),
            (
                at(LAST_SECOND.as_secs() + 1),
                "Fri, 31 Dec 9999 23:59:59 GMT",
            ),
            (
                at(LAST_SECOND.as_secs() * 100),
                "Fri, 31 Dec 9999 23:59:59 GMT",
            ),
        ] {
            assert_eq!(stamp(now).to_string(), expected);
        }
    }

    #[test]
    fn identifiers_change_for_all_clones() {
        let (log, lines) = Log::memory();
        let clone = log.clone();
        clone.line(&Line::new(Who::Monitor).plain("before"));
        log.set_identifiers("mon", "srv");
        clone.line(&Line::new(Who::Monitor).plain("after"));
        clone.line(&Line::new(Who::Worker).plain("too"));
        assert_eq!(
            *lock(&lines),
            ["__monitor__: before", "mon: after", "srv: too"]
        );
    }

    #[test]
    fn output_is_escaped_and_stands_alone() {
        let (log, lines) = Log::memory();
        log.output(Stream::Stdout, b"a\tb\xff\x1b[2J");
        log.output(Stream::Stderr, b"before stderr is open");
        assert_eq!(
            *lock(&lines),
            ["a\tb\\xff\\x1b[2J", "before stderr is open"]
        );
    }

    #[test]
    fn the_notice_of_a_loss() {
        assert_eq!(
            body(&Identifiers::default(), &loss(1)),
            "__monitor__: 1 line dropped"
        );
        assert_eq!(
            body(&Identifiers::default(), &loss(1234)),
            "__monitor__: 1234 lines dropped"
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "socket pairs are not emulated")]
    fn a_log_writes_to_its_stream() {
        use std::io::Read as _;
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let identifiers = Arc::default();
        let sink = Descriptor(ours);
        let writer = Writer::start("test-log", sink, |_| Vec::new()).unwrap();
        let stdout = Target::Stream {
            writer,
            colours: true,
        };
        let log = Log {
            shared: Arc::new(Shared {
                identifiers,
                stdout,
                stderr: OnceLock::new(),
            }),
        };
        log.line(&Line::new(Who::Monitor).fact("hello"));
        log.output(Stream::Stdout, b"\x1b[31mraw");
        assert!(log.flush(Duration::from_secs(30)));
        assert_eq!(log.lost(), Lost::default());
        drop(log);
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("\x1b[34m["), "{text:?}");
        assert!(
            text.ends_with("\x1b[36mhello\x1b[0m\n\x1b[31mraw\x1b[0m\n"),
            "{text:?}"
        );
    }
}
