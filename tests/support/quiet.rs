//! Panics that are expected and judged: what they say is kept instead of printed, also when thousands of runs fail.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    static QUIET: RefCell<bool> = const { RefCell::new(false) };
}

/// Runs `work`; of panics the first one's text and place are given.
///
/// # Errors
/// When it panics.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.with_borrow(|quiet| *quiet) {
                return before(info);
            }
            let said = info.payload();
            let text = said.downcast_ref::<String>().cloned();
            let text = text.or_else(|| said.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            // What comes after the first follows from it.
            SAID.with_borrow_mut(|first| {
                first.get_or_insert(format!("{}\n  at {place}", text.unwrap_or_default()));
            });
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    let said = SAID.take();
    outcome.map_err(|_| said.unwrap_or_default())
}
