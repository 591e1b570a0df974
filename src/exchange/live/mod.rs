//! The live exchange: the table of one strategy's orders at a venue.
//!
//! Pure: it asks through [`ExecutionReport::Ask`] and is told through [`LiveExchange::on_report`]. An order leaves the
//! table of what is open only when the venue says that it ended, or when it provably never arrived. No order is ever
//! sent under another id. What the venue says may come twice, late, or in any order: figures only ever grow, and an
//! execution counts once, by its id. Nothing that a venue can say is a bug here: it is booked as a fact and told.
//!
//! Known limits: whether a fill took or gave liquidity is not told by the venue, so it is inferred from whether the
//! order rested.

mod asking;
mod behind;
mod booking;
mod forced;
pub mod in_flight;
pub mod sane;
mod shadow;
pub mod stops;

use std::collections::{BTreeMap, BTreeSet};

use self::in_flight::{Ground, InFlight};
use self::shadow::Shadow;
use self::stops::Stops;
use super::paper::PaperSettings;
use super::{Exchange, MarketView};
use crate::model::amount::Price;
use crate::model::ids::{AccountId, ClientOrderId, StrategyId, Symbol, VenueOrderId};
use crate::model::live::{Figures, LiveNote, LiveOrder, LiveStop};
use crate::model::market::PriceUpdate;
use crate::model::order::{Order, OrderReason};
use crate::model::report::ExecutionReport;
use crate::model::stop::ProtectiveStop;
use crate::model::time::Timestamp;
use crate::model::trading::{MarginMode, OrderState, PositionMode, StopState, VenueFill, VenueReport};
use crate::risk::RiskApproved;

/// How a live exchange sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSettings {
    /// Whose orders they are.
    pub strategy: StrategyId,
    /// Whose keys sign.
    pub account: AccountId,
    /// Cross or isolated.
    pub margin_mode: MarginMode,
    /// Whether other strategies trade through the account.
    pub shared: bool,
}

/// One strategy's orders at a venue.
#[derive(Debug)]
pub struct LiveExchange {
    ground: Ground,
    orders: BTreeMap<ClientOrderId, InFlight>,
    /// The venue's ids of them.
    by_venue: BTreeMap<VenueOrderId, ClientOrderId>,
    /// The venue's orders that were booked as forced.
    forced: BTreeSet<VenueOrderId>,
    stops: Stops,
    shadow: Shadow,
}

impl LiveExchange {
    /// An exchange without orders. By `paper` works the model that its fills are compared with.
    pub fn new(settings: LiveSettings, paper: PaperSettings) -> LiveExchange {
        let (orders, by_venue) = (BTreeMap::new(), BTreeMap::new());
        let ground = Ground { settings, position_mode: PositionMode::Net };
        let (stops, shadow) = (Stops::default(), Shadow::new(paper));
        LiveExchange { ground, orders, by_venue, forced: BTreeSet::new(), stops, shadow }
    }

    /// How the account holds positions.
    pub fn set_position_mode(&mut self, position_mode: PositionMode) {
        self.ground.position_mode = position_mode;
    }

    /// Takes an order back into the table after a restart.
    pub fn restore_live(&mut self, live: &LiveOrder) {
        if let Some(id) = live.note.venue_order_id {
            self.by_venue.insert(id, live.note.order_id);
        }
        self.orders.insert(live.note.order_id, InFlight::restored(live));
    }

    /// Takes a stop back into the table after a restart.
    pub fn restore_live_stop(&mut self, live: &LiveStop) {
        self.stops.restore(live);
    }

    /// Asks after everything that is open: whatever happened while nothing ran, the venue knows it.
    pub fn start(&mut self, at: Timestamp, reports: &mut Vec<ExecutionReport>) {
        self.orders.values_mut().for_each(|flight| flight.start(at, reports));
        self.stops.start(at, reports);
    }

    /// Takes what the venue says about one order; `false` when it is not an order of this strategy.
    pub fn on_report(
        &mut self,
        at: Timestamp,
        report: &VenueReport,
        reports: &mut Vec<ExecutionReport>,
    ) -> bool {
        if self.stops.on_report(at, report, reports) {
            return true;
        }
        match report {
            VenueReport::Order(state) => self.on_order(at, state, reports),
            VenueReport::Fills(fills) => {
                let mut own = false;
                for fill in fills {
                    own |= self.on_fill(at, fill, reports);
                }
                own
            }
            VenueReport::Acknowledged { order_id, venue_order_id } => {
                if let Some(id) = venue_order_id.filter(|_| self.orders.contains_key(order_id)) {
                    self.by_venue.insert(id, *order_id);
                }
                self.with(at, *order_id, reports, |flight, _, out| {
                    flight.acknowledged(at, *venue_order_id, out)
                })
            }
            VenueReport::Refused { order_id, expires, refusal } => {
                self.with(at, *order_id, reports, |flight, _, out| flight.refused(at, *expires, refusal, out))
            }
            VenueReport::NotSent { order_id, expires, text } => {
                self.with(at, *order_id, reports, |flight, _, out| flight.not_sent(at, *expires, text, out))
            }
            VenueReport::Unanswered { order_id } => {
                self.with(at, *order_id, reports, |flight, _, out| flight.unanswered(at, out))
            }
            VenueReport::NotFound { order_id, asked } => {
                self.with(at, *order_id, reports, |flight, _, out| flight.not_found(at, *asked, out))
            }
            VenueReport::CancelRefused { order_id, .. } => {
                self.with(at, *order_id, reports, |flight, _, _| flight.look_up_soon(at))
            }
            _ => false,
        }
    }

    /// Takes note of the venue's id of an order, so that its fills are known for what they are.
    pub fn learn(&mut self, at: Timestamp, state: &OrderState, reports: &mut Vec<ExecutionReport>) {
        let Some(order_id) = state.order_id.filter(|id| self.orders.contains_key(id)) else { return };
        self.by_venue.insert(state.venue_order_id, order_id);
        self.with(at, order_id, reports, |flight, _, out| flight.learn(at, state.venue_order_id, out));
    }

    /// Takes where an order stands; `false` when it is not one of this strategy.
    pub fn on_order(
        &mut self,
        at: Timestamp,
        state: &OrderState,
        reports: &mut Vec<ExecutionReport>,
    ) -> bool {
        let named = state.order_id.or_else(|| self.by_venue.get(&state.venue_order_id).copied());
        let known = self.by_venue.get(&state.venue_order_id).copied().or(named);
        let Some(order_id) = known.filter(|id| self.orders.contains_key(id)) else {
            return !self.is_forced(state.venue_order_id) && self.stops.on_made(at, state, reports);
        };
        self.by_venue.insert(state.venue_order_id, order_id);
        self.with(at, order_id, reports, |flight, _, out| flight.on_order(at, state, out))
    }

    /// Takes an execution; `false` when it is not of an order of this strategy.
    pub fn on_fill(&mut self, at: Timestamp, fill: &VenueFill, reports: &mut Vec<ExecutionReport>) -> bool {
        let Some(order_id) = self.by_venue.get(&fill.venue_order_id).copied() else { return false };
        self.with(at, order_id, reports, |flight, _, out| flight.on_fill(at, fill, out))
    }

    /// Looks up what a complete list of the open orders, asked for at `asked`, does not name though it should.
    pub fn missing_from(&mut self, at: Timestamp, asked: Timestamp, named: &[VenueOrderId]) {
        for flight in self.orders.values_mut() {
            if flight.should_rest(asked) && !flight.is_named(named) {
                flight.look_up_soon(at);
            }
        }
    }

    /// Holds a stop that the venue does not keep against the last price.
    pub fn watch(&mut self, symbol: Symbol, last: Option<Price>, reports: &mut Vec<ExecutionReport>) {
        self.stops.on_price(symbol, last, reports);
    }

    /// Holds a complete list of the waiting stops against what is known.
    pub fn on_stops(
        &mut self,
        at: Timestamp,
        asked: Timestamp,
        list: &[StopState],
        reports: &mut Vec<ExecutionReport>,
    ) {
        self.stops.on_list(at, asked, list, reports);
    }

    /// Forgets what is done, see [`LiveNote::is_done_before`].
    pub fn forget_before(&mut self, time: Timestamp) {
        self.orders.retain(|_, flight| !flight.note().is_done_before(time));
        self.by_venue.retain(|_, id| self.orders.contains_key(id));
    }

    /// The notes of the orders in the table.
    pub fn notes(&self) -> impl Iterator<Item = &LiveNote> {
        self.orders.values().map(InFlight::note)
    }

    /// Whether an order's fate is open, so that figures of the account may move at any moment.
    pub fn is_moving(&self) -> bool {
        self.orders.values().any(InFlight::is_moving)
    }

    /// Since when a fill of an ended order waits for its proof, or a touched stop for its order.
    pub fn unsettled_since(&self) -> Option<Timestamp> {
        let unsettled = self.notes().filter(|note| note.settled != note.booked);
        unsettled.filter_map(|note| note.ended).chain(self.stops.unexplained_since()).min()
    }

    /// A place in the table for an order.
    fn flight(&self, at: Timestamp, order: &RiskApproved, market: &MarketView<'_>) -> InFlight {
        let order = order.order().clone();
        let note = LiveNote {
            order_id: order.order_id,
            account: self.ground.settings.account,
            instrument: market.instrument.clone(),
            venue_order_id: None,
            expires: at,
            booked: Figures::default(),
            settled: Figures::default(),
            trades: Vec::new(),
            ended: None,
        };
        InFlight::new(order, note)
    }

    /// Lets one order act, and the model beside it take note.
    fn with(
        &mut self,
        at: Timestamp,
        order_id: ClientOrderId,
        reports: &mut Vec<ExecutionReport>,
        act: impl FnOnce(&mut InFlight, &Ground, &mut Vec<ExecutionReport>),
    ) -> bool {
        let Some(flight) = self.orders.get_mut(&order_id) else { return false };
        act(flight, &self.ground, reports);
        self.shadow.on_note(at, flight.note(), reports);
        if flight.note().ended.is_some() {
            self.wake_behind(at);
        }
        true
    }

    /// When something is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.orders.values().filter_map(InFlight::due).chain(self.stops.next_due()).min()
    }

    /// Does what is due at or before `at`.
    pub fn on_due(&mut self, at: Timestamp, reports: &mut Vec<ExecutionReport>) {
        self.release(at, reports);
        for flight in self.orders.values_mut() {
            if flight.due().is_some_and(|due| due <= at) {
                flight.on_due(at, &self.ground, reports);
                self.shadow.on_note(at, flight.note(), reports);
            }
        }
        self.stops.on_due(at, &self.ground, reports);
    }
}

impl Exchange for LiveExchange {
    fn submit(
        &mut self,
        at: Timestamp,
        order: RiskApproved,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        let behind = self.before(order.order());
        let mut flight = self.flight(at, &order, market);
        self.shadow.submit(at, order, market);
        match behind.is_empty() {
            true => flight.send(at, &self.ground, reports),
            false => flight.wait_behind(at, behind, reports),
        }
        self.orders.insert(flight.note().order_id, flight);
    }

    fn cancel(
        &mut self,
        at: Timestamp,
        order_id: ClientOrderId,
        reason: OrderReason,
        reports: &mut Vec<ExecutionReport>,
    ) {
        self.with(at, order_id, reports, |flight, _, out| flight.cancel(at, reason, out));
        self.shadow.cancel(at, order_id, reason);
    }

    fn on_price(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        update: &PriceUpdate,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        self.shadow.on_price(at, symbol, update, market, reports);
        self.watch(symbol, market.trigger(), reports);
    }

    fn on_wakeup(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        self.shadow.on_wakeup(at, symbol, market, reports);
    }

    /// Of the paper model alone: orders at the venue have their own, see [`LiveExchange::next_due`].
    fn next_wakeup(&self) -> Option<(Timestamp, Symbol)> {
        self.shadow.next_wakeup()
    }

    fn restore(&mut self, _order: &Order) {}

    fn protect(
        &mut self,
        at: Timestamp,
        symbol: Symbol,
        stop: Option<&ProtectiveStop>,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        let key = (self.ground.settings.strategy, symbol);
        let touched = stop.and_then(|stop| stop.touched(market.trigger()?));
        let put = (stop, touched.is_some());
        self.stops.protect(at, key, put, market.instrument, &self.ground, reports);
        if let (Some(stop), Some(cause)) = (stop, touched) {
            let (stop_id, quantity) = (stop.stop_id, None);
            reports.push(ExecutionReport::Triggered { stop_id, symbol, cause, quantity });
        }
    }

    fn close_touched(
        &mut self,
        at: Timestamp,
        order: RiskApproved,
        market: &MarketView<'_>,
        reports: &mut Vec<ExecutionReport>,
    ) {
        // Another stop may be touched in the same moment: only an order of this side and size is the one that was made.
        let made = self
            .stops
            .take_made(at, order.order().symbol)
            .filter(|made| made.side == order.order().side && made.quantity >= order.order().quantity);
        let Some(made) = made else {
            return self.submit(at, order, market, reports);
        };
        let mut flight = self.flight(at, &order, market);
        self.shadow.submit(at, order, market);
        flight.adopt(at, &made, reports);
        self.shadow.on_note(at, flight.note(), reports);
        self.by_venue.insert(made.venue_order_id, flight.note().order_id);
        self.orders.insert(flight.note().order_id, flight);
    }

    fn restore_stop(&mut self, stop: &ProtectiveStop) {
        self.stops.restore_wanted(stop);
    }

    fn stop(&self, symbol: Symbol) -> Option<&ProtectiveStop> {
        self.stops.wanted(symbol)
    }

    fn live(&self) -> Option<&LiveExchange> {
        Some(self)
    }

    fn live_mut(&mut self) -> Option<&mut LiveExchange> {
        Some(self)
    }
}
