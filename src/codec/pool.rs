//! The node's side: a few worker processes, each given one frame at a time and killed when it takes too long.

use super::protocol::{Request, Response, Task, receive, send};
use super::{DecodeError, Frame};
use crate::dicom::image::Layout;
use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What a worker may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Processes; at least 1.
    pub workers: usize,
    /// Address space of each, MiB.
    pub memory_mib: u64,
    /// Time for one frame.
    pub time: Duration,
}

/// See the module.
pub struct Pool {
    program: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    freed: Condvar,
    watched: Arc<Mutex<Vec<Watched>>>,
}

#[derive(Default)]
struct State {
    idle: Vec<Worker>,
    busy: usize,
}

struct Worker {
    child: Arc<Mutex<Child>>,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

struct Watched {
    until: Instant,
    child: Weak<Mutex<Child>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Pool {
    /// A pool whose workers are `program decode-worker`. None is started before it is needed.
    pub fn new(program: PathBuf, limits: Limits) -> Pool {
        let watched: Arc<Mutex<Vec<Watched>>> = Arc::default();
        let list = Arc::downgrade(&watched);
        std::thread::spawn(move || watch(&list));
        Pool { program, limits, state: Mutex::default(), freed: Condvar::new(), watched }
    }

    /// Decodes one frame from its fragments. Waits for a free worker.
    ///
    /// # Errors
    /// Why the frame cannot be had.
    pub fn decode(&self, layout: &Layout, transfer_syntax: &str, fragments: &[Vec<u8>]) -> Result<Frame, DecodeError> {
        self.ask(Task::Decode, layout, transfer_syntax, fragments)
    }

    /// Encodes a frame without loss, as one fragment. Waits for a free worker.
    ///
    /// # Errors
    /// The transfer syntax is not written here, or cannot hold such samples.
    pub fn encode(&self, frame: &Frame, transfer_syntax: &str) -> Result<Vec<u8>, DecodeError> {
        Ok(self.ask(Task::Encode, &frame.layout, transfer_syntax, std::slice::from_ref(&frame.bytes))?.bytes)
    }

    fn ask(&self, task: Task, layout: &Layout, transfer_syntax: &str, parts: &[Vec<u8>]) -> Result<Frame, DecodeError> {
        match self.ask_once(task, layout, transfer_syntax, parts) {
            // The worker may have died of what came before, or of the system's want of memory: this frame gets a second one.
            Err(DecodeError::Stopped(_)) => self.ask_once(task, layout, transfer_syntax, parts),
            other => other,
        }
    }

    fn ask_once(&self, task: Task, layout: &Layout, transfer_syntax: &str, parts: &[Vec<u8>]) -> Result<Frame, DecodeError> {
        let mut worker = self.take()?;
        let request = Request {
            task,
            layout: Layout { frames: 1, ..layout.clone() },
            transfer_syntax: transfer_syntax.into(),
            fragments: parts.iter().map(Vec::len).collect(),
        };
        let until = Instant::now() + self.limits.time;
        self.lock_watched().push(Watched { until, child: Arc::downgrade(&worker.child) });
        let answer = send(&mut worker.input, &request, &parts.concat())
            .and_then(|()| receive::<Response>(&mut worker.output, layout.frame_samples() * 8 + 64));
        self.lock_watched().retain(|w| !w.child.ptr_eq(&Arc::downgrade(&worker.child)));
        match answer {
            Ok((response, bytes)) => {
                self.give_back(Some(worker));
                response.into_result().map(|layout| Frame { layout, bytes })
            }
            Err(_) => {
                let why = if Instant::now() >= until {
                    format!("no result after {} s", self.limits.time.as_secs())
                } else {
                    "it died, most likely over its memory limit or on damaged data".to_string()
                };
                drop(worker);
                self.give_back(None);
                metrics::counter!("hutong_decoder_deaths_total").increment(1);
                Err(DecodeError::Stopped(why))
            }
        }
    }

    fn take(&self) -> Result<Worker, DecodeError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.idle.is_empty() && state.busy >= self.limits.workers.max(1) {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy += 1;
        if let Some(worker) = state.idle.pop() {
            return Ok(worker);
        }
        drop(state);
        self.spawn().inspect_err(|_| self.give_back(None))
    }

    fn give_back(&self, worker: Option<Worker>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.busy = state.busy.saturating_sub(1);
        state.idle.extend(worker);
        self.freed.notify_one();
    }

    fn spawn(&self) -> Result<Worker, DecodeError> {
        let failed = |e: std::io::Error| DecodeError::NoWorker(e.to_string());
        let mut child = Command::new(&self.program)
            .arg("decode-worker")
            .arg(self.limits.memory_mib.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Worker {
                child: Arc::new(Mutex::new(child)),
                input: BufWriter::with_capacity(1 << 16, input),
                output: BufReader::with_capacity(1 << 16, output),
            }),
            _ => Err(DecodeError::NoWorker("its pipes are missing".into())),
        }
    }

    fn lock_watched(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills workers that are over their time, until the pool is gone.
fn watch(list: &Weak<Mutex<Vec<Watched>>>) {
    while let Some(list) = list.upgrade() {
        let now = Instant::now();
        for watched in list.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|w| w.until <= now) {
            if let Some(child) = watched.child.upgrade() {
                let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
            }
        }
        drop(list);
        std::thread::sleep(Duration::from_millis(100));
    }
}
