//! From the configuration to running gateways, one for each account that a strategy trades at.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::clock::Clock;
use super::feed::blofin::Access;
use super::gateway::account::{Account, AccountSetup};
use super::gateway::client::Client;
use super::gateway::{Gateways, Incoming, PrivateLink, REPORTS_MAX};
use super::options::RunError;
use super::sources;
use crate::config::{AccountConfig, AccountKeys, Config};
use crate::model::ids::Symbol;
use crate::venue::blofin::private::sign::Keys;

/// Starts the gateways; gives what they will say. Without accounts nothing is made, and nothing is said.
///
/// # Errors
/// The account that cannot be reached at all.
pub fn start(
    config: &Config,
    clock: &Clock,
    access: &mut Option<Arc<Access>>,
) -> Result<(Gateways, mpsc::Receiver<Incoming>), RunError> {
    let (sender, reports) = mpsc::channel(REPORTS_MAX);
    let mut gateways = Gateways::default();
    for account in config.accounts_used() {
        let Some(keys) = &account.keys else { continue };
        let wrong = |error: String| RunError::Account { account: account.id.to_string(), error };
        let access = sources::access_of(config, access).map_err(wrong)?;
        let base = config.blofin.rest_url();
        let client =
            Client::new(base, &access.tls(), keys_of(keys), clock.clone(), chance()?).map_err(wrong)?;
        let link = PrivateLink {
            url: config.blofin.ws_private_url().to_owned(),
            tls: access.tls(),
            gate: access.gate(),
        };
        tracing::info!(account = %account.id, environment = ?config.environment(), "live trading");
        gateways.add(Account::new(setup(config, account), client, access.rest(), sender.clone()), link);
    }
    Ok((gateways, reports))
}

fn keys_of(keys: &AccountKeys) -> Keys {
    Keys {
        api_key: keys.api_key.value.clone(),
        secret: keys.api_secret.value.clone(),
        passphrase: keys.passphrase.value.clone(),
    }
}

fn setup(config: &Config, account: &AccountConfig) -> AccountSetup {
    let own = |strategy: &&crate::config::StrategyConfig| {
        config.account_of(strategy).is_some_and(|other| other.id == account.id)
    };
    let mut symbols: Vec<Symbol> =
        config.strategies.iter().filter(own).flat_map(|strategy| strategy.symbols.iter().copied()).collect();
    symbols.sort();
    symbols.dedup();
    AccountSetup {
        id: account.id,
        environment: config.environment(),
        margin_mode: account.margin_mode,
        leverage: account.leverage,
        currency: symbols.first().map(|symbol| symbol.quote().to_owned()).unwrap_or_default(),
        symbols,
        broker_id: account.broker_id.clone(),
    }
}

/// Digits that no other process has.
fn chance() -> Result<String, RunError> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes)
        .map_err(|error| RunError::System { what: "random numbers", error: std::io::Error::other(error) })?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
