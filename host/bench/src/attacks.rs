//! `cargo xtask bench --attacks`: whether the intake stands, whatever a plugin or a sender does.
//!
//! Each attack has a host of its own with default settings and two plugins, a good one and the
//! attacker's. A good client sends 50 signed requests a second to a source of its own, in an open
//! loop. It does so alone, then beside the attack, then alone again to a host with nothing stored;
//! the calmer of the two times alone counts. Each attack has lines that must hold; what is beyond
//! one of them is measured again, up to three times, where another try may excuse it. The benchmark
//! fails if a line does not hold and is not in [`KNOWN`].
//!
//! Attacks come from other addresses of the loopback network than the good client does. They take
//! CPU time of the machine that they attack; how much is printed.

use std::path::Path;
use std::time::{Duration, Instant};

use self::host::{Binary, Host, Site};
use self::judge::{Acks, Known, Measured, Summary, Verdict};
use self::turn::Turn;
use super::Options;
use super::figures::{Figure, Wanted};
use hookbox_tools::{Result, say};

mod backlog;
mod client;
mod disk;
mod door;
mod group;
mod host;
mod idle;
mod judge;
mod operators;
mod permits;
mod print;
mod settlements;
mod slow;
mod talk;
mod turn;

/// Lines that two designs did not reach.
const KNOWN: &[Known] = &[];

/// Good requests a second.
const GOOD_RATE: f64 = 50.0;
/// Good requests beside an attack, in seconds, unless something else is said.
const SECONDS: u32 = 6;
/// Good requests alone, before it and after it.
const ALONE: Duration = Duration::from_secs(2);
/// Good requests that are not counted: they warm up the pool and the connection.
const WARM: Duration = Duration::from_millis(500);
/// How often an attack that is beyond a line is measured before that is believed.
const TRIES: u32 = 3;
/// No other try begins that would end later than this.
const LONGEST: Duration = Duration::from_secs(600);
/// Of an attack that is over sooner, nothing can be said.
const SHORTEST: Duration = Duration::from_secs(1);

/// How the good client sends, and what must hold of it.
#[derive(Debug, Clone, Copy)]
struct Good {
    /// If anything.
    acks: Option<Acks>,
    /// A new connection for each request.
    fresh: bool,
}

/// The line that most attacks have.
const ACKS: Acks = Acks { times: 5.0, or_ms: 40.0 };
const GOOD: Good = Good { acks: Some(ACKS), fresh: false };

/// An attack on a host.
trait Attack: Sync {
    /// A name without spaces.
    fn name(&self) -> String;
    /// Its effect, in a few words.
    fn what(&self) -> String;
    /// The host's configuration.
    fn site(&self, binary: &Binary) -> Site;
    /// Done before it, when the good client has been measured alone.
    fn prepare(&self, _host: &Host) -> Result {
        Ok(())
    }
    /// Runs in a thread beside the good client, says when it has begun, and returns when the turn
    /// is over.
    fn attack(&self, host: &Host, turn: &Turn) -> Result;
    /// How the good client sends meanwhile; `None`: there is none.
    fn good(&self) -> Option<Good> {
        Some(GOOD)
    }
    /// Other lines than those about the good client's acknowledgements. `answers` are what came of
    /// its requests beside the attack, which began at `began`.
    fn figures(&self, _host: &Host, _beside: &Beside) -> Result<Vec<Figure>> {
        Ok(Vec::new())
    }
    /// A remark for the reader.
    fn notes(&self, _binary: &Binary, _host: &Host) -> Vec<String> {
        Vec::new()
    }
}

/// Results of the good requests beside an attack.
#[derive(Debug)]
struct Beside {
    began: jiff::Timestamp,
    answers: Vec<client::Answer>,
    /// Length of the host's log before and after, in KiB.
    log_kib: [f64; 2],
    took: Duration,
}

/// Every attack there is.
fn attacks() -> Vec<Box<dyn Attack>> {
    let mut all = settlements::attacks();
    all.extend(permits::attacks());
    all.extend(door::attacks());
    all.extend(operators::attacks());
    all.extend(disk::attacks());
    all
}

/// One row.
struct Row {
    attack: Box<dyn Attack>,
    measured: Measured,
    took: Duration,
}

impl Row {
    fn verdict(&self) -> Verdict {
        self.measured.verdict(&self.attack.name(), KNOWN)
    }

    fn wants_another_try(&self) -> bool {
        self.verdict() == Verdict::Beyond
            && self.measured.is_excused()
            && self.measured.tries < TRIES
    }
}

/// Measures every attack, prints. An error if a line does not hold.
pub(super) fn bench(folder: &Path, options: &Options) -> Result {
    let started = Instant::now();
    let wanted: Vec<_> =
        attacks().into_iter().filter(|attack| options.measures(&attack.name())).collect();
    options.left(&wanted.iter().map(|attack| attack.name()).collect::<Vec<_>>())?;
    idle::raise_limit()?;
    let binary = Binary::new(options.host.as_deref(), folder)?;
    let seconds = Duration::from_secs(options.seconds.unwrap_or(SECONDS).into());
    let mut rows = Vec::new();
    for attack in wanted {
        let begun = Instant::now();
        let measured = measure(&binary, &*attack, seconds);
        rows.push(Row { attack, measured, took: begun.elapsed() });
        print::show(&rows[rows.len() - 1]);
    }
    for _ in 1..TRIES {
        for row in rows.iter_mut().filter(|row| row.wants_another_try()) {
            if started.elapsed() + row.took < LONGEST {
                let newer = measure(&binary, &*row.attack, seconds);
                row.measured = std::mem::take(&mut row.measured).again(newer);
                print::show(row);
            }
        }
    }
    print::print(&rows, started.elapsed(), options);
    let beyond = rows.iter().filter(|row| row.verdict() == Verdict::Beyond);
    let beyond: Vec<String> = beyond.map(|row| row.attack.name()).collect();
    if beyond.is_empty() { Ok(()) } else { Err(format!("beyond a line: {}", beyond.join(", "))) }
}

/// Measures an attack once. A fault that prevents it is beyond every line, and prevents no
/// other from it.
fn measure(binary: &Binary, attack: &dyn Attack, seconds: Duration) -> Measured {
    say(&attack.name());
    try_measure(binary, attack, seconds).unwrap_or_else(Measured::failed)
}

fn try_measure(binary: &Binary, attack: &dyn Attack, seconds: Duration) -> Result<Measured> {
    let site = attack.site(binary);
    let mut host = binary.start(&site)?;
    let Some(good) = attack.good() else {
        attack.prepare(&host)?;
        let figures = attack.figures(&host, &Beside::none())?;
        let notes = attack.notes(binary, &host);
        host.end();
        return Ok(Measured { figures, notes, tries: 1, ..Measured::default() });
    };
    let before = alone(&host, good)?;
    attack.prepare(&host)?;
    let (beside, turn) = beside(&host, attack, good, seconds)?;
    let mut notes = attack.notes(binary, &host);
    let mut figures = Vec::new();
    if host.is_alive() {
        figures = attack.figures(&host, &beside)?;
    } else {
        figures.push(Figure::new("deaths of the host", 1.0, "", Wanted::AtMost(0.0)));
        figures.extend(attack.figures(&host, &beside).unwrap_or_default());
    }
    host.end();
    let host = binary.start(&site)?;
    let alone = before.calmer(alone(&host, good)?);
    host.end();
    let answered = Summary::of(&beside.answers);
    figures.splice(0..0, good.acks.into_iter().flat_map(|acks| acks.figures(&alone, &answered)));
    notes.extend(
        turn.over_early().map(|after| format!("it was over after {:.1} s", after.as_secs_f64())),
    );
    let attacker_percent = Some(turn.cost().as_secs_f64() / beside.took.as_secs_f64() * 100.0);
    Ok(Measured {
        alone: Some(alone),
        beside: Some(answered),
        figures,
        notes,
        attacker_percent,
        tries: 1,
    })
}

/// The good client alone.
fn alone(host: &Host, good: Good) -> Result<Summary> {
    host.send_good(WARM, good.fresh)?;
    host.send_good(ALONE, good.fresh).map(|answers| Summary::of(&answers))
}

/// The good client beside the attack.
fn beside(
    host: &Host,
    attack: &dyn Attack,
    good: Good,
    seconds: Duration,
) -> Result<(Beside, Turn)> {
    let turn = Turn::default();
    let log_kib = host.log_kib();
    let beside = std::thread::scope(|scope| {
        let attacker = scope.spawn(|| turn.run(|| attack.attack(host, &turn)));
        turn.until_begun()?;
        let (began, started) = (jiff::Timestamp::now(), Instant::now());
        turn.start();
        let answers = host.send_good(seconds, good.fresh);
        let took = started.elapsed();
        turn.end();
        let attacked = attacker.join().expect("an attacker does not panic");
        Ok::<_, String>((began, answers?, took, attacked))
    });
    let (began, mut answers, took, attacked) = beside?;
    // The death of a host is told to the attackers of it as well.
    attacked.inspect_err(|error| eprintln!("{}: {error}", attack.name())).ok();
    if let Some(after) = turn.over_early() {
        answers.retain(|answer| answer.due < after);
        if after < SHORTEST {
            return Err(format!(
                "{}: it was over after {after:?}, too soon to say anything",
                attack.name()
            ));
        }
    }
    Ok((Beside { began, answers, log_kib: [log_kib, host.log_kib()], took }, turn))
}

impl Beside {
    fn none() -> Self {
        Self {
            began: jiff::Timestamp::now(),
            answers: Vec::new(),
            log_kib: [0.0; 2],
            took: Duration::ZERO,
        }
    }
}
