//! Protective stops at a venue: at most one is wanted for a symbol; what was replaced leaves.
//!
//! The stop before is taken back in the same step in which the next one is put, so that the venue never keeps more than
//! is held for longer than a request takes. A stop that the venue refuses is watched here, which is told: it then works
//! only while the daemon does. A touched stop is a new order of the venue's, told by [`VenueReport::Order`] with the
//! stop's id; it is bound to the order that the engine makes of it, never sent again.

use std::collections::BTreeMap;

use super::behind::position_side;
use super::in_flight::{
    ANSWER_MS_MAX, ARRIVAL_MS_MAX, Ground, SEND_MS_MAX, SETTLE_MS, Step, TRIES_TOLD, pause_ms,
};
use crate::model::amount::Price;
use crate::model::ids::{ClientOrderId, StrategyId, Symbol, VenueOrderId};
use crate::model::instrument::Instrument;
use crate::model::live::LiveStop;
use crate::model::report::ExecutionReport;
use crate::model::stop::{ProtectiveStop, StopCause};
use crate::model::time::Timestamp;
use crate::model::trading::{
    OrderCategory, OrderState, PlaceStop, StopState, VenueRefusal, VenueReport, VenueRequest, VenueStopStatus,
};

/// The stops of one strategy.
#[derive(Debug, Default)]
pub struct Stops {
    /// All that may be at the venue.
    flights: BTreeMap<ClientOrderId, StopFlight>,
    /// The one that is wanted.
    wanted: BTreeMap<Symbol, ProtectiveStop>,
    /// Orders that the venue made of stops and that the engine is about to take over, and when they were told.
    made: BTreeMap<Symbol, (Timestamp, OrderState)>,
}

#[derive(Debug)]
struct StopFlight {
    live: LiveStop,
    next: Option<(Timestamp, Step)>,
    tries: u32,
    /// Whether the venue does not keep it, so that its prices are watched here.
    watched: bool,
    /// When we heard that it was touched. It stays known until a snapshot had to tell its order.
    touched: Option<Timestamp>,
}

/// A venue has listed the order that it made of a stop this long after it told that the stop was touched, in
/// milliseconds. Where nothing was left to close it makes none.
const LISTED_MS: i64 = 60_000;

impl Stops {
    /// What is wanted for a symbol.
    pub fn wanted(&self, symbol: Symbol) -> Option<&ProtectiveStop> {
        self.wanted.get(&symbol)
    }

    /// After a restart: what is wanted.
    pub fn restore_wanted(&mut self, stop: &ProtectiveStop) {
        self.wanted.insert(stop.symbol, stop.clone());
    }

    /// After a restart: what may be at the venue.
    pub fn restore(&mut self, live: &LiveStop) {
        let flight = StopFlight { live: live.clone(), next: None, tries: 0, watched: false, touched: None };
        self.flights.insert(live.stop.stop_id, flight);
    }

    /// Asks after all of them.
    pub fn start(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        for flight in self.flights.values_mut() {
            let wanted = self.wanted.get(&flight.live.stop.symbol).map(|stop| stop.stop_id);
            if wanted != Some(flight.live.stop.stop_id) && !flight.live.leaves {
                flight.leave(at, out);
            }
            flight.look_up(at, out);
        }
    }

    /// Puts a stop for a symbol instead of the one before.
    pub fn protect(
        &mut self,
        at: Timestamp,
        (strategy, symbol): (StrategyId, Symbol),
        (stop, touched): (Option<&ProtectiveStop>, bool),
        instrument: &Instrument,
        ground: &Ground,
        out: &mut Vec<ExecutionReport>,
    ) {
        let kept = stop.map(|stop| stop.stop_id);
        for flight in self.flights.values_mut() {
            let id = flight.live.stop.stop_id;
            if flight.live.stop.symbol == symbol && Some(id) != kept && !flight.live.leaves {
                flight.leave(at, out);
            }
        }
        self.flights.retain(|_, flight| !flight.live.gone);
        let Some(stop) = stop else {
            self.wanted.remove(&symbol);
            return;
        };
        self.wanted.insert(symbol, stop.clone());
        if touched {
            // It becomes our order at once, or is watched here; the venue must not make another order of it.
            let text = "the price is beyond the stop already; its prices are watched here".into();
            out.push(ExecutionReport::Warned { order_id: stop.stop_id, code: "stop_not_kept", text });
            return;
        }
        let live = LiveStop {
            strategy,
            account: ground.settings.account,
            stop: stop.clone(),
            instrument: instrument.clone(),
            venue_order_id: None,
            expires: at,
            leaves: false,
            gone: false,
        };
        let mut flight = StopFlight { live, next: None, tries: 0, watched: false, touched: None };
        flight.place(at, ground, out);
        self.flights.insert(stop.stop_id, flight);
    }

    /// Takes what the venue says about one stop; `false` when it is none of these.
    pub fn on_report(&mut self, at: Timestamp, report: &VenueReport, out: &mut Vec<ExecutionReport>) -> bool {
        let id = match report {
            VenueReport::Stop(state) => state.stop_id,
            VenueReport::Acknowledged { order_id, .. }
            | VenueReport::Refused { order_id, .. }
            | VenueReport::NotSent { order_id, .. }
            | VenueReport::Unanswered { order_id }
            | VenueReport::NotFound { order_id, .. }
            | VenueReport::CancelRefused { order_id, .. } => Some(*order_id),
            _ => None,
        };
        let Some(flight) = id.and_then(|id| self.flights.get_mut(&id)) else { return false };
        flight.on_report(at, report, out);
        self.flights.retain(|_, flight| !flight.live.gone);
        true
    }

    /// The stop that became this order.
    pub(super) fn made(&self, state: &OrderState) -> Option<&LiveStop> {
        let flight = self.flights.values().find(|flight| {
            let venue_id = flight.live.venue_order_id;
            let own = state.stop_id == Some(flight.live.stop.stop_id);
            own || (state.venue_stop_id.is_some() && state.venue_stop_id == venue_id)
        });
        flight.map(|flight| &flight.live)
    }

    /// Takes the order that the venue made of a stop: the engine is told, and makes its own order of it.
    pub fn on_made(&mut self, at: Timestamp, state: &OrderState, out: &mut Vec<ExecutionReport>) -> bool {
        let Some(live) = self.made(state) else { return false };
        let symbol = live.stop.symbol;
        if state.symbol != symbol || !state.quantity.is_positive() {
            return false;
        }
        let cause = match state.category {
            OrderCategory::TakeProfit => StopCause::TakeProfit,
            _ => StopCause::StopLoss,
        };
        let stop_id = live.stop.stop_id;
        self.made.insert(symbol, (at, state.clone()));
        let quantity = Some(state.quantity);
        out.push(ExecutionReport::Triggered { stop_id, symbol, cause, quantity });
        true
    }

    /// The order that the venue made of the stop of a symbol and told just now.
    pub fn take_made(&mut self, at: Timestamp, symbol: Symbol) -> Option<OrderState> {
        self.made.remove(&symbol).filter(|(told, _)| *told == at).map(|(_, state)| state)
    }

    /// Watches the stops that the venue does not keep.
    pub fn on_price(&mut self, symbol: Symbol, last: Option<Price>, out: &mut Vec<ExecutionReport>) {
        let Some(last) = last else { return };
        let Some(stop) = self.wanted.get(&symbol) else { return };
        let at_venue = self.flights.get(&stop.stop_id).is_some_and(|flight| !flight.watched);
        if let Some(cause) = stop.touched(last).filter(|_| !at_venue) {
            let stop_id = stop.stop_id;
            out.push(ExecutionReport::Triggered { stop_id, symbol, cause, quantity: None });
        }
    }

    /// Holds a complete list of the stops that wait, asked for at `asked`, against what is known: what should be there
    /// is looked up, what should not is taken back.
    pub fn on_list(
        &mut self,
        at: Timestamp,
        asked: Timestamp,
        list: &[StopState],
        out: &mut Vec<ExecutionReport>,
    ) {
        for flight in self.flights.values_mut() {
            let id = flight.live.stop.stop_id;
            let told = flight.touched.is_some_and(|touched| touched.plus_ms(LISTED_MS) <= asked);
            if told && flight.live.leaves {
                flight.gone(out);
                continue;
            }
            if told && !flight.watched {
                let text =
                    "the stop was touched at the venue, but no order came of it; its prices are watched here";
                flight.watch(text.into(), out);
            }
            let listed = list.iter().find(|state| state.stop_id == Some(id));
            match listed {
                Some(state) => flight.on_state(at, state, out),
                None if flight.touched.is_none()
                    && flight.live.expires < asked
                    && flight.live.venue_order_id.is_some() =>
                {
                    flight.look_up(at, out);
                }
                None => {}
            }
        }
        self.flights.retain(|_, flight| !flight.live.gone);
    }

    /// Since when a touched stop waits for its order, so that its position may be without a stop.
    pub fn unexplained_since(&self) -> Option<Timestamp> {
        let waiting = self.flights.values().filter(|flight| !flight.watched && !flight.live.leaves);
        waiting.filter_map(|flight| flight.touched).min()
    }

    /// When something is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.flights.values().filter_map(|flight| Some(flight.next?.0)).min()
    }

    /// Does what is due.
    pub fn on_due(&mut self, at: Timestamp, ground: &Ground, out: &mut Vec<ExecutionReport>) {
        for flight in self.flights.values_mut() {
            match flight.next {
                Some((due, Step::Send)) if due <= at => flight.place(at, ground, out),
                Some((due, _)) if due <= at => flight.look_up(at, out),
                _ => {}
            }
        }
    }
}

impl StopFlight {
    fn place(&mut self, at: Timestamp, ground: &Ground, out: &mut Vec<ExecutionReport>) {
        self.live.expires = at.plus_ms(SEND_MS_MAX);
        self.note(out);
        let stop = &self.live.stop;
        out.push(ExecutionReport::Ask(Box::new(VenueRequest::PlaceStop(Box::new(PlaceStop {
            stop_id: stop.stop_id,
            instrument: self.live.instrument.clone(),
            side: stop.side,
            quantity: stop.quantity,
            stop_loss: stop.stop_loss,
            take_profit: stop.take_profit,
            margin_mode: ground.settings.margin_mode,
            position_side: position_side(ground.position_mode, stop.side, true),
            expires: self.live.expires,
        })))));
        self.next = Some((self.live.expires.plus_ms(ANSWER_MS_MAX), Step::LookUp));
    }

    /// It is not wanted any more. One that may be on its way is looked up first.
    fn leave(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        self.live.leaves = true;
        if self.watched || self.waits_to_send() {
            return self.gone(out);
        }
        self.note(out);
        if self.live.venue_order_id.is_some() && self.touched.is_none() {
            self.cancel(at, out);
        }
    }

    fn cancel(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        out.push(ExecutionReport::Ask(Box::new(VenueRequest::CancelStop {
            stop_id: self.live.stop.stop_id,
            venue_order_id: self.live.venue_order_id,
            symbol: self.live.stop.symbol,
        })));
        self.tries += 1;
        self.next = Some((at.plus_ms(SETTLE_MS.max(pause_ms(self.tries))), Step::LookUp));
    }

    fn look_up(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        let (stop_id, symbol) = (self.live.stop.stop_id, self.live.stop.symbol);
        out.push(ExecutionReport::Ask(Box::new(VenueRequest::LookupStop { stop_id, symbol, asked: at })));
        self.tries += 1;
        self.next = Some((at.plus_ms(pause_ms(self.tries)), Step::LookUp));
    }

    fn on_report(&mut self, at: Timestamp, report: &VenueReport, out: &mut Vec<ExecutionReport>) {
        let known = self.live.venue_order_id.is_some();
        match report {
            VenueReport::Stop(state) => self.on_state(at, state, out),
            VenueReport::Acknowledged { venue_order_id: Some(id), .. } => self.arrived(at, *id, out),
            // What became of an earlier sending says nothing about the last one.
            VenueReport::Refused { expires, .. } | VenueReport::NotSent { expires, .. }
                if *expires != self.live.expires || self.waits_to_send() => {}
            VenueReport::Refused { refusal, .. } if !refusal.duplicate && !known => {
                self.refused(refusal, out);
            }
            VenueReport::NotSent { .. } if !known => self.absent(at, out),
            VenueReport::NotFound { asked, .. } if !known && self.is_proof(*asked) => {
                // The lookups that it took to prove it are no reason to hold it up.
                self.tries = 0;
                self.absent(at, out);
            }
            // The venue lists a stop that ended for a while only.
            VenueReport::NotFound { asked, .. } if known && self.is_proof(*asked) => {
                self.ended(at, VenueStopStatus::Cancelled, out);
            }
            VenueReport::NotFound { .. } => {}
            _ => self.look_up(at, out),
        }
    }

    fn waits_to_send(&self) -> bool {
        matches!(self.next, Some((_, Step::Send)))
    }

    fn is_proof(&self, asked: Timestamp) -> bool {
        asked >= self.live.expires.plus_ms(ARRIVAL_MS_MAX)
    }

    fn on_state(&mut self, at: Timestamp, state: &StopState, out: &mut Vec<ExecutionReport>) {
        match state.status {
            VenueStopStatus::Live => {
                self.arrived(at, state.venue_order_id, out);
                if self.live.leaves && self.next.is_none() {
                    self.cancel(at, out);
                }
            }
            status => self.ended(at, status, out),
        }
    }

    fn arrived(&mut self, at: Timestamp, id: VenueOrderId, out: &mut Vec<ExecutionReport>) {
        (self.tries, self.next) = (0, None);
        if self.live.venue_order_id.is_none() {
            self.live.venue_order_id = Some(id);
            self.note(out);
        }
        if self.live.leaves {
            self.cancel(at, out);
        }
    }

    fn ended(&mut self, at: Timestamp, status: VenueStopStatus, out: &mut Vec<ExecutionReport>) {
        self.next = None;
        match status {
            // Its order tells the rest.
            VenueStopStatus::Triggered => self.touched = self.touched.or(Some(at)),
            _ if self.live.leaves => self.gone(out),
            _ => {
                let text = "the venue does not keep the stop any more; its prices are watched here";
                self.watch(text.into(), out);
            }
        }
    }

    fn refused(&mut self, refusal: &VenueRefusal, out: &mut Vec<ExecutionReport>) {
        if self.live.leaves {
            return self.gone(out);
        }
        let VenueRefusal { code, text, .. } = refusal;
        let text = format!("the venue refused the stop: {text} (code {code}); its prices are watched here");
        self.watch(text, out);
    }

    /// It provably never arrived: it is put again under the same id, later each time.
    fn absent(&mut self, at: Timestamp, out: &mut Vec<ExecutionReport>) {
        if self.live.leaves {
            return self.gone(out);
        }
        self.tries += 1;
        if self.tries == TRIES_TOLD {
            let text = format!("a stop could not be sent {TRIES_TOLD} times; it is tried on");
            let order_id = self.live.stop.stop_id;
            out.push(ExecutionReport::Warned { order_id, code: "exit_delayed", text });
        }
        self.next = Some((at.plus_ms(pause_ms(self.tries)), Step::Send));
    }

    fn watch(&mut self, text: String, out: &mut Vec<ExecutionReport>) {
        (self.watched, self.next) = (true, None);
        let order_id = self.live.stop.stop_id;
        out.push(ExecutionReport::Warned { order_id, code: "stop_not_kept", text });
    }

    fn gone(&mut self, out: &mut Vec<ExecutionReport>) {
        (self.live.gone, self.next) = (true, None);
        self.note(out);
    }

    fn note(&self, out: &mut Vec<ExecutionReport>) {
        out.push(ExecutionReport::NotedStop(Box::new(self.live.clone())));
    }
}
