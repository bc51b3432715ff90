//! Where log lines go and how they look: stderr, as text for people or JSON for machines.
//!
//! Standard output belongs to the one line that says where the service listens.

use std::io::{self, IsTerminal};

use anyhow::{Context, ensure};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};

use crate::settings::{LogFormat, Settings};

/// Crates that would log what people say. Naming them in `LOG_LEVEL` overrides this.
const FRAME_LOGGERS: &str = "fred=info";

/// Starts logging.
///
/// # Errors
/// `LOG_LEVEL` cannot be read, or logging was started before.
pub fn init(settings: &Settings) -> anyhow::Result<()> {
    let filter = filter(&settings.log_level)?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match settings.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging could not start: {error}"))
}

/// A level, or directives separated by commas.
///
/// A bare word that is no level would be taken for a module's name and silence everything else,
/// so a slip such as `inof` is refused here.
fn filter(wanted: &str) -> anyhow::Result<EnvFilter> {
    for directive in wanted.split(',').map(str::trim) {
        ensure!(
            directive.contains('=') || is_level(directive),
            "LOG_LEVEL: {directive:?} is neither a level (off, error, warn, info, debug, trace) \
             nor a directive such as linkroom=debug"
        );
    }
    let plain: String = wanted.split_whitespace().collect();
    // Below info, the WebSocket layer logs whole frames, tokens included.
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
