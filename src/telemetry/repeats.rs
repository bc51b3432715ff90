//! Counts repeated log lines instead of writing them: otherwise one fault could fill the disk.
//!
//! Two lines are of the same kind if they come from the same place in the source with the same
//! cause. At most one line of each kind is written per minute, or ten if they report a change of
//! state.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    info, warn,
};
use tracing_subscriber::layer::{Context, Layer};

/// Interval of checks for counts that are due.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long lines of a kind are counted before their number is logged.
const WINDOW: Duration = Duration::from_secs(60);
/// Lines of a kind that are written in one window if they report a change of state.
const NEWS: u64 = 10;
/// Maximum number of kinds. Beyond it, lines are distinguished only by their place in the source.
const KINDS_MAX: usize = 256;

/// Counts repeated lines; cheap to clone.
#[derive(Clone, Default)]
pub struct Repeats(Arc<Mutex<HashMap<LineKind, Occurrences>>>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct LineKind {
    place: Identifier,
    text: u64,
}

/// The lines of a kind since its window began.
struct Occurrences {
    since: Instant,
    written: u64,
    counted: u64,
    line: RepeatedLine,
}

/// The parts of a line that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RepeatedLine {
    level: Level,
    message: String,
    /// The fields `error`, `why` and `missing`; the last two mark a change of state.
    cause: String,
    is_state: bool,
}

impl Repeats {
    /// Logs how many lines of each kind were not written.
    pub fn tell(&self) {
        for (line, times) in self.due(Instant::now()) {
            let RepeatedLine { level, message, cause, .. } = line;
            match level {
                Level::INFO => info!(line = message, cause, times, "repeated"),
                _ => warn!(line = message, cause, times, "repeated"),
            }
        }
    }

    /// Whether to write a line.
    fn is_news(&self, place: Identifier, line: RepeatedLine, now: Instant) -> bool {
        let mut kinds = self.0.lock();
        let text =
            BuildHasherDefault::<DefaultHasher>::default().hash_one((&line.message, &line.cause));
        let mut kind = LineKind { place, text };
        if kinds.len() >= KINDS_MAX && !kinds.contains_key(&kind) {
            kind.text = 0;
        }
        let most = if line.level == Level::INFO || line.is_state { NEWS } else { 1 };
        let said =
            kinds.entry(kind).or_insert(Occurrences { since: now, written: 0, counted: 0, line });
        let is_news = said.written < most;
        *(if is_news { &mut said.written } else { &mut said.counted }) += 1;
        is_news
    }

    /// The counts of windows that have ended. A kind that continues is then reported only by its
    /// count.
    fn due(&self, now: Instant) -> Vec<(RepeatedLine, u64)> {
        let mut due = Vec::new();
        self.0.lock().retain(|_, said| {
            if now.duration_since(said.since) < WINDOW {
                return true;
            }
            let times = std::mem::take(&mut said.counted);
            said.since = now;
            if times > 0 {
                due.push((said.line.clone(), times));
            }
            times > 0
        });
        due
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == module_path!() {
            return true;
        }
        let mut line = RepeatedLine {
            level: *metadata.level(),
            message: String::new(),
            cause: String::new(),
            is_state: false,
        };
        event.record(&mut line);
        self.is_news(metadata.callsite(), line, Instant::now())
    }
}

impl Visit for RepeatedLine {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "error" => &mut self.cause,
            "why" | "missing" => {
                self.is_state = true;
                &mut self.cause
            }
            _ => return,
        };
        // Writing into a `String` cannot fail.
        let _ = write!(text, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{layer::SubscriberExt, registry};

    use super::*;

    /// The lines that pass the filter.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let (message, cause) = (String::new(), String::new());
            let mut line = RepeatedLine { level: Level::INFO, message, cause, is_state: false };
            event.record(&mut line);
            self.0.lock().push(format!("{} {}", line.message, line.cause));
        }
    }

    /// Runs `say` and returns the written lines, and the counts that are due after the window.
    fn said(say: impl FnOnce()) -> (Vec<String>, Vec<(String, u64)>) {
        let (repeats, written) = (Repeats::default(), Written::default());
        let subscriber = registry().with(repeats.clone()).with(written.clone());
        tracing::subscriber::with_default(subscriber, say);
        let due = repeats.due(Instant::now() + WINDOW);
        let due = due.into_iter().map(|(line, times)| (line.cause, times)).collect();
        (written.0.lock().clone(), due)
    }

    #[test]
    fn a_fault_that_repeats_is_one_line_and_a_number_for_each_cause() {
        let (written, mut due) = said(|| {
            for turn in 0..300 {
                let error = if turn % 3 == 0 { "no memory" } else { "no disk" };
                warn!(%error, turn, "a heartbeat failed");
            }
            // At another place in the source.
            warn!(error = %"no disk", "a heartbeat failed");
        });
        due.sort();
        let failures = ["no memory", "no disk"].map(|error| format!("a heartbeat failed {error}"));
        assert_eq!(written, [&failures[..], &failures[1..]].concat());
        assert_eq!(due, [("no disk".to_owned(), 199), ("no memory".to_owned(), 99)]);
    }

    #[test]
    fn what_comes_and_goes_is_said_each_time_until_it_is_too_often() {
        let (written, due) = said(|| {
            for _ in 0..NEWS + 5 {
                warn!(why = %"refused", "redis is out of reach");
                info!("redis answers");
            }
            (0..50).for_each(|_| tracing::debug!("asked"));
        });
        assert_eq!(written.len() as u64, 2 * NEWS + 50);
        assert_eq!(due.iter().map(|(_, times)| times).sum::<u64>(), 10);
    }

    #[test]
    fn what_goes_on_is_a_number_a_minute_and_what_ended_is_forgotten() {
        let repeats = Repeats::default();
        let place = || {
            static PLACE: tracing::callsite::DefaultCallsite =
                tracing::callsite::DefaultCallsite::new(&META);
            static META: tracing::Metadata<'static> = tracing::metadata! {
                name: "", target: "", level: Level::WARN,
                fields: &[], callsite: &PLACE, kind: tracing::metadata::Kind::EVENT,
            };
            Identifier(&PLACE)
        };
        let begun = Instant::now();
        let say = |cause: &str, at: Duration| {
            let (message, cause) = ("failed".to_owned(), cause.to_owned());
            let line = RepeatedLine { level: Level::WARN, message, cause, is_state: false };
            repeats.is_news(place(), line, begun + at)
        };
        let due = |at: Duration| {
            repeats.due(begun + at).into_iter().map(|(_, times)| times).collect::<Vec<_>>()
        };
        assert!(say("full", Duration::ZERO) && !say("full", WINDOW / 2));
        assert_eq!(due(WINDOW / 2), [0; 0]);
        assert_eq!(due(WINDOW), [1]);
        assert!(!say("full", WINDOW + WINDOW / 2));
        assert_eq!((due(WINDOW * 2), due(WINDOW * 3)), (vec![1], vec![0; 0]));
        assert!(say("full", WINDOW * 3));
        for number in 0..2 * KINDS_MAX {
            say(&number.to_string(), WINDOW * 3);
        }
        assert_eq!(repeats.0.lock().len(), KINDS_MAX + 1);
    }
}
