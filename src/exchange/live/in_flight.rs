//! One order at a venue: what is known of it, and what is done next.
//!
//! `submitting` until the venue says something; `unknown` when no answer came, and then it is looked up, never sent
//! again unless it provably never arrived, and then under the same id. A request's signature is good for 60 s, so an
//! order that a lookup does not find is proven absent only [`ARRIVAL_MS_MAX`] after it expired. An entry that never
//! arrived is rejected; an exit is sent again.

use super::LiveSettings;
use crate::model::ids::{ClientOrderId, VenueOrderId};
use crate::model::live::{LiveNote, LiveOrder};
use crate::model::order::{Order, OrderReason, OrderStatus, OrderType};
use crate::model::report::ExecutionReport;
use crate::model::signal::Reason;
use crate::model::time::Timestamp;
use crate::model::trading::{OrderState, PositionMode, VenueOrderStatus, VenueRefusal};

/// How long an order may wait before it leaves, in milliseconds.
pub const SEND_MS_MAX: i64 = 10_000;
/// How long the gateway may take to say what became of it, in milliseconds beyond that.
pub const ANSWER_MS_MAX: i64 = 15_000;
/// After this many milliseconds beyond its expiry an order cannot arrive any more: a signed request is good for 60 s,
/// and clocks may differ.
pub const ARRIVAL_MS_MAX: i64 = 75_000;
/// How long after an acknowledgement or a cancel the order is looked up if nothing came, in milliseconds.
pub(super) const SETTLE_MS: i64 = 2_000;
/// The first and the longest pause between two lookups, or between two sendings of an exit, in milliseconds.
const PAUSE_MS: [i64; 2] = [1_000, 30_000];
/// After this many failures to send an exit or a stop a person is told.
pub(super) const TRIES_TOLD: u32 = 3;

/// What every order of an exchange stands on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// How the exchange sends.
    pub settings: LiveSettings,
    /// How the account holds positions.
    pub position_mode: PositionMode,
}

/// One order in the table.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// The order as the engine has it.
    pub(super) order: Order,
    pub(super) note: LiveNote,
    pub(super) next: Option<(Timestamp, Step)>,
    /// The orders that it waits for before it is sent, see [`super::behind`].
    pub(super) behind: Vec<ClientOrderId>,
    /// Lookups or sendings since something new was heard.
    pub(super) tries: u32,
    /// When the venue was first known to have it.
    seen: Option<Timestamp>,
    /// Whether an oddity was told, so that a repetition is silent.
    warned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    LookUp,
    /// Send again what provably never arrived.
    Send,
    /// Wait no longer for the orders that it is behind.
    Release,
}

impl InFlight {
    /// An order that was not sent yet.
    pub fn new(order: Order, note: LiveNote) -> InFlight {
        InFlight { order, note, next: None, behind: Vec::new(), tries: 0, seen: None, warned: false }
    }

    /// An order as the store remembers it.
    pub fn restored(live: &LiveOrder) -> InFlight {
        let seen = live.note.venue_order_id.map(|_| live.order.time);
        InFlight { seen, ..InFlight::new(live.order.clone(), live.note.clone()) }
    }

    /// What is remembered of it.
    pub fn note(&self) -> &LiveNote {
        &self.note
    }

    /// When it wants something.
    pub fn due(&self) -> Option<Timestamp> {
        self.next.map(|(due, _)| due)
    }

    /// Why it is to be taken back, if it is: the reason of an order that does not come from its making.
    pub(super) fn cancel_wanted(&self) -> Option<OrderReason> {
        self.order.reason.filter(|_| !self.order.is_of_stop())
    }

    /// Whether it provably is not at the venue, and may be sent yet.
    pub(super) fn waits_to_send(&self) -> bool {
        self.next.is_some_and(|(_, step)| step != Step::LookUp)
    }

    /// Whether its fate is open at this moment.
    pub fn is_moving(&self) -> bool {
        let rests = matches!(self.order.status, OrderStatus::Working | OrderStatus::PartlyFilled);
        self.note.ended.is_none() && (!rests || self.order.order_type == OrderType::Market)
    }

    /// Whether a list of open orders that was asked for at `asked` must name it.
    pub fn should_rest(&self, asked: Timestamp) -> bool {
        self.note.ended.is_none() && self.seen.is_some_and(|seen| seen < asked)
    }

    /// Whether it is among these.
    pub fn is_named(&self, named: &[VenueOrderId]) -> bool {
        self.note.venue_order_id.is_some_and(|id| named.contains(&id))
    }

    /// After a restart.
    pub fn start(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        if self.note.ended.is_some() {
            return;
        }
        if self.order.status == OrderStatus::Submitting {
            self.stand(OrderStatus::Unknown, self.order.reason, out);
        }
        self.look_up(at, out);
    }

    /// Does what is due.
    pub fn on_due(&mut self, at: Timestamp, ground: &Ground, out: &mut Vec<ExecutionReport>) {
        match self.next.map(|(_, step)| step) {
            Some(Step::Send) => self.send(at, ground, out),
            Some(Step::LookUp) => {
                if self.order.status == OrderStatus::Submitting && self.note.venue_order_id.is_none() {
                    self.stand(OrderStatus::Unknown, self.order.reason, out);
                }
                self.look_up(at, out);
            }
            Some(Step::Release) | None => {}
        }
    }

    /// Takes over an order that the venue made itself.
    pub fn adopt(&mut self, at: Timestamp, state: &OrderState, out: &mut Vec<ExecutionReport>) {
        self.learn(at, state.venue_order_id, out);
        self.on_order(at, state, out);
    }

    /// The venue has it under this id.
    pub fn learn(&mut self, at: Timestamp, id: VenueOrderId, out: &mut Vec<ExecutionReport>) {
        if self.note.venue_order_id.is_none() {
            self.note.venue_order_id = Some(id);
            self.seen = Some(at);
            out.push(ExecutionReport::Noted(Box::new(self.note.clone())));
        }
    }

    /// The venue took note of it.
    pub fn acknowledged(&mut self, at: Timestamp, id: Option<VenueOrderId>, out: &mut Vec<ExecutionReport>) {
        if self.note.ended.is_some() || self.note.venue_order_id.is_some() {
            return;
        }
        if let Some(id) = id {
            self.learn(at, id, out);
        }
        self.tries = 0;
        self.next = Some((at.plus_ms(SETTLE_MS), Step::LookUp));
    }

    /// The venue refused a sending of it. One that is known there is looked up instead, whatever the refusal says.
    pub fn refused(
        &mut self,
        at: Timestamp,
        expires: Timestamp,
        refusal: &VenueRefusal,
        out: &mut Vec<ExecutionReport>,
    ) {
        if !self.is_about_last_sending(expires) {
            return;
        }
        if refusal.duplicate || self.note.venue_order_id.is_some() {
            return self.unanswered(at, out);
        }
        if refusal.transient && self.order.reduce_only && self.cancel_wanted().is_none() {
            return self.send_later(at, out);
        }
        let VenueRefusal { code, text, .. } = refusal;
        self.warn("order_refused", format!("the venue refused the order: {text} (code {code})"), out);
        let reason = OrderReason::Refused(Reason::VenueRejected);
        self.end(at, OrderStatus::Rejected, Some(reason), out);
    }

    /// A sending of it never left.
    pub fn not_sent(
        &mut self,
        at: Timestamp,
        expires: Timestamp,
        text: &str,
        out: &mut Vec<ExecutionReport>,
    ) {
        if self.is_about_last_sending(expires) && self.note.venue_order_id.is_none() {
            self.absent(at, text, out);
        }
    }

    /// Whether a word about a sending still says something: nothing about the last one follows from what became of an
    /// earlier one.
    fn is_about_last_sending(&self, expires: Timestamp) -> bool {
        self.note.ended.is_none() && !self.waits_to_send() && expires == self.note.expires
    }

    /// It may or may not be there.
    pub fn unanswered(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        if self.note.ended.is_some() {
            return;
        }
        if self.note.venue_order_id.is_none() && self.order.status != OrderStatus::Unknown {
            self.stand(OrderStatus::Unknown, self.order.reason, out);
        }
        self.look_up(at, out);
    }

    /// The venue does not know it, or not yet, or not any more.
    pub fn not_found(&mut self, at: Timestamp, asked: Timestamp, out: &mut Vec<ExecutionReport>) {
        if self.note.ended.is_some() || self.waits_to_send() {
            return;
        }
        let proven = asked >= self.note.expires.plus_ms(ARRIVAL_MS_MAX);
        match self.note.venue_order_id {
            None if proven => {
                // The lookups that it took to prove it are no reason to hold an exit up.
                self.tries = 0;
                self.absent(at, "the venue does not know it", out);
            }
            Some(id) if proven && !self.warned => {
                let text = format!("the venue does not know its order {id} any more; it is looked up again");
                self.warn("order_lost", text, out);
            }
            _ => {}
        }
    }

    /// Looks it up as soon as time goes on.
    pub fn look_up_soon(&mut self, at: Timestamp) {
        if self.note.ended.is_none() && !self.waits_to_send() {
            let due = at.plus_ms(self.pause_ms());
            self.next = Some((self.due().map_or(due, |known| known.min(due)), Step::LookUp));
        }
    }

    /// The venue says where it stands.
    pub fn on_order(&mut self, at: Timestamp, state: &OrderState, out: &mut Vec<ExecutionReport>) {
        let known = self.note.venue_order_id.unwrap_or(state.venue_order_id);
        if known != state.venue_order_id || state.symbol != self.order.symbol || state.side != self.order.side
        {
            let id = state.venue_order_id;
            return self.warn("order_differs", format!("the venue's order {id} is not what was sent"), out);
        }
        let before = self.note.clone();
        self.note.venue_order_id = Some(known);
        self.seen = self.seen.or(Some(at));
        let was_rejected = self.order.status == OrderStatus::Rejected;
        self.book_cumulative(at, state, out);
        let whole = state.filled_quantity >= state.quantity;
        if self.note.ended.is_none() {
            self.tries = 0;
            match state.status {
                VenueOrderStatus::Filled if whole => {
                    self.end(at, OrderStatus::Filled, self.order.reason, out)
                }
                VenueOrderStatus::Filled => self.next = Some((at.plus_ms(SETTLE_MS), Step::LookUp)),
                VenueOrderStatus::Cancelled => {
                    let reason = self.cancel_wanted().unwrap_or(OrderReason::Venue);
                    if reason == OrderReason::Venue {
                        self.warn("order_ended", "the venue ended the order on its own".into(), out);
                    }
                    self.end(at, OrderStatus::Cancelled, Some(reason), out);
                }
                VenueOrderStatus::Live | VenueOrderStatus::PartlyFilled => self.rests(at, out),
            }
        } else if was_rejected && matches!(state.status, VenueOrderStatus::Live) {
            self.warn("order_revived", "an order that was given up is in the book".into(), out);
            out.push(self.cancel_request());
        }
        self.note_change(&before, out);
    }

    /// It is in the book: that is where it stays, or it is on its way out.
    fn rests(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        if let Some(reason) = self.cancel_wanted() {
            self.stand(OrderStatus::Cancelling, Some(reason), out);
            return self.ask_cancel(at, out);
        }
        let filled = self.note.booked.quantity.is_positive();
        let status = if filled { OrderStatus::PartlyFilled } else { OrderStatus::Working };
        if self.order.status != status {
            self.stand(status, self.order.reason, out);
        }
        let market = self.order.order_type == OrderType::Market;
        self.next = market.then(|| (at.plus_ms(SETTLE_MS), Step::LookUp));
    }

    /// It is proven not to be at the venue: an entry is given up, an exit is sent again.
    pub(super) fn absent(&mut self, at: Timestamp, text: &str, out: &mut Vec<ExecutionReport>) {
        match self.cancel_wanted() {
            Some(reason) => self.end(at, OrderStatus::Cancelled, Some(reason), out),
            None if self.order.reduce_only => self.send_later(at, out),
            None => {
                self.warn("order_not_sent", format!("the entry never reached the venue: {text}"), out);
                self.end(at, OrderStatus::Rejected, Some(OrderReason::NotSent), out);
            }
        }
    }

    fn send_later(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        self.tries += 1;
        if self.tries == TRIES_TOLD {
            let text = format!("an exit could not be sent {TRIES_TOLD} times; it is tried on");
            self.warn("exit_delayed", text, out);
        }
        self.next = Some((at.plus_ms(self.pause_ms()), Step::Send));
    }

    pub(super) fn pause_ms(&self) -> i64 {
        pause_ms(self.tries)
    }

    pub(super) fn end(
        &mut self,
        at: Timestamp,
        status: OrderStatus,
        reason: Option<OrderReason>,
        out: &mut Vec<ExecutionReport>,
    ) {
        self.next = None;
        self.note.ended = Some(at);
        self.stand(status, reason, out);
        out.push(ExecutionReport::Noted(Box::new(self.note.clone())));
    }

    pub(super) fn stand(
        &mut self,
        status: OrderStatus,
        reason: Option<OrderReason>,
        out: &mut Vec<ExecutionReport>,
    ) {
        if (self.order.status, self.order.reason) == (status, reason) {
            return;
        }
        (self.order.status, self.order.reason) = (status, reason);
        out.push(ExecutionReport::Status { order_id: self.order.order_id, status, reason });
    }

    pub(super) fn note_change(&self, before: &LiveNote, out: &mut Vec<ExecutionReport>) {
        if self.note != *before {
            out.push(ExecutionReport::Noted(Box::new(self.note.clone())));
        }
    }

    pub(super) fn warn(&mut self, code: &'static str, text: String, out: &mut Vec<ExecutionReport>) {
        self.warned = true;
        out.push(ExecutionReport::Warned { order_id: self.order.order_id, code, text });
    }
}

/// How long to wait behind so many tries, in milliseconds.
pub(super) fn pause_ms(tries: u32) -> i64 {
    (PAUSE_MS[0] << tries.saturating_sub(1).min(5)).min(PAUSE_MS[1])
}
