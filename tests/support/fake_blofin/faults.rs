//! How the fake errs, on demand or by chance.

use std::time::Duration;

/// How the stream errs from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// The next frames are lost.
    Drop(usize),
    /// The next frames come twice.
    Repeat(usize),
    /// The next frames are held back until as many have come, and then leave in the opposite order.
    Reorder(usize),
    /// The next frames are held back until as many have come, and then leave in their order.
    Delay(usize),
    /// A frame of nonsense before each of the next frames.
    Garbage(usize),
}

/// How REST answers the next requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestFault {
    /// 429 with the venue's code.
    TooMany,
    /// 403 with a page.
    Banned,
    /// 200 with a numeric code 500.
    Code500,
    /// 200 with a code that refuses the request.
    Refused,
    /// 200 with half an answer.
    Garbage,
    /// The connection is closed without an answer.
    Close,
}

/// How a request that changes something errs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateFault {
    /// It is carried out, and the connection is closed without an answer.
    Drop,
    /// It is carried out, and answered after a while.
    Delay(Duration),
    /// The connection is closed before it is carried out.
    CutBefore,
    /// It is carried out, and answered with an internal error.
    Unclear,
    /// It is refused with this code.
    Refuse(&'static str),
    /// It is not carried out, and answered with this HTTP status and a page.
    Status(u16),
    /// It comes in twice; the answer to the second one, which the venue knows already, is what arrives.
    Twice,
    /// It is carried out, and its answer arrives twice.
    AnswerTwice,
    /// The connection is closed at once, and the request arrives after a while.
    Late(Duration),
}

/// Faults by chance for every private request and every frame of private streams. Gives a number below another one.
pub struct Chaos(pub Box<dyn FnMut(u64) -> u64 + Send>);

impl Chaos {
    /// The fault of a request, if it has one.
    pub(super) fn of_request(&mut self, changes: bool) -> Option<PrivateFault> {
        let ms = Duration::from_millis;
        if !changes {
            return match (self.0)(30) {
                0 => Some(PrivateFault::Drop),
                1 => Some(PrivateFault::Status(502)),
                2 => Some(PrivateFault::Delay(ms((self.0)(12_000)))),
                _ => None,
            };
        }
        match (self.0)(24) {
            0 | 1 => Some(PrivateFault::Drop),
            2 => Some(PrivateFault::CutBefore),
            3 => Some(PrivateFault::Late(ms((self.0)(80_000)))),
            4 => Some(PrivateFault::Unclear),
            5 => Some(PrivateFault::Twice),
            6 => Some(PrivateFault::AnswerTwice),
            7 | 8 => Some(PrivateFault::Delay(ms((self.0)(15_000)))),
            9 => Some(PrivateFault::Status(502)),
            10 => Some(PrivateFault::Refuse("103013")),
            11 => Some(PrivateFault::Refuse("103003")),
            _ => None,
        }
    }

    /// How often a frame arrives.
    pub(super) fn copies(&mut self) -> usize {
        match (self.0)(10) {
            0 => 0,
            1 => 2,
            _ => 1,
        }
    }
}
