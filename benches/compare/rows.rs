//! The rows of the table, with their units and goals.

use std::io;

use crate::server::{Product, Server};
use crate::work;

/// A piece of work that yields one or more lines of the table.
pub(crate) struct Row {
    /// The name for `--rows`.
    pub(crate) name: &'static str,
    pub(crate) lines: Vec<Line>,
    /// The units of the first sample; there are more if that is too short to be measured.
    pub(crate) amount: Amount,
    /// Does this number of units.
    pub(crate) work: Work,
    /// A reference in addition to Dovecot, measured on the same mail.
    pub(crate) reference: Option<Work>,
    /// The servers that are measured.
    pub(crate) products: &'static [Product],
    /// Whether it takes so long that it runs only if it is selected by name.
    pub(crate) rare: bool,
}

/// Work on a server.
pub(crate) type Work = fn(&mut Server, u32) -> io::Result<Sample>;

/// Units of work in a sample.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// This number or more, and the number with `--quick`.
    AtLeast(u32, u32),
    /// Exactly this number, and the number with `--quick`.
    Always(u32, u32),
}

/// A line of the table.
pub(crate) struct Line {
    pub(crate) title: &'static str,
    pub(crate) figure: Figure,
    pub(crate) unit: Unit,
    pub(crate) goal: Goal,
}

/// Which figure of a sample a line shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Processor,
    Wall,
    Memory,
}

/// The unit of a figure.
#[derive(Clone, Copy)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    /// The number of units in a second or a byte.
    pub(crate) scale: f64,
}

/// The goal for Restante.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// At most this fraction of Dovecot's figure: `1 / n`.
    Part(f64),
    /// The same, and less than the reference.
    PartAndBelow(f64),
    /// At most this multiple of the reference.
    Times(f64),
    /// At most this, in the unit of the line.
    AtMost(f64),
    /// None; the figure is for information.
    Open,
}

/// The figures of a sample.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    /// The number of units.
    pub(crate) units: f64,
    /// Seconds of processor time of the server.
    pub(crate) processor: f64,
    /// Seconds of wall-clock time.
    pub(crate) wall: f64,
    /// Bytes of memory of the server.
    pub(crate) memory: f64,
    /// The number of other sessions.
    pub(crate) beside: u32,
}

impl Sample {
    /// One of its figures.
    pub(crate) const fn figure(&self, figure: Figure) -> f64 {
        match figure {
            Figure::Processor => self.processor,
            Figure::Wall => self.wall,
            Figure::Memory => self.memory,
        }
    }
}

const MS: Unit = Unit { name: "ms", scale: 1e3 };
const US: Unit = Unit { name: "µs", scale: 1e6 };
const S_GB: Unit = Unit { name: "s/GB", scale: 1.0 };
const KB: Unit = Unit { name: "kB", scale: 1e-3 };
const BYTES: Unit = Unit { name: "B", scale: 1.0 };

const BOTH: &[Product] = &[Product::Dovecot, Product::Restante];
const RESTANTE: &[Product] = &[Product::Restante];

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    use Amount::{Always, AtLeast};
    use Goal::{AtMost, Open, Part, PartAndBelow, Times};
    let many = AtLeast(3200, 320);
    vec![
        row("login", AtLeast(400, 40), work::login).cpu(
            "connect, log in, STAT, QUIT",
            MS,
            Part(8.0),
        ),
        row("login-tls", AtLeast(200, 20), work::login_tls).cpu(
            "the same over TLS 1.3, full handshake",
            MS,
            Part(3.0),
        ),
        row("poll", AtLeast(400, 40), work::poll).cpu(
            "poll: CAPA, log in, STAT, UIDL, LIST, QUIT",
            MS,
            Part(8.0),
        ),
        row("poll-10k", AtLeast(10, 2), work::poll_ten_thousand)
            .reference(work::readdir_ten_thousand)
            .wall("poll of 10 000, nothing new", MS, PartAndBelow(10.0)),
        row("poll-100k", AtLeast(2, 1), work::poll_hundred_thousand)
            .reference(work::readdir_hundred_thousand)
            .wall("poll of 100 000, nothing new", MS, PartAndBelow(10.0)),
        row("first-poll-warm", Always(1, 1), work::first_poll).reference(work::read_all).wall(
            "first poll of 100 000 × 4 kB, warm",
            MS,
            Times(1.2),
        ),
        row("first-poll-cold", Always(1, 1), work::first_poll_cold)
            .reference(work::read_all_cold)
            .wall("first poll of 100 000 × 4 kB, cold", MS, Times(1.2)),
        row("retr", many, work::retr).reference(work::bare_retr).cpu(
            "RETR 10 kB, one at a time",
            US,
            Part(6.0),
        ),
        row("retr-16", many, work::retr_pipelined).reference(work::bare_retr_pipelined).cpu(
            "RETR 10 kB, pipelined 16",
            US,
            Part(6.0),
        ),
        row("top-16", many, work::top_pipelined).reference(work::bare_top_pipelined).cpu(
            "TOP n 0, pipelined 16",
            US,
            Part(5.0),
        ),
        row("large", AtLeast(5, 1), work::large)
            .reference(work::bare_large)
            .cpu("RETR 20 MB", S_GB, Part(6.0))
            .wall("RETR 20 MB, wall", S_GB, Open),
        row("large-tls", AtLeast(5, 1), work::large_tls)
            .cpu("RETR 20 MB over TLS", S_GB, Part(4.0))
            .wall("RETR 20 MB over TLS, wall", S_GB, Open),
        row("dele", Always(1000, 1000), work::dele).wall("DELE of 1000 and QUIT", MS, Part(3.0)),
        row("idle", Always(1000, 100), work::idle).memory(
            "idle connection before login",
            KB,
            AtMost(3.0),
        ),
        row("idle-tls", Always(1000, 100), work::idle_tls).memory(
            "the same over TLS",
            KB,
            AtMost(16.0),
        ),
        row("idle-session", Always(1000, 100), work::idle_session).memory(
            "idle session, 100 messages",
            KB,
            AtMost(12.0),
        ),
        row("crowd", AtLeast(3200, 320), work::retr_in_a_crowd)
            .of(RESTANTE)
            .reference(work::retr)
            .cpu("RETR 10 kB beside idle sessions", US, Times(1.2))
            .wall("the same, wall", US, Times(1.2)),
        row("million-first", Always(1, 1), work::million_first).rare().wall(
            "first poll of 1 000 000",
            MS,
            Open,
        ),
        row("million-later", AtLeast(1, 1), work::million_later).rare().wall(
            "poll of 1 000 000, nothing new",
            MS,
            Open,
        ),
        row("million-memory", Always(1, 1), work::million_memory).rare().memory(
            "memory of that session, a message",
            BYTES,
            AtMost(64.0),
        ),
    ]
}

fn row(name: &'static str, amount: Amount, work: Work) -> Row {
    Row { name, lines: Vec::new(), amount, work, reference: None, products: BOTH, rare: false }
}

impl Row {
    fn cpu(self, title: &'static str, unit: Unit, goal: Goal) -> Self {
        self.line(Line { title, figure: Figure::Processor, unit, goal })
    }

    fn wall(self, title: &'static str, unit: Unit, goal: Goal) -> Self {
        self.line(Line { title, figure: Figure::Wall, unit, goal })
    }

    fn memory(self, title: &'static str, unit: Unit, goal: Goal) -> Self {
        self.line(Line { title, figure: Figure::Memory, unit, goal })
    }

    fn line(mut self, line: Line) -> Self {
        self.lines.push(line);
        self
    }

    fn reference(mut self, work: Work) -> Self {
        self.reference = Some(work);
        self
    }

    const fn of(mut self, products: &'static [Product]) -> Self {
        self.products = products;
        self
    }

    const fn rare(mut self) -> Self {
        self.rare = true;
        self
    }
}
