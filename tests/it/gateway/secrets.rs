//! Keys are nowhere: not in what the gateway shows, says or reports, also when the venue repeats them.

use tradebus::config::{Config, FileSource, Sources};

use super::{Scene, keys};

#[tokio::test]
async fn nothing_shows_a_key() {
    let mut scene = Scene::start().await;
    let order = scene.order();
    scene.place(order).await;
    let shown = format!("{:?} {:?} {:?}", scene.gateways, scene.passed, keys());
    for secret in [super::KEY, super::SECRET, super::PASSPHRASE] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    assert_eq!(keys().scrub("bad key test-api-key with test-passphrase"), "bad key (hidden) with (hidden)");
}

#[test]
fn the_configuration_shows_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let text = format!(
        "[mqtt]\nbroker = \"mqtt://127.0.0.1:1883\"\n[feed.blofin]\nsymbols = [\"BTC-USDT\"]\n\
         [account.main]\napi_key_file = {:?}\napi_secret_file = {:?}\npassphrase_file = {:?}\n\
         [strategy.s]\ntype = \"external\"\nsymbols = [\"BTC-USDT\"]\naccount = \"main\"\n",
        file("k", "geheim-key\n"),
        file("s", "geheim-secret"),
        file("p", "geheim-pass"),
    );
    let path = folder.path().join("tradebus.toml");
    std::fs::write(&path, text).unwrap();
    let sources =
        Sources { file: FileSource::Required(path), environment: Vec::new(), overrides: Vec::new() };
    let loaded = Config::load(&sources).unwrap_or_else(|problems| panic!("{problems:?}"));
    let shown = format!("{:?} {:?} {}", loaded.config, loaded.warnings, loaded.config.effective_toml());
    assert!(!shown.contains("geheim"), "{shown}");
    assert_eq!(loaded.config.accounts_used().count(), 1);
    assert_eq!(loaded.config.routes()[0].because, "account \"main\" has keys: REAL MONEY");
}
