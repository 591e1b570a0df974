//! Snapshots: everything about an account, asked for and taken over.
//!
//! An account is asked when the engine starts, when its link comes up, when a fill waits for its proof, and now and
//! then. Only an answer to the last question counts, so an old one that comes late does nothing. Executions are asked
//! for by time, a day more than seems needed, and known ones are left out by their ids, which count within a pair.

use std::collections::BTreeMap;

use super::desk::Desk;
use super::effect::Effect;
use super::exchange_control::ExchangeControl;
use super::live_control::VenueAccount;
use super::record::{LastFillsRecord, Record, SnapshotRecord};
use crate::exchange::live::LiveExchange;
use crate::model::ids::{Symbol, VenueOrderId};
use crate::model::time::{DAY_MS, Timestamp};
use crate::model::trading::{AccountSnapshot, Dispatch, VenueRequest};

/// An account is asked for everything at least this often, in milliseconds.
pub const SNAPSHOT_MS: i64 = 300_000;
/// How long an answer may take before it is asked for again, in milliseconds; each time twice as long, up to 8 minutes:
/// the pages of a large account take so long.
const SNAPSHOT_ANSWER_MS: i64 = 30_000;
/// How long a fill may wait for its proof before it is asked for, in milliseconds.
const PROOF_MS: i64 = 5_000;
/// Fills are asked for from this long before the first order of an account, in milliseconds.
const SINCE_MS: i64 = 60_000;
/// How far back executions are asked for again, in milliseconds: more than clocks are wrong or a list is late.
const LISTED_MS: i64 = DAY_MS;

impl ExchangeControl {
    /// Takes over all that a snapshot explains: executions first, because they are exact, then where orders stand.
    pub(super) fn on_snapshot(&mut self, desk: &mut Desk<'_>, venue: usize, snapshot: &AccountSnapshot) {
        if self.venues[venue].asked != Some(snapshot.asked) {
            return;
        }
        let account = &mut self.venues[venue];
        (account.asked, account.unanswered, account.taken) = (None, 0, Some(desk.at));
        account.due = Some(desk.at.plus_ms(SNAPSHOT_MS));
        let orders = || snapshot.orders.iter().chain(&snapshot.orders_ended);
        let named: Vec<VenueOrderId> = orders().map(|order| order.venue_order_id).collect();
        for index in self.venues[venue].members.clone() {
            self.with_live(desk, index, |live, at, reports| {
                orders().for_each(|state| live.learn(at, state, reports));
                for fill in &snapshot.fills {
                    live.on_fill(at, fill, reports);
                }
                for state in orders() {
                    live.on_order(at, state, reports);
                }
            });
            // Once more, because orders of touched stops are known only now.
            self.with_live(desk, index, |live, at, reports| {
                for fill in &snapshot.fills {
                    live.on_fill(at, fill, reports);
                }
            });
        }
        // While the stops are known whose orders closed what others hold.
        self.book_forced(desk, venue, snapshot);
        for index in self.venues[venue].members.clone() {
            self.with_live(desk, index, |live, at, reports| {
                live.on_stops(at, snapshot.asked, &snapshot.stops, reports);
                live.missing_from(at, snapshot.asked, &named);
            });
        }
        self.note_snapshot(desk, venue, snapshot);
        self.on_balance(desk.at, venue, snapshot.balance);
        self.compare(desk, venue, snapshot);
    }

    /// Records how far the account's executions are taken over, and forgets what is done.
    fn note_snapshot(&mut self, desk: &mut Desk<'_>, venue: usize, snapshot: &AccountSnapshot) {
        let account = self.venues[venue].settings.id;
        let known = desk.state().live.accounts.get(&account).cloned().unwrap_or_default();
        let newest: BTreeMap<Symbol, VenueOrderId> =
            snapshot.fills.iter().map(|fill| (fill.symbol, fill.trade_id)).collect();
        let is_new = |(symbol, id): &(Symbol, VenueOrderId)| known.last_fills.get(symbol) != Some(id);
        let last_fills: Vec<(Symbol, VenueOrderId)> = newest.into_iter().filter(is_new).collect();
        let mut own = desk.state().live.orders.values().filter(|live| live.note.account == account);
        if last_fills.is_empty() && !own.any(|live| live.note.is_done_before(snapshot.asked)) {
            return;
        }
        let last_fill = snapshot.fills.last().map(|fill| fill.trade_id);
        if !last_fills.is_empty() {
            desk.record(Record::LastFills(LastFillsRecord { account, last_fills, time: desk.at }));
        }
        desk.record(Record::Snapshot(SnapshotRecord { account, asked: snapshot.asked, last_fill }));
        for index in self.venues[venue].members.clone() {
            if let (Some(live), Some(before)) = (self.accounts[index].exchange.live_mut(), known.asked) {
                live.forget_before(before);
            }
        }
    }

    /// When an account is asked the next time.
    pub(super) fn snapshot_due(&self, venue: &VenueAccount) -> Option<Timestamp> {
        let waited = venue.asked.map(|asked| asked.plus_ms(SNAPSHOT_ANSWER_MS << venue.unanswered.min(4)));
        if waited.is_some() {
            return waited;
        }
        let lives = venue.members.iter().filter_map(|index| self.accounts[*index].exchange.live());
        let unproven = lives.filter_map(LiveExchange::unsettled_since).min();
        // Asked again at growing distance: a venue may take a while to list an execution.
        let proof = unproven.map(|since| {
            let tried_ms = venue.taken.map_or(0, |taken| taken.since_ms(since).max(0));
            since.plus_ms(tried_ms + tried_ms.clamp(PROOF_MS, SNAPSHOT_MS))
        });
        [venue.due, proof].into_iter().flatten().min()
    }

    /// Asks for everything about an account.
    pub(super) fn ask_snapshot(&mut self, desk: &mut Desk<'_>, venue: usize) {
        let account = self.venues[venue].settings.id;
        let known = desk.state().live.accounts.get(&account).cloned().unwrap_or_default();
        let first = known.since.unwrap_or(desk.at).plus_ms(-SINCE_MS);
        // A store of before the fills of each pair were known does not tell which of that day are booked.
        let back_ms = if known.last_fills.is_empty() { SINCE_MS } else { LISTED_MS };
        let since = known.asked.map_or(first, |asked| first.max(asked.plus_ms(-back_ms)));
        let members = self.venues[venue].members.iter();
        let traded = members.flat_map(|index| self.accounts[*index].settings.markets.keys());
        let mut fills_after: BTreeMap<Symbol, Option<VenueOrderId>> =
            traded.map(|symbol| (*symbol, None)).collect();
        fills_after.extend(known.last_fills.into_iter().map(|(symbol, id)| (symbol, Some(id))));
        let request = VenueRequest::Snapshot { asked: desk.at, fills_after, since };
        let asked = self.venues[venue].asked.replace(desk.at);
        self.venues[venue].unanswered += u32::from(asked.is_some());
        desk.emit(Effect::Send(Box::new(Dispatch { account, request })));
    }
}
