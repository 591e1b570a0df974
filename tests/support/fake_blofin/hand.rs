//! What a test or a person does to the fake's accounts.

use rust_decimal::Decimal;
use serde_json::json;

use super::account::{FakeAccount, Held, number};
use super::private_stream::PrivateOrder;
use super::{Chaos, FakeBlofin, PrivateFault, now_ms};

impl FakeBlofin {
    /// What `ws_private_url` is set to.
    pub fn ws_private_url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws/private", self.port)
    }

    /// Opens an account, or puts one back that was taken from another fake.
    pub fn open_account(&self, account: FakeAccount) {
        self.shared.state().accounts.insert(account.api_key.clone(), account);
    }

    /// An account as it stands.
    pub fn account(&self, key: &str) -> FakeAccount {
        self.shared.state().accounts.get(key).expect("an account of the fake").clone()
    }

    /// Changes an account, and tells its streams what that says.
    pub fn change_account(&self, key: &str, change: impl FnOnce(&mut FakeAccount)) {
        change(self.shared.state().accounts.get_mut(key).expect("an account of the fake"));
        self.shared.push_private();
    }

    /// The contracts that an account holds of a pair, on the only side of a netted one.
    pub fn held(&self, key: &str, pair: &str) -> Decimal {
        let Held { contracts, .. } = self.account(key).held(pair, "net");
        contracts
    }

    /// The next requests that change something err like this, one each; `None` lets one pass.
    pub fn private_faults(&self, faults: impl IntoIterator<Item = Option<PrivateFault>>) {
        self.shared.state().private_faults.extend(faults);
    }

    /// The next frames of private streams are lost, and then so many come twice.
    pub fn private_stream_faults(&self, lost: usize, repeated: usize) {
        let mut state = self.shared.state();
        (state.private_lost, state.private_repeated) = (lost, repeated);
    }

    /// The clock in the headers of answers is so far ahead.
    pub fn clock_ahead(&self, ms: i64) {
        self.shared.state().ahead_ms = ms;
    }

    /// An order that the daemon did not send: by hand (`normal`), or by the venue (`full_liquidation`, `adl`).
    pub fn foreign_order(&self, key: &str, pair: &str, side: &str, contracts: &str, category: &'static str) {
        self.foreign_order_on(key, (pair, "net"), side, contracts, category);
    }

    /// The same on one of both sides of an account that has both.
    pub fn foreign_order_on(
        &self,
        key: &str,
        (pair, position_side): (&str, &str),
        side: &str,
        contracts: &str,
        category: &'static str,
    ) {
        {
            let mut state = self.shared.state();
            let market = &state.markets[pair];
            let (touch, steps) = (market.touch(), market.steps());
            let account = state.accounts.get_mut(key).expect("an account of the fake");
            let mut order = account.foreign(pair, side, number(contracts), category);
            order.position_side = position_side.into();
            account.enter(order, touch, steps);
        }
        self.shared.push_private();
    }

    /// The next logins are refused on connections that stay open.
    pub fn refuse_logins(&self, count: usize) {
        self.shared.state().logins_refused = count;
    }

    /// Sends any text over all private streams.
    pub fn send_private(&self, frame: &str) {
        let order = PrivateOrder::Raw(frame.to_owned());
        self.shared.state().private_clients.retain(|client| client.send(order.clone()).is_ok());
    }

    /// From now on, or no more, every private request and frame may err.
    pub fn chaos(&self, chaos: Option<Chaos>) {
        self.shared.state().chaos = chaos;
    }

    /// From now on signed requests are kept.
    pub fn record_signed(&self) {
        self.shared.state().signed.get_or_insert_default();
    }

    /// Every signed request that was kept: method, target and body.
    pub fn signed(&self) -> Vec<String> {
        self.shared.state().signed.clone().unwrap_or_default()
    }

    /// Fills a part of an order that rests, at its price.
    pub fn fill_part(&self, key: &str, client_id: &str, contracts: &str) {
        {
            let mut state = self.shared.state();
            let orders = state.accounts[key].orders.values();
            let order =
                orders.into_iter().find(|order| order.client_id == client_id).expect("an order").clone();
            let steps = state.markets[&order.pair].steps();
            let account = state.accounts.get_mut(key).expect("an account of the fake");
            account.fill(order.id, number(contracts), order.price, number("0.0002"), steps);
        }
        self.shared.push_private();
    }

    /// A funding payment; negative is paid.
    pub fn pay_funding(&self, key: &str, pair: &str, amount: &str) {
        self.change_account(key, |account| {
            account.balance += number(amount);
            let id = account.id();
            let time = now_ms().to_string();
            account.funding.insert(
                0,
                json!({
                    "billId": id.to_string(), "instId": pair, "currency": "USDT", "fundingFee": amount,
                    "fundingTime": time, "marginMode": "cross", "positionSize": "1", "ts": time,
                }),
            );
        });
    }
}
