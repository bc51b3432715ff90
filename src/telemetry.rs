//! Logging: to standard error, as text for people or JSON for machines.
//!
//! Standard output has only one line, the address that the node listens on.

mod repeats;

use std::{
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
};

use anyhow::{Context, ensure};
use tracing::error;
use tracing_subscriber::{
    EnvFilter, Layer, filter::LevelFilter, fmt, layer::SubscriberExt, registry,
    util::SubscriberInitExt,
};

use crate::{
    log_writer::LogWriter,
    settings::{LogFormat, Settings},
};
use repeats::{LOOK_EVERY, Repeats};

/// Crates that would log texts of users. The module `redis` logs what these crates report about
/// Redis. Naming them in `LOG_LEVEL` overrides this.
const FRAME_LOGGERS: &str = "fred=error";

/// Starts logging to `lines`, panics included. Must be called in a tokio runtime.
///
/// # Errors
/// `LOG_LEVEL` cannot be read, or logging was started before.
pub fn init(settings: &Settings, lines: LogWriter) -> anyhow::Result<()> {
    let filter = filter(&settings.log_level)?;
    let repeats = Repeats::default();
    // Lines that cannot be written are lost; there is nowhere to report it.
    let layer = fmt::layer().log_internal_errors(false).with_writer(move || lines.clone());
    let layer = match settings.log_format {
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let started = registry().with(layer).with(filter).with(repeats.clone()).try_init();
    started.map_err(|error| anyhow::anyhow!("logging could not start: {error}"))?;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            repeats.tell();
        }
    });
    panic::set_hook(Box::new(note_panic));
    Ok(())
}

/// Logs a panic as one line, without waiting for the reader of standard error. A message that was
/// formatted at run time may contain a user's text, so only its location is logged.
fn note_panic(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let what = panic.payload().downcast_ref::<&str>().copied().unwrap_or_default();
    error!(at, what, "a task panicked");
}

/// A level, or directives separated by commas.
///
/// A word that is not a level would be taken for a module's name and silence everything else, so a
/// typo such as `inof` is an error.
fn filter(wanted: &str) -> anyhow::Result<EnvFilter> {
    for directive in wanted.split(',').map(str::trim) {
        ensure!(
            directive.contains('=') || is_level(directive),
            "LOG_LEVEL: {directive:?} is neither a level (off, error, warn, info, debug, trace) \
             nor a directive such as linkroom=debug"
        );
    }
    let plain: String = wanted.split_whitespace().collect();
    // Below `info`, the WebSocket layer logs whole frames, tokens included.
    EnvFilter::builder()
        .parse(format!("{FRAME_LOGGERS},{plain}"))
        .with_context(|| format!("LOG_LEVEL: cannot read {wanted:?}"))
}

fn is_level(word: &str) -> bool {
    !word.is_empty() && word.parse::<LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn levels_and_directives() {
        for good in ["info", "OFF", "linkroom=debug,fred=warn", "warn, linkroom=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["", "inof", "linkroom", "linkroom=loud", "info,"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
