//! Everything about an account, in several questions, and all pages of each.
//!
//! It is whole or it is not told: a row that cannot be read, or a list that does not end, fails it, and whoever asked
//! asks again. Rows about pairs that this version cannot trade are left out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::account::{Account, AskError};
use super::budget::Class;
use super::orders::{is_foreign, known_pairs};
use crate::model::ids::{Symbol, VenueOrderId};
use crate::model::time::Timestamp;
use crate::model::trading::{AccountSnapshot, OrderState, VenueBalance, VenueFill, VenueFunding};
use crate::venue::blofin::Dropped;
use crate::venue::blofin::private::request::{self, List};
use crate::venue::blofin::private::{PAGE_ROWS, account as money, row};

/// The most pages of a list; 10,000 rows.
const PAGES_MAX: usize = 100;
/// Pages of ended orders that are read before the rest is asked for one by one.
const ENDED_PAGES_MAX: usize = 3;
/// How far back funding payments can be asked for, in milliseconds: a week, less a minute for clocks.
const FUNDING_MS_MAX: i64 = 7 * 86_400_000 - 60_000;

/// Reads everything.
///
/// # Errors
/// What could not be had.
pub async fn take(
    account: &Account,
    asked: Timestamp,
    fills_after: &BTreeMap<Symbol, Option<VenueOrderId>>,
    since: Timestamp,
) -> Result<AccountSnapshot, AskError> {
    known_pairs(account).await?;
    let all = || account.instruments();
    let positions = account
        .rows(&request::positions(), Class::Query, |rows| read(rows, |row| money::position(row, &all())))
        .await?;
    let orders = pages(account, List::Orders, |row| row::order(row, &all()), |_| true).await?;
    let stops = pages(account, List::Stops, |row| row::stop(row, &all()), |_| true).await?;
    let fills = fills(account, fills_after, since).await?;
    let orders_ended = ended(account, &orders, &fills).await?;
    let balance = balance(account).await?;
    Ok(AccountSnapshot {
        asked,
        positions: positions.into_iter().filter(|position| !position.quantity.is_zero()).collect(),
        orders,
        stops,
        fills,
        orders_ended,
        balance,
    })
}

/// The fills since a time that are newer than the known ones, oldest first. A venue counts the fills of each pair, so
/// what is more than a page is asked for by pairs: between pairs an id says neither older nor newer.
async fn fills(
    account: &Account,
    known: &BTreeMap<Symbol, Option<VenueOrderId>>,
    since: Timestamp,
) -> Result<Vec<VenueFill>, AskError> {
    let is_new = |fill: &VenueFill| {
        let known = known.get(&fill.symbol).copied().flatten();
        fill.time >= since && known.is_none_or(|known| compare(fill.trade_id, known).is_gt())
    };
    let read_row = |row: &RawValue| row::fill(row, &account.instruments());
    let all = List::Fills(since.as_ms(), None);
    let (mut fills, more) = account
        .rows(&request::page(all, None), Class::Query, |rows| {
            let more = last_id(&rows, all)?.is_some();
            Ok((read(rows, read_row)?, more))
        })
        .await?;
    fills.retain(is_new);
    if more {
        for pair in known.keys() {
            let list = List::Fills(since.as_ms(), Some(*pair));
            fills.extend(pages(account, list, read_row, is_new).await?);
        }
    }
    fills.sort_by(|a, b| (a.time, a.symbol).cmp(&(b.time, b.symbol)).then(compare(a.trade_id, b.trade_id)));
    fills.dedup_by_key(|fill| (fill.symbol, fill.trade_id));
    Ok(fills)
}

/// What the account has.
///
/// # Errors
/// Why it is not known.
async fn balance(account: &Account) -> Result<VenueBalance, AskError> {
    let currency = &account.setup.currency;
    let read = |rows: Vec<&RawValue>| {
        let row = rows.first().ok_or("a balance without a row")?;
        money::balance(row, currency).map_err(|dropped| dropped.to_string())
    };
    account.rows(&request::balance(), Class::Query, read).await
}

/// Funding payments since a time, oldest first.
///
/// # Errors
/// Why they are not known.
pub async fn funding(account: &Account, since: Timestamp) -> Result<Vec<VenueFunding>, AskError> {
    let now = account.client.now();
    let begin = since.as_ms().max(now.as_ms() - FUNDING_MS_MAX);
    let list = List::Funding(begin, now.as_ms());
    let mut payments = pages(account, list, money::funding, |_| true).await?;
    payments.sort_by_key(|payment| payment.time);
    Ok(payments)
}

/// The orders behind fills that are in the book no more. One that the venue has forgotten is left out.
async fn ended(
    account: &Account,
    open: &[OrderState],
    fills: &[VenueFill],
) -> Result<Vec<OrderState>, AskError> {
    let is_open = |id: VenueOrderId| open.iter().any(|order| order.venue_order_id == id);
    let mut wanted: BTreeMap<VenueOrderId, &VenueFill> =
        fills.iter().map(|fill| (fill.venue_order_id, fill)).filter(|(id, _)| !is_open(*id)).collect();
    let mut found = Vec::new();
    let mut older_than = None;
    for _ in 0..ENDED_PAGES_MAX {
        if wanted.is_empty() {
            return Ok(found);
        }
        let page = request::page(List::OrdersEnded, older_than.as_ref().map(VenueOrderId::as_str));
        let (orders, last) = account
            .rows(&page, Class::Query, |rows| {
                let last = last_id(&rows, List::OrdersEnded)?;
                Ok((read(rows, |row| row::order(row, &account.instruments()))?, last))
            })
            .await?;
        found.extend(orders.into_iter().filter(|order| wanted.remove(&order.venue_order_id).is_some()));
        older_than = last;
        if older_than.is_none() {
            break;
        }
    }
    for (id, fill) in wanted {
        let question = request::order_by_venue_id(id, fill.symbol);
        let read_one = |rows: Vec<&RawValue>| read(rows, |row| row::order(row, &account.instruments()));
        match account.rows(&question, Class::Query, read_one).await {
            Ok(orders) => found.extend(orders),
            Err(AskError::Fault(fault)) if !fault.is_worth_retrying() => {
                tracing::warn!(account = %account.setup.id, order = %id, "blofin: no word about an ended order: {fault}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// All rows of a list that are wanted, newest first; it ends with the first row that is not.
async fn pages<T>(
    account: &Account,
    list: List,
    read_row: impl Fn(&RawValue) -> Result<T, Dropped>,
    is_wanted: impl Fn(&T) -> bool,
) -> Result<Vec<T>, AskError> {
    let mut found = Vec::new();
    let mut older_than: Option<VenueOrderId> = None;
    let mut seen = BTreeSet::new();
    for _ in 0..PAGES_MAX {
        let page = request::page(list, older_than.as_ref().map(VenueOrderId::as_str));
        let (rows, last) = account
            .rows(&page, Class::Query, |rows| {
                let last = last_id(&rows, list)?;
                Ok((read(rows, &read_row)?, last))
            })
            .await?;
        let count = rows.len();
        let before = found.len();
        found.extend(rows.into_iter().take_while(&is_wanted));
        let is_complete = found.len() - before < count;
        match last {
            Some(last) if !is_complete && seen.insert(last) => older_than = Some(last),
            // Payments were never seen to go on behind a page; a venue that gives the first one again has no more.
            Some(_) if !is_complete && !matches!(list, List::Funding(..)) => {
                return Err(AskError::Unreadable(format!("{list:?} has the same page again")));
            }
            _ => return Ok(found),
        }
    }
    Err(AskError::Unreadable(format!("{list:?} has more than {} rows", PAGES_MAX * PAGE_ROWS)))
}

/// The id behind which the next page begins; `None` when this one is not full.
fn last_id(rows: &[&RawValue], list: List) -> Result<Option<VenueOrderId>, String> {
    let field = match list {
        List::Orders | List::OrdersEnded => "orderId",
        List::Stops => "tpslId",
        List::Fills(..) => "tradeId",
        List::Funding(..) => "billId",
    };
    match rows.last() {
        Some(last) if rows.len() >= PAGE_ROWS => {
            row::page_id(last, field).map(Some).map_err(|dropped| dropped.to_string())
        }
        _ => Ok(None),
    }
}

fn read<T>(
    rows: Vec<&RawValue>,
    read_row: impl Fn(&RawValue) -> Result<T, Dropped>,
) -> Result<Vec<T>, String> {
    let mut found = Vec::new();
    for row in rows {
        match read_row(row) {
            Ok(read) => found.push(read),
            Err(dropped) if is_foreign(&dropped) => tracing::debug!("blofin: {dropped}"),
            Err(dropped) => return Err(dropped.to_string()),
        }
    }
    Ok(found)
}

/// Ids count upwards, so a longer one is a newer one.
fn compare(a: VenueOrderId, b: VenueOrderId) -> std::cmp::Ordering {
    let key = |id: &VenueOrderId| (id.as_str().len(), id.as_str().to_owned());
    key(&a).cmp(&key(&b))
}
