//! A node in a process of its own, and what tests do to it.

use hutong::dicom::{tags, uids};
use hutong::dimse::storescu::{Answer, Outgoing, send};
use hutong::dimse::{AssociationError, Requested};
use hutong::phantom::{self, Image, Phantom, Study};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_hutong");

pub const REGISTER: &str = r#"
[[hospital]]
code = "T1"
name = "测试医院"
ae_titles = ["TESTSCU"]
[[hospital.assessment]]
round = "2026-1"
passed = true
valid_from = "2000-01-01"
valid_to = "2099-12-31"
"#;

/// The folder `../shared`, if it is there; with CI=true it must be.
pub fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "../shared must be there with CI=true");
    // Past the capture of the test harness: a run that looked at nothing must say so.
    let _ = writeln!(std::io::stderr(), "NOTE: ../shared is absent; a test over the real files looked at nothing");
    None
}

pub struct Node {
    child: Child,
    pub dicom: String,
    pub http: String,
    pub root: PathBuf,
}

impl Node {
    pub fn start(place: &Path, env: &[(&str, &str)]) -> Node {
        Node::try_start(place, env).expect("the node says where it listens")
    }

    /// None when the process ends before it is ready.
    pub fn try_start(place: &Path, env: &[(&str, &str)]) -> Option<Node> {
        let register = place.join("hospitals.toml");
        std::fs::write(&register, REGISTER).unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .arg("serve")
            .current_dir(place)
            .env("HUTONG_STORAGE__ROOT", place.join("storage"))
            .env("HUTONG_STORAGE__RESERVE_MIB", "64")
            .env("HUTONG_DIMSE__PORT", "0")
            .env("HUTONG_HTTP__PORT", "0")
            .env("HUTONG_STUDY__QUIET_PERIOD", "700ms")
            .env("HUTONG_EXCHANGE__REGISTER", &register)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::options().create(true).append(true).open(place.join("log")).unwrap());
        command.envs(env.iter().copied());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(dicom), Some(http)) = (words.get(1), words.last()) else {
            let _ = child.wait();
            return None;
        };
        Some(Node { dicom: (*dicom).into(), http: (*http).into(), root: place.join("storage"), child })
    }

    pub fn requested(&self) -> Requested {
        Requested::plain(&self.dicom, "HUTONG", "TESTSCU", Duration::from_secs(60))
    }

    /// Sends images; the answers that came before the connection ended.
    pub fn send<'a>(&self, images: impl IntoIterator<Item = &'a Image>) -> Vec<Answer> {
        self.try_send(images).0
    }

    pub fn try_send<'a>(&self, images: impl IntoIterator<Item = &'a Image>) -> (Vec<Answer>, Result<(), AssociationError>) {
        send_all(&self.requested(), images.into_iter().map(outgoing).collect())
    }

    pub fn get(&self, path: &str, accept: &str) -> reqwest::blocking::Response {
        let client = reqwest::blocking::Client::new();
        client.get(format!("{}{path}", self.http)).header("Accept", accept).send().unwrap()
    }

    /// Posts JSON: the status, and the answer.
    pub fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        let client = reqwest::blocking::Client::new();
        let answer = client.post(format!("{}{path}", self.http)).json(body).send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap_or_default())
    }

    pub fn json(&self, path: &str) -> Json {
        let answer = self.get(path, "application/dicom+json, application/json");
        let status = answer.status();
        let text = answer.text().unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        if text.is_empty() { Json::Array(vec![]) } else { serde_json::from_str(&text).unwrap() }
    }

    /// JSON, or null for what is not there.
    pub fn json_or_null(&self, path: &str) -> Json {
        let answer = self.get(path, "application/json");
        if answer.status().is_success() { answer.json().unwrap_or_default() } else { Json::Null }
    }

    /// Waits until a study is ready or waits for review; its state and verdict.
    pub fn judged(&self, study: &str) -> Json {
        let begun = Instant::now();
        loop {
            let answer = self.get(&format!("/api/v1/studies/{study}"), "application/json");
            if answer.status().is_success() {
                let json: Json = answer.json().unwrap();
                if matches!(json["state"].as_str(), Some("ready" | "review")) && json["verdict_is_current"] == true {
                    return json;
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "study {study} is not judged");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the process to end by itself.
    pub fn wait_for_end(mut self) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the node did not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGTERM; true when it ended with success.
    pub fn terminate(mut self) -> bool {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        self.child.wait().unwrap().success()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.parent().unwrap().join("log")).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of the phantom studies.
pub fn phantom_study(which: Phantom) -> Study {
    phantom::all().into_iter().find(|s| s.phantom == which).unwrap()
}

/// Sends objects; the answers that came before the connection ended, and how it ended.
pub fn send_all(to: &Requested, mut objects: Vec<Outgoing<'_>>) -> (Vec<Answer>, Result<(), AssociationError>) {
    let mut answers = Vec::new();
    let result = send(to, &mut objects, None, &mut |_: usize, answer: &Answer| {
        answers.push(answer.clone());
        true
    });
    (answers, result)
}

pub fn outgoing(image: &Image) -> Outgoing<'static> {
    let bytes = image.data_set_bytes();
    raw(image, bytes)
}

/// An object with other bytes than the image's own.
pub fn raw(image: &Image, bytes: Vec<u8>) -> Outgoing<'static> {
    Outgoing {
        sop_class: image.data_set.text(tags::SOP_CLASS_UID).unwrap(),
        sop_instance: image.sop_instance(),
        transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
        others: &[],
        open: Box::new(move |_| Ok(Box::new(Cursor::new(bytes.clone())) as Box<dyn Read>)),
    }
}

/// Runs the program to its end.
pub fn run(args: &[&str], root: &Path) -> (bool, String) {
    let output = Command::new(PROGRAM).args(args).env("HUTONG_STORAGE__ROOT", root).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}
