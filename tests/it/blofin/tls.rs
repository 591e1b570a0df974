//! `https://` and `wss://`: a private authority is believed where it is named, and nobody else is.

use tradebus::config::{Authorities, Config, Sources};
use tradebus::daemon::feed::blofin::Access;

use super::running::{Running, Wish, assert_lawful, timed};
use crate::support::certificates::Certificates;
use crate::support::fake_blofin::FakeBlofin;
use crate::support::tls_front::TlsFront;

/// The authority of a file, read as the configuration reads it.
fn authorities(certificates: &Certificates, name: &str) -> Authorities {
    let file = certificates.path(name).display().to_string();
    let loaded = Config::load(&Sources::of_text(&format!("[venue.blofin]\nca_file = {file:?}\n")));
    loaded.expect("a good configuration").config.blofin.authorities.expect("an authority")
}

fn access(front: &TlsFront, host: &str, authorities: &Authorities) -> Access {
    let address = |scheme: &str| format!("{scheme}://{host}:{}", front.port);
    Access::new(&address("https"), &(address("wss") + "/ws/public"), Some(authorities)).expect("a client")
}

#[test]
fn a_private_authority_is_believed() {
    timed(async {
        let certificates = Certificates::new();
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        fake.trade("BTC-USDT", "100", "1");
        let front = TlsFront::start(fake.port, &certificates.path("localhost.pem")).await;
        let access = access(&front, "localhost", &authorities(&certificates, "ca.pem"));
        let mut feed = Running::start(&fake, Wish { access: Some(access), ..Wish::default() });
        // The snapshot by REST, and then the stream.
        feed.until("BTC-USDT 100 x 0.001").await;
        fake.until(|stats| stats.topics == 3).await;
        fake.trade("BTC-USDT", "101", "1");
        feed.until("BTC-USDT 101 x 0.001").await;
        assert_lawful(&fake);
        feed.stop().await;
    });
}

#[test]
fn nobody_else_is() {
    timed(async {
        let certificates = Certificates::new();
        let fake = FakeBlofin::start(&["BTC-USDT"]).await;
        for (server, host, authority, why) in [
            ("localhost", "localhost", "other-ca.pem", "UnknownIssuer"),
            ("elsewhere", "localhost", "ca.pem", "not valid for name"),
            ("expired", "localhost", "ca.pem", "expired"),
        ] {
            let front = TlsFront::start(fake.port, &certificates.path(&format!("{server}.pem"))).await;
            let access = access(&front, host, &authorities(&certificates, authority));
            let mut feed = Running::start(&fake, Wish { access: Some(access), ..Wish::default() });
            let status = feed.status(|status| status.error.is_some()).await;
            let error = status.error.expect("an error");
            assert!(error.contains(why), "{server}: {error}");
            feed.stop().await;
        }
        let stats = fake.stats();
        assert_eq!((stats.connections, stats.requests_total()), (0, 0));
    });
}
