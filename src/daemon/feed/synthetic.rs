//! The synthetic market as a feed, at the speed of the clock.

use super::FeedEnd;
use super::outlet::Outlet;
use super::pace::Pacer;
use crate::daemon::clock::Clock;
use crate::model::ids::FeedId;
use crate::venue::synthetic::{SyntheticMarket, SyntheticSymbol};

/// A market that is made up. It starts now.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticFeed {
    /// The same seed gives the same prices at the same distances in time.
    pub seed: u64,
    /// 1 to 64 symbols.
    pub symbols: Vec<SyntheticSymbol>,
}

pub(super) async fn run(
    id: FeedId,
    feed: SyntheticFeed,
    clock: Clock,
    outlet: &mut Outlet,
) -> Result<(), FeedEnd> {
    let market = SyntheticMarket::new(id, feed.seed, &feed.symbols, clock.now())?;
    let mut pacer = Pacer::new(clock, 1.0);
    for mut event in market {
        event.time = pacer.wait(event.time, outlet).await?;
        outlet.send(event.into()).await?;
    }
    Ok(())
}
