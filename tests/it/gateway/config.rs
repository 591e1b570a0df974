//! Accounts in the configuration: what is refused, with the name of the key.

use crate::config::check;

const HEAD: &str =
    "[mqtt]\nbroker = \"mqtt://127.0.0.1:1883\"\n[feed.blofin]\nsymbols = [\"BTC-USDT\", \"BTC-USDC\"]\n";
const STRATEGY: &str =
    "[strategy.s]\ntype = \"external\"\nfeed = \"blofin\"\nsymbols = [\"BTC-USDT\"]\naccount = \"main\"\n";

#[test]
fn problems_of_accounts_with_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("{:?}", path.display().to_string())
    };
    let (key, secret, passphrase) = (file("k", "k1"), file("s", "s1"), file("p", "p1"));
    let account = |name: &str| {
        format!(
            "[account.{name}]\napi_key_file = {key}\napi_secret_file = {secret}\npassphrase_file = {passphrase}\n"
        )
    };
    let (main, broken) = (account("main"), file("b", "k\u{1}"));
    check(&format!("{HEAD}{STRATEGY}{main}"), &[]);
    check(
        &format!("{HEAD}{STRATEGY}[account.main]\napi_key_file = {key}\npassphrase = \"p\"\n"),
        &[
            "account.main.api_secret_file: is missing: an account has all three keys, or none and trades on paper",
            "account.main.passphrase: may not stand here; use passphrase_file, or TRADEBUS_ACCOUNT__MAIN__PASSPHRASE in the environment",
        ],
    );
    check(
        &format!("{HEAD}{STRATEGY}{}", main.replace(&secret, "\"/no/such\"").replace(&key, &broken)),
        &[
            "account.main.api_key_file: has a character that no key has; is it the right file?",
            "account.main.api_secret_file: the file does not exist",
        ],
    );
    check(
        &format!("{HEAD}{STRATEGY}{main}{}", account("second")),
        &["account.second.api_key_file: is the key of account \"main\" too; one account has one key here"],
    );
    let synthetic = STRATEGY.replace("\"blofin\"", "\"synthetic\"");
    check(
        &format!("{HEAD}[feed.synthetic]\nsymbols = [\"BTC-USDT\"]\n{synthetic}{main}"),
        &[
            "strategy.s.account: account \"main\" trades at blofin, and feed \"synthetic\" has no prices from there",
        ],
    );
    others(&main);
}

/// Accounts with keys that are right, in configurations that they do not fit in.
fn others(main: &str) {
    let second = STRATEGY.replace("strategy.s", "strategy.t").replace("BTC-USDT", "BTC-USDC");
    check(
        &format!("{HEAD}{STRATEGY}{second}{main}"),
        &[
            "strategy.t.symbols: trades in another currency than strategy \"s\" of the same account; an account has one here",
        ],
    );
    check(
        &format!("{}{STRATEGY}{main}", HEAD.replace("mqtt://127.0.0.1:1883", "embedded")),
        &[
            "mqtt.broker: an account with keys needs an external broker: whoever reaches the embedded one may trade",
        ],
    );
    check(
        &format!(
            "{HEAD}{STRATEGY}{main}[venue.blofin]\nrest_url = \"http://10.0.0.1\"\nws_private_url = \"ws://10.0.0.1/p\"\n"
        ),
        &[
            "venue.blofin.rest_url: is not encrypted, and keys would go there",
            "venue.blofin.ws_private_url: is not encrypted, and leads beyond this machine",
        ],
    );
    check(
        &format!("{HEAD}{STRATEGY}{main}leverage = 0\nbroker_id = \"a-b\"\ndead_man_after_s = 1\n"),
        &[
            "account.main.broker_id: is not 1 to 16 letters and digits",
            "account.main.dead_man_after_s: 1 is out of range; it must be 5 to 3600",
            "account.main.leverage: 0 is out of range; it must be 1 to 125",
        ],
    );
}
