//! Writers to standard error and standard output that never block or fail: a thread of its own
//! writes the lines.
//!
//! With a full disk, a closed pipe or a pipe that nobody reads, log lines are lost and counted, but
//! nothing else happens.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;

/// Maximum bytes that wait to be written. Lines beyond it are lost.
const WAITING_MAX: usize = 256 << 10;

/// Accepts log lines; cheap to clone. Its thread ends with the last clone.
#[derive(Clone)]
pub struct LogWriter {
    words: Sender<Word>,
    /// Bytes that wait to be written.
    waiting: Arc<AtomicUsize>,
    lost: Counter,
}

enum Word {
    Line(Vec<u8>),
    /// A marker: all lines before it are written or lost.
    Flush(Sender<()>),
}

impl LogWriter {
    /// A writer to `output`. Lines that `output` does not accept are counted in `lost`.
    ///
    /// # Errors
    /// The system cannot create a thread.
    pub fn to(output: impl Write + Send + 'static, lost: Counter) -> io::Result<Self> {
        let (words, said) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer { output, torn: false, waiting: waiting.clone(), lost: lost.clone() };
        thread::Builder::new().name("lines".to_owned()).spawn(move || writer.run(said))?;
        Ok(Self { words, waiting, lost })
    }

    /// Writes a line, which includes its line break.
    pub fn say(&self, line: &[u8]) {
        let before = self.waiting.fetch_add(line.len(), Ordering::Relaxed);
        let has_room = before + line.len() <= WAITING_MAX;
        if !has_room || self.words.send(Word::Line(line.to_vec())).is_err() {
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.lost.inc();
        }
    }

    /// Waits until the lines so far are written, for at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let (done, written) = mpsc::channel();
        if self.words.send(Word::Flush(done)).is_ok() {
            // Lines that are not written by then are lost.
            let _ = written.recv_timeout(patience);
        }
    }
}

/// Each call writes one event, which is one line.
impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Writer<W> {
    output: W,
    /// Whether the last line was written only in part, so that the next one would continue it.
    torn: bool,
    waiting: Arc<AtomicUsize>,
    lost: Counter,
}

impl<W: Write> Writer<W> {
    fn run(mut self, said: Receiver<Word>) {
        for word in said {
            match word {
                Word::Line(line) => {
                    if self.write(&line).is_err() {
                        self.lost.inc();
                    }
                    self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                }
                Word::Flush(done) => {
                    // The caller may have given up.
                    let _ = done.send(());
                }
            }
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_some(b"\n")?;
        }
        self.write_some(line)?;
        self.output.flush()
    }

    fn write_some(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.output.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::SyncSender, time::Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Fails as its list says, then accepts three bytes of each write.
    #[derive(Default)]
    struct Disk {
        /// The results of the next writes, last one first.
        answers: Vec<Result<usize, io::ErrorKind>>,
        holds: Arc<parking_lot::Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.answers.pop().unwrap_or(Ok(3))?.min(bytes.len());
            self.holds.lock().extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_later_ones_are_whole() {
        let full = Err(io::ErrorKind::StorageFull);
        let interrupted = Err(io::ErrorKind::Interrupted);
        // The first line does not fit, the second in part, the third does.
        let disk = Disk { answers: vec![interrupted, full, Ok(2), full], ..Default::default() };
        let (holds, lost) = (disk.holds.clone(), Counter::default());
        let lines = LogWriter::to(disk, lost.clone()).unwrap();
        for line in ["first\n", "second\n", "third\n"] {
            lines.say(line.as_bytes());
        }
        lines.flush(PATIENCE);
        assert_eq!(String::from_utf8(holds.lock().clone()).unwrap(), "se\nthird\n");
        assert_eq!(lost.get(), 2);
    }

    /// A pipe that nobody reads until something is sent to it.
    struct Pipe(Receiver<()>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read() {
        let (reader, unread): (SyncSender<()>, _) = mpsc::sync_channel(0);
        let lost = Counter::default();
        let lines = LogWriter::to(Pipe(unread), lost.clone()).unwrap();
        let line = [b'x'; 1024];
        let (before, many) = (Instant::now(), 3 * WAITING_MAX / line.len());
        (0..many).for_each(|_| lines.say(&line));
        lines.flush(Duration::from_millis(10));
        assert!(before.elapsed() < PATIENCE);
        assert_eq!(lost.get(), 2 * (many as u64) / 3, "what waits is bounded");
        drop(reader);
        lines.flush(PATIENCE);
        assert_eq!(lost.get(), many as u64);
    }
}
