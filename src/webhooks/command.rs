//! `linkroom webhooks`: what an operator can do with events that could not be delivered.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    background::Background,
    message::timestamp,
    metrics::Metrics,
    redis::{
        Condition, Redis,
        scripts::{DeadLetter, Scripts},
    },
    settings::Settings,
};

/// The argument that selects this command instead of a node.
pub const ARGUMENT: &str = "webhooks";

/// How long Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lists events that could not be delivered, has them tried again, or discards them.
///
/// Reads REDIS_URL and the other settings from the environment, as a node does.
#[derive(Debug, Parser)]
#[command(name = "linkroom webhooks", max_term_width = 100)]
struct Options {
    #[command(subcommand)]
    wish: Wish,
}

#[derive(Debug, Subcommand)]
enum Wish {
    /// Print a line for each, oldest first: webhook-id, type, room, time, tries, reason; tabs between them
    List,
    /// Have them tried again, behind what waits in their rooms
    Replay(Chosen),
    /// Forget them
    Discard(Chosen),
}

#[derive(Args, Debug)]
#[group(required = true)]
struct Chosen {
    /// Their webhook-ids
    ids: Vec<String>,
    /// All there are
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// Runs it with these arguments.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("linkroom webhooks");
    let options = match Options::try_parse_from(std::iter::once(name).chain(args)) {
        Ok(options) => options,
        Err(error) => error.exit(),
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> anyhow::Result<()> {
    let settings = Arc::new(Settings::from_environment()?);
    Runtime::new()?.block_on(async {
        let background = Background::new();
        let scripts = connect(settings, &background).await?;
        let done = obey(&scripts, options.wish).await;
        background.stop.cancel();
        done
    })
}

async fn connect(settings: Arc<Settings>, background: &Background) -> anyhow::Result<Scripts> {
    let metrics = Arc::new(Metrics::new());
    let redis = Redis::start(settings.redis_url(), "webhooks", &settings, metrics, background)?;
    let mut conditions = redis.conditions();
    let serves = conditions.wait_for(|condition| *condition == Condition::Serves);
    if timeout(PATIENCE, serves).await.is_err() {
        match redis.condition() {
            Condition::Away(why) => bail!("redis is out of reach: {why}"),
            Condition::Refuses(why) => bail!("redis refuses to write: {why}"),
            Condition::Lacks(missing) => bail!("redis does not allow what is needed: {missing}"),
            Condition::Serves => {}
        }
    }
    Ok(Scripts::new(redis, settings))
}

async fn obey(scripts: &Scripts, wish: Wish) -> anyhow::Result<()> {
    let letters = read_all(scripts).await?;
    match wish {
        Wish::List => {
            let mut out = io::stdout().lock();
            for letter in &letters {
                writeln!(out, "{}", line(letter)).context("standard output")?;
            }
            Ok(())
        }
        Wish::Replay(chosen) => move_letters(scripts, letters, chosen, true).await,
        Wish::Discard(chosen) => move_letters(scripts, letters, chosen, false).await,
    }
}

async fn read_all(scripts: &Scripts) -> anyhow::Result<Vec<DeadLetter>> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    loop {
        let after = letters.last().map(|letter| letter.entry.clone());
        let page = scripts.read_letters(after.as_deref()).await?;
        if page.is_empty() {
            return Ok(letters);
        }
        letters.extend(page);
    }
}

/// Moves the chosen dead letters, oldest first.
async fn move_letters(
    scripts: &Scripts,
    letters: Vec<DeadLetter>,
    chosen: Chosen,
    replay: bool,
) -> anyhow::Result<()> {
    let mut wanted: BTreeSet<String> = chosen.ids.into_iter().collect();
    let mut count = 0;
    for letter in letters {
        if (wanted.remove(&letter.id) || chosen.all) && scripts.move_letter(&letter, replay).await?
        {
            count += 1;
        }
    }
    let done = if replay { "to be tried again" } else { "discarded" };
    writeln!(io::stdout(), "{count} {done}").context("standard output")?;
    match wanted.first() {
        Some(id) => bail!("no dead letter has the webhook-id {id}"),
        None => Ok(()),
    }
}

fn line(letter: &DeadLetter) -> String {
    let at = timestamp(letter.at_ms);
    let DeadLetter { id, kind, room, tries, reason, .. } = letter;
    format!("{id}\t{kind}\t{room}\t{at}\t{tries}\t{reason}")
}
