//! Forwarding (转发): which studies go to which peers, and how far each has come.

use super::{MOST_ATTEMPTS, back_off};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which objects of a study go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Copies {
    /// As they came.
    #[default]
    Originals,
    /// The marked copies that the verdict recognises.
    Marked,
    /// Both.
    Both,
}

/// A rule: `[[forward]]`. What is left empty fits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Its name; it must be the only one of that name.
    pub name: String,
    /// AE titles of the peers that get the objects.
    pub to: Vec<String>,
    /// Verdicts: `accept`, `review`, `reject`.
    pub outcomes: BTreeSet<String>,
    /// Numbers of accepted items, one of which must be there.
    pub items: BTreeSet<u32>,
    /// Modalities, one of which must be in the study.
    pub modalities: BTreeSet<String>,
    /// AE titles of senders, one of which must have sent part of the study.
    pub sources: BTreeSet<String>,
    /// What goes out.
    pub send: Copies,
}

/// What a rule looks at.
#[derive(Debug, Clone, Default)]
pub struct Trigger {
    /// `accept`, `review` or `reject`.
    pub outcome: String,
    /// Accepted items.
    pub items: BTreeSet<u32>,
    /// Modalities in the study.
    pub modalities: BTreeSet<String>,
    /// AE titles of its senders.
    pub sources: BTreeSet<String>,
}

impl Rule {
    /// What is wrong with it.
    ///
    /// # Errors
    /// The field, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        let known = |o: &String| matches!(o.as_str(), "accept" | "review" | "reject");
        match () {
            () if self.name.is_empty() => Err("a [[forward]] rule needs a name".into()),
            () if self.to.is_empty() => Err(format!("forward {}: to names no peer", self.name)),
            () if !self.outcomes.iter().all(known) => {
                Err(format!("forward {}: outcomes are accept, review, reject", self.name))
            }
            () => Ok(()),
        }
    }

    /// Whether a study is for it.
    pub fn fits(&self, study: &Trigger) -> bool {
        fn one_of<T: Ord>(wanted: &BTreeSet<T>, there: &BTreeSet<T>) -> bool {
            wanted.is_empty() || !wanted.is_disjoint(there)
        }
        (self.outcomes.is_empty() || self.outcomes.contains(&study.outcome))
            && one_of(&self.items, &study.items)
            && one_of(&self.modalities, &study.modalities)
            && one_of(&self.sources, &study.sources)
    }
}

/// How far a task is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum Stage {
    /// To be sent when it is due.
    #[default]
    Waiting,
    /// On its way.
    Sending,
    /// Sent; the peer was asked to commit.
    Committing {
        /// Transaction UID.
        transaction: String,
    },
    /// The peer has all of it, and has committed it where it does that.
    Done,
    /// Given up; a person must look.
    Dead,
}

/// Objects of a study for a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Its name: rule, peer, study; a new revision of the study takes the place of the old one.
    pub id: String,
    /// The rule, or who asked for it.
    pub rule: String,
    /// The peer.
    pub to: String,
    /// The study.
    pub study: String,
    /// The revision of it that was judged.
    pub revision: u64,
    /// Which objects.
    pub send: Copies,
    /// How far it is.
    #[serde(flatten)]
    pub stage: Stage,
    /// Tells it from one of the same name that takes its place.
    #[serde(skip)]
    pub generation: u64,
    /// What it was before it began to be sent.
    #[serde(skip)]
    pub before: Stage,
    /// Instances that the peer has: they are not sent again.
    pub sent: BTreeSet<String>,
    /// Not before, milliseconds since 1970.
    pub due_ms: i64,
    /// When it was put in.
    pub created_ms: i64,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// How often the peer was asked to commit since it last answered.
    #[serde(default)]
    pub asked: u32,
}

/// Requests for storage commitment that a peer may leave without an answer.
const MOST_ASKED: u32 = 24;
/// Longest wait for a result of storage commitment before it is asked for again, milliseconds.
const COMMIT_WAIT_MS: i64 = 3_600_000;

impl Forward {
    /// A new task, due at once.
    pub fn new(rule: &str, to: &str, study: &str, revision: u64, send: Copies, now_ms: i64) -> Forward {
        Forward {
            id: format!("{rule}-{to}-{study}-{}", format!("{send:?}").to_lowercase()),
            generation: 0,
            rule: rule.into(),
            to: to.into(),
            study: study.into(),
            revision,
            send,
            stage: Stage::Waiting,
            before: Stage::Waiting,
            sent: BTreeSet::new(),
            due_ms: now_ms,
            created_ms: now_ms,
            attempts: 0,
            last_error: None,
            asked: 0,
        }
    }

    /// As it goes on after a restart.
    pub(super) fn resumed(mut self) -> Forward {
        if self.stage == Stage::Sending {
            self.stage = Stage::Waiting;
        }
        self
    }

    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Committing { .. }) && self.due_ms <= now_ms
    }

    /// An attempt failed.
    pub fn failed(&mut self, why: &str, now_ms: i64) {
        self.attempts += 1;
        self.last_error = Some(why.to_string());
        self.due_ms = now_ms.saturating_add(back_off(self.attempts));
        self.stage = if self.attempts >= MOST_ATTEMPTS { Stage::Dead } else { Stage::Waiting };
    }

    /// Trying again will not help.
    pub fn give_up(&mut self, why: &str) {
        self.last_error = Some(why.to_string());
        self.stage = Stage::Dead;
    }

    /// All was sent, and the peer was asked to commit it.
    pub fn commits(&mut self, transaction: &str, now_ms: i64) {
        self.asked += 1;
        if self.asked > MOST_ASKED {
            return self
                .give_up(&format!("all was sent, but the peer has not answered {MOST_ASKED} requests for storage commitment"));
        }
        self.stage = Stage::Committing { transaction: transaction.into() };
        self.due_ms = now_ms.saturating_add(COMMIT_WAIT_MS);
    }

    /// The peer's answer to that: instances that it does not say to keep are sent again.
    pub(super) fn committed(&mut self, kept: &BTreeSet<String>, now_ms: i64) {
        self.asked = 0;
        let sent = self.sent.len();
        self.sent.retain(|uid| kept.contains(uid));
        let lost = sent - self.sent.len();
        if lost == 0 {
            self.stage = Stage::Done;
        } else {
            self.failed(&format!("the peer has not committed {lost} instances"), now_ms);
        }
    }

    /// A person wants it tried again.
    pub fn retry(&mut self, now_ms: i64) {
        if self.stage != Stage::Sending {
            *self = Forward { stage: Stage::Waiting, attempts: 0, asked: 0, due_ms: now_ms, ..self.clone() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outbox;
    use super::*;

    fn rule(toml: &str) -> Rule {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn a_rule_fits_by_everything_that_it_names() {
        let study = Trigger {
            outcome: "accept".into(),
            items: [34].into(),
            modalities: ["CT".to_string(), "SR".into()].into(),
            sources: ["CT1".to_string()].into(),
        };
        assert!(rule("name = \"all\"\nto = [\"A\"]").fits(&study));
        assert!(rule("outcomes = [\"accept\"]\nitems = [2, 34]\nmodalities = [\"CT\"]\nsources = [\"CT1\"]").fits(&study));
        for other in ["outcomes = [\"review\"]", "items = [2]", "modalities = [\"MR\"]", "sources = [\"CT2\"]"] {
            assert!(!rule(other).fits(&study), "{other}");
        }
        assert!(rule("name = \"x\"").check().is_err() && rule("to = [\"A\"]").check().is_err());
        assert!(rule("name = \"x\"\nto = [\"A\"]\noutcomes = [\"perhaps\"]").check().is_err());
    }

    #[test]
    fn a_peer_that_never_answers_is_not_asked_for_ever() {
        let mut task = Forward::new("r", "PACS", "1.2", 1, Copies::Originals, 0);
        (0..MOST_ASKED).for_each(|_| task.commits("9.9", 0));
        assert!(matches!(task.stage, Stage::Committing { .. }));
        task.commits("9.9", 0);
        assert!(task.stage == Stage::Dead && task.last_error.as_ref().is_some_and(|e| e.contains("24")));
        task.retry(1);
        task.commits("9.9", 1);
        assert!(matches!(task.stage, Stage::Committing { .. }));
    }

    fn keeps(uids: &[&str]) -> BTreeSet<String> {
        uids.iter().map(|u| (*u).to_string()).collect()
    }

    #[test]
    fn a_task_is_done_when_the_peer_has_committed_all_of_it_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path()).unwrap();
        outbox.add(Forward::new("r", "PACS", "1.2", 1, Copies::Originals, 5)).unwrap();
        let room = |_: &str, busy: usize| busy < 1;
        let task = outbox.next(5, room).unwrap();
        assert!(outbox.next(5, room).is_none(), "it is under way");
        outbox
            .update(&task.id, |f| {
                f.sent.extend(["1".to_string(), "2".into()]);
                f.commits("9.9", 5);
            })
            .unwrap();
        // The process ends here.
        let outbox = Outbox::open(folder.path()).unwrap();
        assert!(outbox.next(5, room).is_none() && !outbox.committed("PACS", "9.8", &keeps(&["1", "2"]), 6).unwrap());
        assert!(!outbox.committed("OTHER", "9.9", &keeps(&["1", "2"]), 6).unwrap(), "only the peer that was asked may say so");
        assert!(outbox.committed("PACS", "9.9", &keeps(&["1"]), 6).unwrap());
        let task = &outbox.forwards()[0];
        assert_eq!((&task.stage, task.sent.len(), task.attempts), (&Stage::Waiting, 1, 1));
        let task = outbox.next(task.due_ms, room).unwrap();
        let all = |f: &mut Forward| {
            f.sent.insert("2".into());
            f.commits("9.7", 9);
        };
        outbox.update(&task.id, all).unwrap();
        assert!(outbox.committed("PACS", "9.7", &keeps(&[]), 9).unwrap());
        assert_eq!(outbox.forwards()[0].stage, Stage::Waiting, "a result that names nothing confirms nothing");
        let again = |f: &mut Forward| {
            f.sent.extend(["1".to_string(), "2".into()]);
            f.commits("9.6", 9);
        };
        outbox.update(&task.id, again).unwrap();
        assert!(outbox.committed("PACS", "9.6", &keeps(&["1", "2"]), 9).unwrap());
        assert!(outbox.forwards().is_empty() && Outbox::open(folder.path()).unwrap().forwards().is_empty());
    }

    #[test]
    fn after_a_week_of_failures_a_person_must_look() {
        let mut task = Forward::new("r", "PACS", "1.2", 1, Copies::Marked, 0);
        let (mut now, mut attempts) = (0, 0);
        while task.stage == Stage::Waiting {
            task.failed("no answer", now);
            (now, attempts) = (task.due_ms, attempts + 1);
            assert!(attempts < 1_000);
        }
        assert!(task.stage == Stage::Dead && (6..9).contains(&(now / 86_400_000)), "{now}");
        task.retry(now);
        assert!(task.is_due(now) && task.attempts == 0);
    }
}
