//! C-STORE as SCU: sends objects as they are where the peer takes that, else in another transfer syntax that both can, over as many
//! associations as their SOP classes and transfer syntaxes need.

use super::{Association, AssociationError, Command, Context, Field, Incoming, Proposal, Requested, connect};
use std::io::Read;

/// Opens a data set in a transfer syntax.
pub type Open<'a> = Box<dyn FnMut(&str) -> Result<Box<dyn Read + 'a>, String> + Send + 'a>;

/// An object to send.
pub struct Outgoing<'a> {
    /// SOP class.
    pub sop_class: String,
    /// SOP Instance UID.
    pub sop_instance: String,
    /// Its transfer syntax.
    pub transfer_syntax: String,
    /// What else it can be opened in, preferred first; each group is offered in a presentation context of its own.
    pub others: &'static [&'static [&'static str]],
    /// Opens its data set.
    pub open: Open<'a>,
}

/// What the peer said to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Success.
    Stored,
    /// Stored with a warning status (Bxxx).
    Warning(u16, Option<String>),
    /// Refused with a status.
    Refused(u16, Option<String>),
    /// The peer takes no presentation context for it, in its own transfer syntax or another that it can be written in: SOP class and that.
    NoContext(String),
    /// It could not be read here.
    Unreadable(String),
    /// Whoever asked for it took no SCP role for its class (PS3.7 D.3.3.4).
    NoRole(String),
    /// The association broke over it.
    Broken(String),
}

impl Answer {
    /// Whether the peer keeps it.
    pub fn is_kept(&self) -> bool {
        matches!(self, Answer::Stored | Answer::Warning(..))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = |code: &u16, comment: &Option<String>| format!("status {code:04X}H {}", comment.as_deref().unwrap_or(""));
        match self {
            Answer::Stored => f.write_str("stored"),
            Answer::Warning(code, comment) => write!(f, "stored with a warning: {}", status(code, comment)),
            Answer::Refused(code, comment) => write!(f, "refused: {}", status(code, comment)),
            // 64 characters go into an Error Comment: class and syntax come first.
            Answer::NoContext(of) => write!(f, "no context: {of}, nor in another syntax"),
            Answer::Unreadable(why) => write!(f, "it cannot be sent: {why}"),
            Answer::NoRole(class) => write!(f, "no SCP role was agreed on: {class}"),
            Answer::Broken(why) => write!(f, "not stored: {why}"),
        }
    }
}

/// On whose behalf objects are sent: the AE title that asked for them by C-MOVE, and its message.
pub type Originator<'a> = Option<(&'a str, u16)>;

/// Who hears how sending goes.
pub trait Hearer {
    /// The peer has answered to an object, counted from 0; false ends the sending.
    fn answered(&mut self, number: usize, answer: &Answer) -> bool;
    /// The peer has not answered yet; false gives it up.
    fn waiting(&mut self) -> bool {
        true
    }
}

impl<F: FnMut(usize, &Answer) -> bool> Hearer for F {
    fn answered(&mut self, number: usize, answer: &Answer) -> bool {
        self(number, answer)
    }
}

/// How often somebody is heard while the peer has not answered.
const HEARD: std::time::Duration = std::time::Duration::from_secs(1);

/// Objects in a row over which an association may break: a peer that takes offence at one may well take the next.
const BREAKS: usize = 3;

/// Sends all objects in order; `report` hears of each. Where an association breaks over an object, the rest goes over a new one.
///
/// # Errors
/// No association, a peer that is silent, or associations that break over one object after another.
pub fn send(
    to: &Requested,
    objects: &mut [Outgoing<'_>],
    originator: Originator<'_>,
    report: &mut dyn Hearer,
) -> Result<(), AssociationError> {
    let (mut start, mut breaks) = (0, 0);
    'associations: while start < objects.len() {
        let (proposals, end) = proposals_from(objects, start);
        let mut association = connect(&Requested { proposals, ..to.clone() })?;
        for (number, object) in objects.iter_mut().enumerate().take(end).skip(start) {
            let message_id = u16::try_from(number % 65_535).unwrap_or(0) + 1;
            let waiting = &mut || report.waiting();
            let answer = match store(&mut association, object, message_id, originator, &mut |_| false, waiting) {
                Ok(answer) => answer,
                Err(e) => {
                    breaks += 1;
                    let over = matches!(e, AssociationError::Timeout | AssociationError::GivenUp) || association.is_stopping();
                    if over || breaks == BREAKS || !report.answered(number, &Answer::Broken(e.to_string())) {
                        return Err(e);
                    }
                    start = number + 1;
                    continue 'associations;
                }
            };
            breaks = 0;
            if !report.answered(number, &answer) {
                association.leave();
                return Ok(());
            }
        }
        association.leave();
        start = end;
    }
    Ok(())
}

/// Stores one object over an association in which we may send. `other` hears of a command that comes in place of the answer, and
/// says whether it may; `waiting` is heard while no answer has come, and may give the peer up.
///
/// # Errors
/// The association broke.
pub fn store(
    association: &mut Association,
    object: &mut Outgoing<'_>,
    message_id: u16,
    originator: Originator<'_>,
    other: &mut dyn FnMut(&Command) -> bool,
    waiting: &mut dyn FnMut() -> bool,
) -> Result<Answer, AssociationError> {
    let contexts = contexts_for(&association.contexts, &|context| association.may_ask(context), object);
    if contexts.is_empty() && !contexts_for(&association.contexts, &|_| true, object).is_empty() {
        return Ok(Answer::NoRole(object.sop_class.clone()));
    }
    if contexts.is_empty() {
        return Ok(Answer::NoContext(format!("{} {}", object.sop_class, object.transfer_syntax)));
    }
    let mut opened = Err(String::new());
    let mut agreed = None;
    // What cannot be written in the first that both can may be in the next.
    for context in contexts {
        opened = (object.open)(&context.transfer_syntax);
        agreed = Some(context);
        if opened.is_ok() {
            break;
        }
    }
    let (mut data, context) = match (opened, agreed) {
        (Ok(data), Some(context)) => (data, context),
        (Err(why), _) => return Ok(Answer::Unreadable(why)),
        (Ok(_), None) => return Ok(Answer::NoContext(format!("{} {}", object.sop_class, object.transfer_syntax))),
    };
    let mut request = Command::store_request(message_id, &object.sop_class, &object.sop_instance);
    if let Some((aet, message)) = originator {
        request = request.moved_for(aet, message);
    }
    association.send_with_data(context.id, &request, &mut data)?;
    loop {
        let answer = match association.receive_while(HEARD, waiting)? {
            Incoming::Message(_, answer) => answer,
            Incoming::Released | Incoming::Stopping => return Err(AssociationError::Closed),
        };
        if !matches!(answer.field(), Field::Response(_)) {
            if other(&answer) {
                continue;
            }
            association.abort();
            return Err(AssociationError::Protocol("a request in place of the answer to C-STORE-RQ".into()));
        }
        let comment = answer.comment();
        return Ok(match answer.status() {
            Some(0) => Answer::Stored,
            Some(status) if status >> 12 == 0xB => Answer::Warning(status, comment),
            status => Answer::Refused(status.unwrap_or(0xFFFF), comment),
        });
    }
}

/// The contexts in which an object can go out: as it is stored, else in the others that were agreed on, in order.
fn contexts_for(contexts: &[Context], may: &dyn Fn(&Context) -> bool, object: &Outgoing<'_>) -> Vec<Context> {
    let agreed = |syntax: &str| {
        let fits = |c: &&Context| c.abstract_syntax == object.sop_class && c.transfer_syntax == syntax && may(c);
        contexts.iter().find(fits).cloned()
    };
    let others = object.others.iter().copied().flatten().filter_map(|syntax| agreed(syntax));
    agreed(&object.transfer_syntax).into_iter().chain(others).collect()
}

/// Presentation contexts for the objects from `start` on, as many as one association can hold: one for each class and transfer
/// syntax, and one for each class with what its objects can be turned into.
fn proposals_from(objects: &[Outgoing<'_>], start: usize) -> (Vec<Proposal>, usize) {
    let mut proposals: Vec<Proposal> = Vec::new();
    for (number, object) in objects.iter().enumerate().skip(start) {
        let stored = Proposal::new(&object.sop_class, &[&object.transfer_syntax]);
        let others = object.others.iter().map(|group| Proposal::new(&object.sop_class, group));
        let new: Vec<Proposal> = std::iter::once(stored).chain(others).filter(|p| !proposals.contains(p)).collect();
        if proposals.len() + new.len() > 128 {
            return (proposals, number);
        }
        proposals.extend(new);
    }
    (proposals, objects.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(class: usize, syntax: &str) -> Outgoing<'static> {
        Outgoing {
            sop_class: format!("1.2.{class}"),
            sop_instance: "1.2.3".into(),
            transfer_syntax: syntax.into(),
            others: &[&["explicit", "implicit"]],
            open: Box::new(|_| Err("not opened".into())),
        }
    }

    #[test]
    fn one_association_holds_what_fits_into_128_contexts() {
        let objects: Vec<Outgoing<'_>> = (0..100).map(|n| object(n % 70, "jpeg")).collect();
        let (proposals, end) = proposals_from(&objects, 0);
        assert_eq!((proposals.len(), end), (128, 64));
        let (proposals, end) = proposals_from(&objects, end);
        assert_eq!((proposals.len(), end), (72, 100));
    }

    #[test]
    fn as_stored_goes_before_anything_else() {
        let context = |id, syntax: &str| Context {
            id,
            abstract_syntax: "1.2.1".into(),
            transfer_syntax: syntax.into(),
            roles: super::super::Roles::USUAL,
        };
        let contexts = [context(1, "implicit"), context(3, "explicit"), context(5, "jpeg")];
        let ids = |contexts: &[Context], class, syntax| {
            contexts_for(contexts, &|_| true, &object(class, syntax)).iter().map(|c| c.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&contexts, 1, "jpeg"), [5, 3, 1]);
        assert_eq!((ids(&contexts, 1, "rle"), ids(&contexts[..1], 1, "rle")), (vec![3, 1], vec![1]));
        assert!(ids(&contexts, 2, "jpeg").is_empty());
    }
}
