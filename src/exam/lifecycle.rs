//! The life of a study: which event leads from which state to which, and what is to be done then.

use super::verdict::Outcome;
use serde::{Deserialize, Serialize};

/// Where a study is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Instances are coming.
    Receiving,
    /// None came for the quiet period.
    Settled,
    /// A verdict that asks for marked copies is there; the copies are not yet.
    Judged,
    /// A person must rule.
    Review,
    /// Done: copies are there, or none are due.
    Ready,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// An original instance was stored.
    Stored,
    /// The quiet period is over, or somebody said that the study is complete.
    Quiet,
    /// The study was assessed.
    Assessed(Outcome),
    /// All marked copies are stored.
    Rendered,
    /// A mark could not be burnt into one of the images.
    Unmarkable,
    /// A person ruled.
    Ruled(Outcome),
}

/// The event does not belong to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to a study that is {from:?}")]
pub struct Illegal {
    /// The state.
    pub from: State,
    /// The event.
    pub event: Event,
}

/// The state after an event.
///
/// # Errors
/// The event does not belong to the state.
pub fn step(from: State, event: Event) -> Result<State, Illegal> {
    let judged = |outcome| match outcome {
        Outcome::Accept => State::Judged,
        Outcome::Review => State::Review,
        Outcome::Reject => State::Ready,
    };
    match (from, event) {
        // A late image re-opens the study, whatever it was.
        (_, Event::Stored) => Ok(State::Receiving),
        (State::Receiving, Event::Quiet) => Ok(State::Settled),
        (State::Settled, Event::Assessed(outcome)) => Ok(judged(outcome)),
        (State::Judged, Event::Rendered) => Ok(State::Ready),
        (State::Judged, Event::Unmarkable) => Ok(State::Review),
        (State::Review | State::Ready, Event::Ruled(outcome)) => Ok(judged(outcome)),
        (from, event) => Err(Illegal { from, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_event_is_decided() {
        let states = [State::Receiving, State::Settled, State::Judged, State::Review, State::Ready];
        let outcomes = [Outcome::Accept, Outcome::Review, Outcome::Reject];
        let mut events = vec![Event::Stored, Event::Quiet, Event::Rendered, Event::Unmarkable];
        events.extend(outcomes.map(Event::Assessed));
        events.extend(outcomes.map(Event::Ruled));
        let mut legal = 0;
        for state in states {
            assert_eq!(step(state, Event::Stored), Ok(State::Receiving));
            for event in &events {
                legal += u32::from(step(state, *event).is_ok());
            }
        }
        // 5 stored, 1 quiet, 3 assessed, 1 rendered, 1 unmarkable, 2 × 3 ruled.
        assert_eq!(legal, 17);
        assert_eq!(step(State::Settled, Event::Assessed(Outcome::Review)), Ok(State::Review));
        assert!(step(State::Receiving, Event::Rendered).is_err());
    }
}
